"""What a call must be before anything is computed for it."""

import asyncio
import hmac
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

from fastapi import Request
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import SecretStr

from assay_ml_api.config import ServerConfig
from assay_ml_api.infer import check_served, infer
from assay_ml_api.predict import CONTENT_TYPES, JSON, Answer, Model, predict
from assay_ml_api.problems import Problem
from assay_ml_api.tensors import HEADER_LENGTH, header_length

Ask: TypeAlias = Callable[[Request, ServerConfig], Callable[[Model, bytes], Answer]]
"""From the head of a call to what is to be computed of its body; raises `Problem`."""

_UTF_8: Final = {"", "utf-8", "utf8"}


class Slots:
    """So many calls at once, and not one more.

    Attributes:
        taken: how many there are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    @contextmanager
    def take(self) -> Generator[None]:
        """A slot for as long as the block runs.

        Raises:
            Problem: 503, all are taken.
        """
        if self.taken >= self._most:
            raise Problem(503, "too many calls at once; try again", {"Retry-After": "1"})
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Rate:
    """So many calls a second of each caller, and those of one second at once."""

    def __init__(self, per_second: float | None, now: Callable[[], float] = time.monotonic) -> None:
        """None has had a call yet.

        Args:
            per_second: calls; None: any.
            now: seconds.
        """
        self._per_second, self._now = per_second, now
        self._left: dict[int, tuple[float, float]] = {}  # calls that are left, and since when

    def take(self, caller: int) -> None:
        """Counts a call.

        Raises:
            Problem: 429, the caller has had its calls; `Retry-After` says when it gets the next.
        """
        if self._per_second is None:
            return
        most, now = max(1.0, self._per_second), self._now()
        left, since = self._left.get(caller, (most, now))
        left = min(most, left + (now - since) * self._per_second)
        if left < 1:
            wait = math.ceil((1 - left) / self._per_second)
            raise Problem(429, "too many calls; try again later", {"Retry-After": str(wait)})
        self._left[caller] = left - 1, now


def predicting(*, explain: bool) -> Ask:
    """What a call of `/predict` asks for; explanations come in JSON only.

    Raises:
        Problem: as `content_types`.
    """
    offered = (JSON,) if explain else CONTENT_TYPES

    def ask(request: Request, config: ServerConfig) -> Callable[[Model, bytes], Answer]:
        asked, accepted = content_types(request, offered)
        return lambda model, body: predict(
            model,
            body,
            asked=asked,
            accepted=accepted,
            currency=config.currency,
            max_records=config.max_records,
            explain=explain,
        )

    return ask


def inferring(name: str, version: str | None) -> Ask:
    """What an inference request for this model, and this version if one is named, asks for.

    Its content type does not matter: clients of the protocol send this one, that one or none.

    Raises:
        Problem: 400, its header is wrong; 404, another model is served; 415, it is compressed.
    """

    def ask(request: Request, config: ServerConfig) -> Callable[[Model, bytes], Answer]:
        length = header_length(request.headers.get(HEADER_LENGTH))
        refuse_compressed(request)

        def compute(model: Model, body: bytes) -> Answer:
            check_served(model, name, version)
            return infer(
                model,
                body,
                header_length=length,
                currency=config.currency,
                max_records=config.max_records,
            )

        return compute

    return ask


def content_types(request: Request, offered: Sequence[str]) -> tuple[str, str]:
    """The content types of the question and of the answer.

    The answer comes as `Accept` prefers; where it leaves the choice, as the question came if that
    is offered.

    Raises:
        Problem: 415, the question is of another type; 406, no answer would be accepted.
    """
    given = request.headers.get("content-type", "")
    asked, _, parameters = (part.strip().lower() for part in given.partition(";"))
    charset = parameters.partition("charset=")[2].strip('" ') if asked == JSON else ""
    if asked not in CONTENT_TYPES or charset not in _UTF_8:
        raise Problem(415, "the content type must be one of: " + ", ".join(CONTENT_TYPES))
    refuse_compressed(request)
    accept = request.headers.get("accept", "*/*")
    weights = {
        each: _weight(each, accept) for each in sorted(offered, key=lambda each: each != asked)
    }
    accepted = max(weights, key=lambda each: weights[each])
    if weights[accepted] <= 0:
        raise Problem(406, "the answer can be one of: " + ", ".join(offered))
    return asked, accepted


def refuse_compressed(request: Request) -> None:
    """Returns where the body is as it is.

    Raises:
        Problem: 415, it is compressed.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(415, "the body must not be compressed")


def _weight(content_type: str, accept: str) -> float:
    """How much a content type is wanted, RFC 9110 section 12.5.1: the closest range counts."""
    found: dict[str, float] = {}
    for each in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in each.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        found[media_range] = float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0
    ranges = (content_type, content_type.partition("/")[0] + "/*", "*/*")
    return next((found[each] for each in ranges if each in found), 0.0)


async def body_of(request: Request, limit: int, seconds: float) -> bytes:
    """The body, of which never more than the limit is kept.

    Raises:
        Problem: 413, it is longer; 408, it did not come in time.
    """
    too_long = Problem(413, f"a body may have {limit} bytes at most")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                if len(body) + len(part) > limit:
                    raise too_long
                body += part
    except TimeoutError:
        raise Problem(408, f"the body did not come within {seconds:g} s") from None
    return bytes(body)


def authorise(given: HTTPAuthorizationCredentials | None, keys: Sequence[SecretStr]) -> int:
    """Lets those in who have one of the keys, and everybody where there are none.

    Returns:
        Which key it is; 0 where there are none.

    Raises:
        Problem: 401.
    """
    if not keys:
        return 0
    key = given.credentials.encode() if given else b""
    # Every key is compared, so that the time taken tells nothing of those that are wrong.
    same = [hmac.compare_digest(key, each.get_secret_value().encode()) for each in keys]
    if not any(same):
        raise Problem(401, "an API key is needed", {"WWW-Authenticate": "Bearer"})
    return same.index(True)
