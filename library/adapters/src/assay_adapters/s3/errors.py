"""What S3 and the way to it may answer, in the words of `assay.domain.errors`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from assay.domain.errors import AssayError, Denied, Fatal, Replaced, Unavailable, Unreadable

_PASSING: Final = frozenset(
    """
    BandwidthLimitExceeded ConditionalRequestConflict InternalError OperationAborted
    RequestLimitExceeded RequestThrottled RequestThrottledException RequestTimeout
    ServiceUnavailable SlowDown Throttling ThrottlingException TooManyRequests
    """.split()
)
_PASSING_STATUS: Final = frozenset({408, 409, 425, 429})
_GONE_STATUS: Final = frozenset(
    {
        HTTPStatus.NOT_FOUND,
        HTTPStatus.PRECONDITION_FAILED,
        HTTPStatus.METHOD_NOT_ALLOWED,  # the version asked for is a delete marker
    }
)

_KEYS: Final = "ASSAY_S3__ACCESS_KEY_ID and ASSAY_S3__SECRET_ACCESS_KEY"
_PLACE: Final = "check ASSAY_S3__REGION and ASSAY_S3__ENDPOINT_URL"
_TOKEN: Final = "the session has ended: renew ASSAY_S3__SESSION_TOKEN and the keys with it"  # noqa: S105 - advice
# An answer to HEAD has no body, so that only its status is known.
_ADVICE: Final = {
    "301": _PLACE,
    "400": f"{_PLACE}, and whether ASSAY_S3__SESSION_TOKEN has ended",
    "403": f"check {_KEYS}, and what they are permitted",
    "AccessDenied": f"permit it to the owner of ASSAY_S3__ACCESS_KEY_ID, or change {_KEYS}",
    "AuthorizationHeaderMalformed": _PLACE,
    "ExpiredToken": _TOKEN,
    "IllegalLocationConstraintException": _PLACE,
    "InvalidAccessKeyId": "the key is not known there: check ASSAY_S3__ACCESS_KEY_ID",
    "InvalidToken": _TOKEN,
    "NoSuchBucket": "there is no such bucket: create it or correct the address",
    "NotImplemented": "this store lacks what is needed",
    "PermanentRedirect": _PLACE,
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
    "SignatureDoesNotMatch": "the secret is wrong: check ASSAY_S3__SECRET_ACCESS_KEY",
}

_AWAY: Final = (
    boto.ConnectionError,  # refused; the name is not known
    boto.HTTPClientError,  # timed out, broken off
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,  # damaged on its way
    boto.MetadataRetrievalError,
    boto.CredentialRetrievalError,
)

_UNTRUSTED: Final = ("CERTIFICATE_VERIFY_FAILED", "doesn't match")


@contextmanager
def translated(uri: str) -> Generator[None]:
    """Raises errors of boto3 as those of the domain.

    Raises:
        Replaced: it is not there, or not in this version.
        Unavailable: it may be answered later.
        Unreadable: it lies in an archive.
        Denied: the object may not be read.
        Fatal: anything else; says what to do.
    """
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, uri) from error
    except BotoCoreError as error:
        raise _of_way(error, uri) from error
    except ResponseParserError as error:
        raise Unavailable(f"no answer of S3 about {uri}: {error}") from error


def field(answer: Mapping[str, Any], name: str) -> Any:
    """What S3 never leaves out of an answer.

    Raises:
        Unavailable: the answer was cut short within its headers, or comes from someone else.
    """
    if name not in answer:
        raise Unavailable(f"S3 left {name} out of an answer")
    return answer[name]


def code_of(error: ClientError) -> str:
    """The code of an answer; its status in digits where it says no more."""
    return error.response.get("Error", {}).get("Code", "")


def _of_answer(error: ClientError, uri: str) -> AssayError:
    code = code_of(error)
    meta = error.response.get("ResponseMetadata")
    status = 0 if meta is None else meta["HTTPStatusCode"]
    what = f"S3 answered {error.operation_name} of {uri} with {code}"
    if code == "InvalidObjectState":
        return Unreadable(f"{what}: it lies in an archive; restore it first")
    if code in {"NoSuchBucket", "NotImplemented"}:
        return Fatal(f"{what}: {_ADVICE[code]}")
    if (
        code in _PASSING
        or status in _PASSING_STATUS
        or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED)
    ):
        wait = "" if meta is None else meta["HTTPHeaders"].get("retry-after", "")
        return Unavailable(what, retry_after=float(wait) if wait.isdecimal() else None)
    if status in _GONE_STATUS:
        return Replaced(f"{uri} is not there any more, or not in this version")
    kind = Denied if (error.operation_name, code) == ("GetObject", "AccessDenied") else Fatal
    return kind(f"{what}: {_ADVICE.get(code, _PLACE)}")


def _of_way(error: BotoCoreError, uri: str) -> AssayError:
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return Fatal(f"there are no credentials for S3: set {_KEYS}")
    if isinstance(error, boto.SSLError) and any(words in str(error) for words in _UNTRUSTED):
        return Fatal(
            "the certificate of S3 is not trusted: check ASSAY_S3__CA_BUNDLE, and the host in"
            f" ASSAY_S3__ENDPOINT_URL: {error}"
        )
    if isinstance(error, _AWAY):
        return Unavailable(f"S3 is away, at {uri}: {error}")
    return Fatal(f"S3 cannot be asked for {uri}: {error}")
