"""A search engine as a target: OpenSearch itself, and a server that answers what it rarely does."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from answering import Question, Reply, Server

from assay.domain.errors import Fatal, Unavailable
from assay.ports.target import Target
from assay.testing.frames import outcome, together, transaction
from assay.testing.target import TargetSuite
from assay_adapters.search.config import SearchConfig
from assay_adapters.search.target import SearchTarget
from assay_local import Local

_JSON = {"content-type": "application/json"}
_MADE = Reply(200, _JSON, b"{}")


@pytest.fixture
def config(local: Local) -> SearchConfig:
    """An index of its own on OpenSearch, not made yet."""
    local.opensearch.start()
    return SearchConfig.model_validate({"url": local.opensearch.url, "index": f"t-{uuid4().hex}"})


Open = Callable[[SearchConfig], SearchTarget]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens targets, closed at the end."""
    with ExitStack() as stack:

        def target(config: SearchConfig) -> SearchTarget:
            made = SearchTarget(config)
            stack.callback(made.close)
            return made

        yield target


def _ask(config: SearchConfig, method: str, path: str, body: object = None) -> Any:
    answer = httpx.request(method, f"{config.url}{config.index}{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json()


def _held(config: SearchConfig) -> dict[str, dict[str, Any]]:
    _ask(config, "POST", "/_refresh")
    found = _ask(config, "POST", "/_search", {"size": 1000})
    return {each["_id"]: each["_source"] for each in found["hits"]["hits"]}


class TestSearchTarget(TargetSuite):
    @pytest.fixture
    def target(self, config: SearchConfig, opened: Open) -> Target:
        self._config = config
        return opened(config)

    def held(self, target: Target) -> Mapping[str, Mapping[str, Any]]:
        del target
        return _held(self._config)


def test_the_later_of_two_with_one_id_stands(config: SearchConfig, opened: Open) -> None:
    """Whatever comes again after it."""
    target = opened(config)
    first = outcome([transaction("a", category="Food")], first=3)
    target.deliver(first)
    target.deliver(outcome([transaction("a", category="Home")], first=4))
    target.deliver(first)
    assert {name: each["category"] for name, each in _held(config).items()} == {"a": "Home"}
    found = _ask(config, "POST", "/_search", {"version": True})
    assert [each["_version"] for each in found["hits"]["hits"]] == [5]


def test_an_index_is_of_one_topic(config: SearchConfig, opened: Open) -> None:
    """Positions of another say nothing about its documents; so with one of the same name."""
    one = outcome(["a"], source="kafka/one")
    opened(config).deliver(one)
    opened(config).deliver(outcome(["b"], first=1, source="kafka/one"))
    anew = replace(one, ranges=(replace(one.ranges[0], numbering="made anew"),))
    for other in outcome(["a"], source="kafka/other"), anew:
        with pytest.raises(Fatal, match="another topic"):
            opened(config).deliver(other)
    assert _held(config).keys() == {"a", "b"}


def test_an_index_that_somebody_has_made_is_noted_as_the_topic_s(
    config: SearchConfig, opened: Open
) -> None:
    """Beside what its mapping says of itself already."""
    _ask(config, "PUT", "", {"mappings": {"_meta": {"team": "payments"}}})
    opened(config).deliver(outcome(["a"], source="kafka/one"))
    ((_, found),) = _ask(config, "GET", "/_mapping").items()
    meta = found["mappings"]["_meta"]
    assert (meta["team"], meta["assay_topic"]["topic"]) == ("payments", "kafka/one")


def test_it_can_be_searched_as_one_would(config: SearchConfig, opened: Open) -> None:
    """Words in a description, an amount between two, a day, a category as it is written."""
    target = opened(config)
    target.deliver(outcome(["a", transaction("b", category="Home improvement")]))
    _ask(config, "POST", "/_refresh")
    for query, ids in (
        ({"match": {"description": "bakery"}}, {"a", "b"}),
        ({"range": {"amount": {"gt": 12, "lt": 13}}}, {"a", "b"}),
        ({"range": {"timestamp": {"lt": "1990-01-01"}}}, set[str]()),
        ({"term": {"category": "Home improvement"}}, {"b"}),
    ):
        found = _ask(config, "POST", "/_search", {"query": query})
        assert {each["_id"] for each in found["hits"]["hits"]} == ids, query


def test_large_deliveries_are_sent_in_parts(config: SearchConfig, opened: Open) -> None:
    """Each of at most so many bytes, several at a time."""
    target = opened(config.model_copy(update={"bulk_mib": 1}))
    rows = [transaction(f"t-{n}", description="x" * 1000) for n in range(3_000)]
    assert target.deliver(outcome(rows)).is_empty()
    _ask(config, "POST", "/_refresh")
    assert _ask(config, "GET", "/_count")["count"] == 3_000


def test_what_the_index_refuses_becomes_a_reject(config: SearchConfig, opened: Open) -> None:
    """Of an index that somebody else has made; nothing of the record is told."""
    mapping = {"properties": {"merchant": {"type": "date"}}}
    _ask(config, "PUT", "", {"mappings": mapping})
    rows = [transaction("a", merchant=None), transaction("b", merchant="CORNER"), "c"]
    refused = opened(config).deliver(outcome(rows)).to_dicts()
    assert [(each["row"], each["transaction_id"], each["code"]) for each in refused][:1] == [
        (1, "b", "target_refused")
    ]
    assert refused[0]["message"] == "the index refuses it with 400: mapper_parsing_exception"
    assert _held(config).keys() >= {"a"}


def _bulk(of: Callable[[str], int]) -> Callable[[Question], Reply]:
    """Answers a bulk as it is told of each id."""

    def reply(question: Question) -> Reply:
        if question.method == "PUT":
            return _MADE
        names = [json.loads(each)["index"]["_id"] for each in question.body.splitlines()[::2]]
        items = [{"index": {"_id": name, "status": of(name)}} for name in names]
        return Reply(200, _JSON, json.dumps({"errors": True, "items": items}).encode())

    return reply


def _at(server: Server, **settings: Any) -> SearchConfig:
    return SearchConfig.model_validate({"url": server.url} | settings)


@pytest.mark.parametrize("status", [429, 503])
def test_who_has_no_room_for_some_is_asked_again_about_all(
    server: Server, opened: Open, status: int
) -> None:
    """Those which are there are told by their versions."""
    server.reply = _bulk(lambda name: status if name == "b" else 201)
    target, given = opened(_at(server)), outcome(["a", "b"])
    with pytest.raises(Unavailable, match=str(status)):
        target.deliver(given)
    server.reply = _bulk(lambda name: 201 if name == "b" else 409)
    assert target.deliver(given).is_empty()


def test_what_is_too_large_is_halved(server: Server, opened: Open) -> None:
    """Down to one document, which is what is wrong then."""
    answer = _bulk(lambda _: 201)

    def reply(question: Question) -> Reply:
        is_many = question.method == "POST" and len(question.body.splitlines()) > 2
        return Reply(413, _JSON, b"{}") if is_many else answer(question)

    server.reply = reply
    both = together(outcome(["a", "b"]), outcome(["c"], partition="transactions/1"))
    assert opened(_at(server)).deliver(both).is_empty()
    server.reply = lambda question: _MADE if question.method == "PUT" else Reply(413, _JSON, b"{}")
    (refused, *_) = opened(_at(server)).deliver(outcome(["a", "b"])).to_dicts()
    assert refused["message"] == "the index refuses it with 413: too large"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_who_is_away_is_waited_for_as_long_as_it_asks(
    server: Server, opened: Open, status: int
) -> None:
    """Also while the index is made."""
    server.reply = lambda _: Reply(status, {"retry-after": "7"})
    with pytest.raises(Unavailable, match=f"answered {status}") as away:
        opened(_at(server)).deliver(outcome(["a"]))
    assert away.value.retry_after == 7


@pytest.mark.parametrize(
    ("status", "said"), [(401, "PASSWORD"), (403, "may not"), (404, "URL"), (400, "no reason")]
)
def test_a_wrong_setting_stops_it(server: Server, opened: Open, status: int, said: str) -> None:
    """The message says which."""
    server.reply = lambda _: Reply(status)
    with pytest.raises(Fatal, match=said):
        opened(_at(server)).deliver(outcome(["a"]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"items": []}',
        b'{"items": [{"create": {}}]}',
        b'{"items": [{"index": {"_id": "b", "status": 201}}]}',
        b'{"items": [{"index": {"_id": "a", "status": 0}}]}',
        b'{"items": [{"index": {"_id": "a", "status": Infinity}}]}',
        b'{"items": [{"index": 7}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_of_a_search_engine_counts_for_nothing(
    server: Server, opened: Open, body: bytes
) -> None:
    """As from a proxy in between."""
    server.reply = lambda question: _MADE if question.method == "PUT" else Reply(200, _JSON, body)
    with pytest.raises(Unavailable, match="cannot be read"):
        opened(_at(server)).deliver(outcome(["a"]))


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"username": "u", "password": "p"}, "Basic dTpw"),
        ({"api_key": "k"}, "ApiKey k"),
    ],
)
def test_it_logs_in(server: Server, opened: Open, settings: dict[str, str], header: str) -> None:
    """With what it is given; none of it shows."""
    server.reply = _bulk(lambda _: 201)
    target = opened(_at(server, **settings))
    target.deliver(outcome(["a"]))
    assert {each.headers["authorization"] for each in server.questions} == {header}
