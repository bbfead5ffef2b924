"""A search engine as a target: each transaction is a document.

Documents are written by the bulk API, which Elasticsearch and OpenSearch share
(https://docs.opensearch.org/latest/api-reference/document-apis/bulk/), under the transaction's id
and with an external version: one more than the position of its message. So what comes again is
refused as a conflict and stays as it is, and of two messages with one id the later one stands,
since both are in one partition. The positions of another topic say nothing beside these: an index
notes its topic's id, in `_meta` of its mapping.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

import httpx
import polars as pl

from assay.domain.errors import AssayError, Fatal, Unavailable
from assay.domain.outcome import Outcome
from assay.domain.reject import faults, no_rejects
from assay.wire.predictions import documents
from assay_adapters.http.exchange import Exchange
from assay_adapters.http.statuses import retry_after
from assay_adapters.search.config import SearchConfig

_JSON: Final = {"content-type": "application/json"}
_LINES: Final = {"content-type": "application/x-ndjson"}
_KEYWORD: Final = {"type": "keyword"}
_TEXT: Final = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 1024}}}
_MAPPING: Final = {
    "dynamic": "strict",
    "properties": {
        "transaction_id": _KEYWORD,
        "description": _TEXT,
        "amount": {"type": "double"},
        "currency": _KEYWORD,
        "timestamp": {"type": "date"},
        "merchant": _TEXT,
        "operation_type": _KEYWORD,
        "side": _KEYWORD,
        "mcc": _KEYWORD,
        "category": _KEYWORD,
        "confidence": {"type": "float"},
        "needs_review": {"type": "boolean"},
        "model_name": _KEYWORD,
        "model_version": _KEYWORD,
        "feature_hash": _KEYWORD,
    },
}
_TOPIC: Final = "assay_topic"
_ADVICE: Final = {
    401: "it wants a login: set ASSAY_SEARCH__USERNAME and __PASSWORD, or ASSAY_SEARCH__API_KEY",
    403: "this login may not do it: it needs to write and to create the index",
    404: "it is no search engine: check ASSAY_SEARCH__URL",
    405: "it is no search engine: check ASSAY_SEARCH__URL",
}
_AWAY: Final = frozenset({408, 425, 429})
_LEAST, _MOST = 200, 599
_NONSENSE: Final = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What an answer that is none raises while it is read."""


class _Document(NamedTuple):
    """A line pair of a bulk, and whose it is."""

    row: int
    transaction_id: str
    lines: bytes


class SearchTarget:
    """The port `assay.ports.target.Target` on Elasticsearch or OpenSearch.

    The index is made with its mapping at the first delivery, unless it is there. What an index
    never takes (a date that it cannot read, a name that its mapping does not have) is refused.
    """

    by_range = False

    def __init__(self, config: SearchConfig) -> None:
        """Connects at the first delivery."""
        self._index, self._most = config.index, config.bulk_mib << 20
        self._exchange = Exchange(
            str(config.url),
            config,
            name="the search engine",
            section="SEARCH",
            headers={"accept": "application/json", **_login(config)},
        )
        self._senders = ThreadPoolExecutor(config.connections, thread_name_prefix="search")
        self._is_made = False

    def deliver(self, outcome: Outcome) -> pl.DataFrame:
        """Writes the documents, as the port says.

        Raises:
            Unavailable: it is away, or has no room just now: 408, 425, 429, 5xx, of single ones
                as well.
            Fatal: another answer to a whole request.
        """
        if outcome.classified.is_empty():
            return no_rejects()
        self._make({"topic": outcome.source, "id": outcome.ranges[0].numbering})
        refused: list[pl.DataFrame] = []
        for found in list(self._senders.map(self._written, self._bulks(outcome))):
            if isinstance(found, AssayError):
                raise found
            refused.append(found)
        return pl.concat(refused)

    def close(self) -> None:
        """Closes the connections."""
        self._senders.shutdown(cancel_futures=True)
        self._exchange.close()

    def _make(self, topic: Mapping[str, str | None]) -> None:
        """Makes the index for a topic, or looks that it is of no other."""
        if self._is_made:
            return
        mapping = _MAPPING | {"_meta": {_TOPIC: topic}}
        made = self._send("PUT", "", {"mappings": mapping})
        if made.status_code == HTTPStatus.BAD_REQUEST and _kind(made) == _THERE:
            self._look(topic)
        elif not made.is_success:
            raise self._meant(made)
        self._is_made = True

    def _look(self, topic: Mapping[str, str | None]) -> None:
        found = self._send("GET", "/_mapping")
        if not found.is_success:
            raise self._meant(found)
        try:
            mappings = [each["mappings"] for each in found.json().values()]  # of an alias, several
            metas = [cast(dict[str, Any], each.get("_meta", {})) for each in mappings]
            noted = [each[_TOPIC] for each in metas if _TOPIC in each]
        except _NONSENSE:
            raise Unavailable(f"the answer of {self._exchange.where} cannot be read") from None
        if any(each != topic for each in noted):
            raise Fatal(
                f"the index {self._index} holds documents of another topic, or of one of this name"
                " that was made anew since: their versions are positions there. Name another index"
                " in ASSAY_SEARCH__INDEX, or delete this one"
            )
        if not noted:
            written = self._send("PUT", "/_mapping", {"_meta": metas[0] | {_TOPIC: topic}})
            if not written.is_success:
                raise self._meant(written)

    def _send(self, method: str, path: str, body: object = None) -> httpx.Response:
        content = b"" if body is None else json.dumps(body).encode()
        return self._exchange.send(method, f"/{self._index}{path}", _JSON, content)

    def _bulks(self, outcome: Outcome) -> Iterator[list[_Document]]:
        """The documents in bulks of a size; those of one id keep their order."""
        bulk: list[_Document] = []
        size = 0
        for each in self._documents(outcome):
            if bulk and size + len(each.lines) > self._most:
                yield bulk
                bulk, size = [], 0
            bulk.append(each)
            size += len(each.lines)
        yield bulk

    def _documents(self, outcome: Outcome) -> Iterator[_Document]:
        classified = outcome.classified
        positions = outcome.records["position"].gather(classified["row"])
        columns = classified["row"], classified["transaction_id"], positions, documents(classified)
        for row, name, position, document in zip(*columns, strict=True):
            how = {"_id": name, "version": position + 1, "version_type": "external"}
            action = json.dumps({"index": how}, ensure_ascii=False)
            yield _Document(row, name, f"{action}\n{document}\n".encode())

    def _written(self, bulk: list[_Document]) -> pl.DataFrame | AssayError:
        """Writes a bulk; returns those that were refused, as rejects, or why none of it counts."""
        body = b"".join(each.lines for each in bulk)
        try:
            response = self._exchange.send("POST", f"/{self._index}/_bulk", _LINES, body)
            if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                if len(bulk) == 1:
                    return _rejects([(bulk[0], response.status_code, "too large")])
                half = len(bulk) // 2
                halves = [self._written(bulk[:half]), self._written(bulk[half:])]
                failed = [each for each in halves if isinstance(each, AssayError)]
                return failed[0] if failed else pl.concat(cast(list[pl.DataFrame], halves))
            if not response.is_success:
                return self._meant(response)
            return self._judged(bulk, response)
        except AssayError as error:
            return error

    def _judged(self, bulk: list[_Document], response: httpx.Response) -> pl.DataFrame:
        """Those of a bulk that were refused.

        Raises:
            Unavailable: some have found no room, or something else has answered.
        """
        try:
            answer = cast(dict[str, Any], response.json())
            items = [cast(Mapping[str, Any], each["index"]) for each in answer["items"]]
            statuses = [int(each["status"]) for each in items]
            kinds = [_type_of(each.get("error")) for each in items]
            names = [each["_id"] for each in items]
            is_it = names == [each.transaction_id for each in bulk]
            if not is_it or not all(_LEAST <= each <= _MOST for each in statuses):
                raise ValueError
        except _NONSENSE:
            raise Unavailable(f"the answer of {self._exchange.where} cannot be read") from None
        refused: list[tuple[_Document, int, object]] = []
        for document, kind, status in zip(bulk, kinds, statuses, strict=True):
            if status < HTTPStatus.MULTIPLE_CHOICES or status == HTTPStatus.CONFLICT:
                continue
            if status in _AWAY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Unavailable(f"{self._exchange.where} has no room just now ({status})")
            refused.append((document, status, kind))
        return _rejects(refused)

    def _meant(self, response: httpx.Response) -> AssayError:
        status, said = response.status_code, f"{self._exchange.where} answered"
        if status in _AWAY or response.is_server_error:
            return Unavailable(f"{said} {status}", retry_after=retry_after(response.headers))
        kind = _kind(response)
        return Fatal(f"{said} {status} ({kind}): {_ADVICE.get(status, 'check ASSAY_SEARCH__URL')}")


def _rejects(refused: Iterable[tuple[_Document, int, object]]) -> pl.DataFrame:
    rows = [
        {
            "row": document.row,
            "transaction_id": document.transaction_id,
            "code": "target_refused",
            "message": f"the index refuses it with {status}: {kind}",
        }
        for document, status, kind in refused
    ]
    if not rows:
        return no_rejects()
    return faults(pl.DataFrame(rows, schema_overrides={"row": pl.UInt32}), stage="commit")


_THERE: Final = "resource_already_exists_exception"


def _kind(response: httpx.Response) -> str:
    """What an error is called."""
    try:
        return _type_of(response.json()["error"])
    except _NONSENSE:
        return "no reason"


def _type_of(error: object) -> str:
    """The type that an error says; its reason would quote the document."""
    found = cast(Mapping[str, Any], error).get("type") if isinstance(error, Mapping) else None
    return str(found) if found is not None else "no reason"


def _login(config: SearchConfig) -> dict[str, str]:
    if config.api_key is not None:
        return {"authorization": f"ApiKey {config.api_key.get_secret_value()}"}
    if config.username is None:
        return {}
    password = "" if config.password is None else config.password.get_secret_value()
    pair = b64encode(f"{config.username}:{password}".encode()).decode()
    return {"authorization": f"Basic {pair}"}
