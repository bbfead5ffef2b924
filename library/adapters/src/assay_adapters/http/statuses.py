"""What an HTTP status that is not 200 means for the caller."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from httpx import codes

from assay.domain.errors import AssayError, Fatal, Refused, Unavailable

_ADVICE: Final = {
    401: "it wants an API key: set ASSAY_API__API_KEY",
    403: "the API key may not do this: set another ASSAY_API__API_KEY",
    404: "there is no model API: check ASSAY_API__URL",
    405: "there is no model API: check ASSAY_API__URL",
    406: "it speaks neither Arrow nor JSON: check ASSAY_API__URL",
    415: "it speaks neither Arrow nor JSON: check ASSAY_API__URL",
}
_UNAVAILABLE: Final = {408, 425, 429}
_REFUSED: Final = {400, 413, 422}


def error_of(
    status: int, headers: Mapping[str, str], where: str, healthy: Callable[[], bool]
) -> AssayError:
    """The error that an answer with this status stands for.

    Args:
        status: any but 200.
        headers: of the answer, whatever the case of their names.
        where: the API's address, for the message.
        healthy: asks the API whether it is ready; called for a 500 only, which is the fault of
            the records where the API is well.
    """
    said = f"the model API at {where} answered {status}"
    if status in _REFUSED:
        return Refused(said)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and healthy():
        return Refused(f"{said} and is well")
    if status in _UNAVAILABLE or codes.is_server_error(status):
        return Unavailable(said, retry_after=retry_after(headers))
    if codes.is_redirect(status):
        return Fatal(f"{said}, a redirection: set ASSAY_API__URL to where it leads")
    if codes.is_success(status):
        return Unavailable(f"{said} and no predictions: something else answers there")
    return Fatal(f"{said}: {_ADVICE.get(status, 'check ASSAY_API__URL')}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a `Retry-After` header asks for, RFC 9110 section 10.2.3, or None."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000", or one of the obsolete forms, which are in UTC
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
