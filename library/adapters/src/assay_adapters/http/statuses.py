"""What an HTTP status that is not 200 means for the caller."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal, TypeAlias

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
_TOO_MUCH: Final = {408, 413, 504, 524}
"""Too large, or not done in the time of whoever waits on the way; 524 is Cloudflare's."""

_DIGITS: Final = 15

Health: TypeAlias = Literal["ready", "away", "another"]
"""What stands at the API's address: the API, ready; it or its proxy, not ready; something else."""


def health_of(status: int, content_type: str) -> Health:
    """What a question for the API's health shows, by its answer.

    Only JSON proves the API, as many a web server answers 200 to every path.
    """
    if status == HTTPStatus.OK:
        return "ready" if content_type == "application/json" else "another"
    away = status in _UNAVAILABLE or codes.is_server_error(status)
    return "away" if away else "another"


def error_of(
    status: int, headers: Mapping[str, str], where: str, health: Callable[[], Health]
) -> AssayError:
    """The error that an answer with this status stands for.

    Args:
        status: any but 200.
        headers: of the answer, whatever the case of their names.
        where: the API and its address, for the message.
        health: asks for the API's health; called for 400, 413, 422 and 500, which are the fault
            of the records only where it is the API that says so, and is well.
    """
    said = f"{where} answered {status}"
    judged = status in _REFUSED or status == HTTPStatus.INTERNAL_SERVER_ERROR
    found = health() if judged else None
    too_much = status in _TOO_MUCH
    if found == "ready":
        return Refused(f"{said} and is well", too_much=too_much)
    if found == "another" and status in _REFUSED:
        return Fatal(f"{said}, but is none: check ASSAY_API__URL, and proxies on the way")
    if judged or status in _UNAVAILABLE or codes.is_server_error(status):
        return Unavailable(said, retry_after=retry_after(headers), too_much=too_much)
    if codes.is_redirect(status):
        return Fatal(f"{said}, a redirection: set ASSAY_API__URL to where it leads")
    if codes.is_success(status):
        return Unavailable(f"{said} and no predictions: something else answers there")
    return Fatal(f"{said}: {_ADVICE.get(status, 'check ASSAY_API__URL')}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a `Retry-After` header asks for, RFC 9110 section 10.2.3, or None."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:_DIGITS])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000", or one of the obsolete forms, which are in UTC
        moment = moment.replace(tzinfo=UTC)
    try:
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except OverflowError:  # of a day that UTC does not have
        return None
