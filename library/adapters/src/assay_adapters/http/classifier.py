"""The model API as a classifier."""

import ssl
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import unquote, urlsplit, urlunsplit

import httpcore
import polars as pl

from assay.domain.errors import Fatal, Unavailable
from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.wire import arrow, json
from assay_adapters.http.answers import read_json, verdicts
from assay_adapters.http.config import ApiConfig
from assay_adapters.http.deadline import BoundedBackend, within
from assay_adapters.http.statuses import Health, error_of, health_of

JSON: Final = "application/json"

_CONTENT_TYPES: Final = {"arrow": arrow.CONTENT_TYPE, "json": JSON}
_WRITERS: Final[dict[str, Callable[[pl.DataFrame], bytes]]] = {
    "arrow": arrow.write_transactions,
    "json": json.write_transactions,
}
_READERS: Final[dict[str, Callable[[bytes], pl.DataFrame]]] = {
    arrow.CONTENT_TYPE: arrow.read_verdicts,
    JSON: read_json,
}
_OTHER_FORMAT_PLEASE: Final = {406, 415}
_PACKED: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib's `wbits` must be to unpack it."""
_KEPT: Final = 5.0
"""Seconds that an idle connection is kept; servers close theirs soon after."""


class _Answer(NamedTuple):
    """An answer, read whole; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class HttpClassifier:
    """Asks the model API, one call an attempt, over connections that are kept.

    Safe to use from several threads. Proxies and credentials of the environment do not count.
    """

    def __init__(self, config: ApiConfig, taxonomy: Taxonomy = DEFAULT) -> None:
        self._config = config
        self._taxonomy = taxonomy
        self._format: Literal["arrow", "json"] = config.format
        self._url = str(config.url).rstrip("/")
        url = urlsplit(self._url)
        address = url.netloc.rpartition("@")[2]
        self._where = urlunsplit(url._replace(netloc=address))
        self._headers = {
            "host": address,
            "user-agent": "assay",
            "accept-encoding": "identity",
            **_authorization(config),
        }
        self._timeouts = {
            "connect": config.connect_timeout,
            **dict.fromkeys(("pool", "read", "write"), config.timeout),
        }
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=config.connections,
            max_keepalive_connections=config.connections,
            keepalive_expiry=_KEPT,
            network_backend=BoundedBackend(),
        )

    def classify(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """A verdict for each transaction, in the same order: see `assay.ports.classifier`.

        Raises:
            Unavailable: refused, timed out, 408, 425, 429, 5xx, or what answered was no model API
                or broke off.
            Refused: 400, 413, 422 or 500 while the API says that it is ready, or answers to other
                questions.
            Fatal: 401, 403, 404, another 4xx, a redirection, or 400, 413, 422 of what is no
                model API.
        """
        spoken = self._format
        response = self._ask(spoken, transactions)
        if response.status in _OTHER_FORMAT_PLEASE and spoken == "arrow":
            self._format = "json"
            response = self._ask("json", transactions)
        return verdicts(self._read(response), transactions, self._taxonomy)

    def model(self) -> tuple[str, str]:
        """Name and version of the model that answers.

        Raises:
            Unavailable: it is away, or something else answers there.
            Fatal: as `classify`, or its taxonomy is another one.
        """
        response = self._send("GET", "/model", {"accept": JSON}, b"")
        self._raise_for(response)
        try:
            about = cast(dict[str, Any], json.loads(self._unpacked(response)))
            found = str(about["name"]), str(about["version"])
            categories = set(about["taxonomy"]["categories"])
        except (ValueError, LookupError, TypeError):
            raise self._something_else() from None
        if categories != set(self._taxonomy.categories):
            raise Fatal(f"the model at {self._where} speaks another taxonomy than this service")
        return found

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()

    def _ask(self, spoken: Literal["arrow", "json"], transactions: pl.DataFrame) -> _Answer:
        content_type = _CONTENT_TYPES[spoken]
        headers = {"content-type": content_type, "accept": content_type}
        return self._send("POST", "/predict", headers, _WRITERS[spoken](transactions))

    def _send(self, method: str, path: str, headers: dict[str, str], content: bytes) -> _Answer:
        """The answer, read whole."""
        body = bytearray()
        try:
            with (
                within(self._config.timeout),
                self._pool.stream(
                    method,
                    self._url + path,
                    headers=list((self._headers | headers).items()),
                    content=content,
                    extensions={"timeout": self._timeouts},
                ) as response,
            ):
                for part in response.iter_stream():
                    body += part
                    if len(body) > self._config.answer_limit:
                        raise self._too_long()
        except httpcore.TimeoutException:
            raise Unavailable(
                f"the model API at {self._where} did not answer within {self._config.timeout:g} s"
            ) from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise Unavailable(
                f"the model API at {self._where} is away ({type(error).__name__})"
            ) from None
        found = ((name.lower(), value) for name, value in response.headers)
        return _Answer(
            response.status,
            {name.decode("latin-1"): value.decode("latin-1") for name, value in found},
            bytes(body),
        )

    def _read(self, response: _Answer) -> pl.DataFrame:
        self._raise_for(response)
        if response.content_type not in _READERS:
            raise self._something_else()
        content = self._unpacked(response)
        try:
            return _READERS[response.content_type](content)
        except ValueError as error:
            raise Unavailable(f"the answer of {self._where} cannot be read: {error}") from None

    def _raise_for(self, response: _Answer) -> None:
        if response.status != HTTPStatus.OK:
            raise error_of(response.status, response.headers, self._where, self._health)

    def _unpacked(self, response: _Answer) -> bytes:
        """The content. Some proxies pack what they were asked to leave as it is."""
        packed = response.headers.get("content-encoding", "identity").strip().lower()
        if packed in {"", "identity"}:
            return response.body
        cannot = Unavailable(f"the answer of {self._where} is packed, and cannot be unpacked")
        if packed not in _PACKED:
            raise cannot
        unpacker = zlib.decompressobj(_PACKED[packed])
        try:
            content = unpacker.decompress(response.body, self._config.answer_limit + 1)
        except zlib.error:
            raise cannot from None
        # A short answer that unpacks to a long one gets around no limit.
        if len(content) > self._config.answer_limit:
            raise self._too_long()
        if not unpacker.eof:
            raise cannot
        return content

    def _health(self) -> Health:
        try:
            response = self._send("GET", "/health/ready", {"accept": JSON}, b"")
        except Unavailable:
            return "away"
        return health_of(response.status, response.content_type)

    def _too_long(self) -> Unavailable:
        return Unavailable(f"the answer of {self._where} is longer than ASSAY_API__ANSWER_LIMIT")

    def _something_else(self) -> Unavailable:
        return Unavailable(f"no model API answers at {self._where}, but something else does")


def _authorization(config: ApiConfig) -> dict[str, str]:
    """The header for the key or, which goes before it, for user and password of the URL."""
    url = config.url
    if url.username or url.password:
        pair = f"{unquote(url.username or '')}:{unquote(url.password or '')}".encode()
        return {"authorization": f"Basic {b64encode(pair).decode()}"}
    key = config.api_key
    return {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
