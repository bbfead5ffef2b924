"""Whatever answers, nothing wrong comes back as `ok`, and every failure has its place."""

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import polars as pl
import pytest
from answering import Question, Reply, Server
from pydantic import ValidationError

from assay.domain.errors import AssayError, Fatal, Refused, Unavailable
from assay.domain.prediction import VERDICTS
from assay.testing.classifier import transactions
from assay.wire import arrow
from assay_adapters.http.classifier import HttpClassifier
from assay_adapters.http.config import ApiConfig

JSON = {"content-type": "application/json"}
ARROW = {"content-type": arrow.CONTENT_TYPE}
ASKED = transactions(["CORNER BAKERY", "MONTHLY RENT", "TRAIN TICKET"])
IDS = ASKED["transaction_id"].to_list()
SECRET = "CORNER BAKERY"

Make = Callable[..., HttpClassifier]


@pytest.fixture
def make(server: Server) -> Generator[Make]:
    """Makes classifiers that ask the server, with these settings."""
    made: list[HttpClassifier] = []

    def classifier(**settings: Any) -> HttpClassifier:
        config = ApiConfig.model_validate({"url": server.url, "timeout": 5} | settings)
        made.append(HttpClassifier(config))
        return made[-1]

    yield classifier
    for each in made:
        each.close()


def prediction(transaction_id: object, **changes: object) -> dict[str, object]:
    """A good answer for one record, with changes; a change to None leaves the key out."""
    answer = {
        "transaction_id": transaction_id,
        "category": "Food",
        "confidence_score": 0.75,
        "needs_review": False,
        "model_version": "7",
        "model_name": "invented",
        "feature_hash": "00ff",
    } | changes
    return {key: value for key, value in answer.items() if value is not None}


def answered(*answers: object) -> Callable[[Question], Reply]:
    """A reply of 200 with these answers as JSON."""
    body = json.dumps(answers).encode()
    return lambda _: Reply(200, JSON, body)


def failure(classifier: HttpClassifier) -> AssayError:
    """The error that asking ends with, which must hold no content."""
    with pytest.raises(AssayError) as caught:
        classifier.classify(ASKED)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize("spoken", ["arrow", "json"])
def test_good_answers_are_verdicts(server: Server, make: Make, spoken: str) -> None:
    """Both formats are spoken, and the answer is read by its own content type."""
    server.reply = answered(*(prediction(each) for each in IDS))
    verdicts = make(format=spoken).classify(ASKED)
    assert verdicts.schema == VERDICTS
    assert verdicts.row(0, named=True) == {
        "status": "ok",
        "category": "Food",
        "confidence": 0.75,
        "needs_review": False,
        "model_name": "invented",
        "model_version": "7",
        "feature_hash": "00ff",
        "code": None,
        "message": None,
    }
    (question,) = server.questions
    assert question.path == "/predict"
    assert (
        question.headers["content-type"] == (ARROW if spoken == "arrow" else JSON)["content-type"]
    )
    assert question.headers["accept"] == question.headers["content-type"]


def test_arrow_answers_are_held_against_the_same_rules(server: Server, make: Make) -> None:
    """What Arrow's types admit and the rules do not is a reject as well."""
    answers = pl.DataFrame(
        {
            "transaction_id": IDS,
            "status": ["ok", "ok", "retry"],
            "category": ["Food", "Food", None],
            "confidence": [float("nan"), 1.0, None],
            "needs_review": [True, None, None],
            "model_name": ["m"] * 3,
            "model_version": ["1"] * 3,
            "code": [None, None, "busy"],
        },
    )
    missing = {name: pl.lit(None, dtype) for name, dtype in arrow.ANSWERS.items()}
    body = arrow.write_verdicts(
        answers.with_columns(**{n: e for n, e in missing.items() if n not in answers.columns})
    )
    server.reply = lambda _: Reply(200, ARROW, body)
    verdicts = make().classify(ASKED)
    assert verdicts["status"].to_list() == ["reject", "reject", "retry"]
    assert verdicts["code"].to_list() == ["invalid_prediction", "invalid_prediction", "busy"]
    assert verdicts["category"].null_count() == 3


WRONG: dict[str, dict[str, object]] = {
    "confidence of 1.5": {"confidence_score": 1.5},
    "negative confidence": {"confidence_score": -0.1},
    "confidence NaN": {"confidence_score": float("nan")},
    "infinite confidence": {"confidence_score": float("inf")},
    "confidence as text": {"confidence_score": "0.9"},
    "confidence true": {"confidence_score": True},
    "enormous confidence": {"confidence_score": 10**400},
    "no confidence": {"confidence_score": None},
    "unknown category": {"category": "Gambling"},
    "no category": {"category": None},
    "category as number": {"category": 3},
    "lone surrogate": {"category": "\ud800"},
    "needs_review as text": {"needs_review": "no"},
    "no needs_review": {"needs_review": None},
    "no version": {"model_version": None},
    "version as number": {"model_version": 7},
    "version with NUL": {"model_version": "7\x00"},
    "hash with NUL": {"feature_hash": "\x00"},
    "endless name": {"model_name": "m" * 5_000},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_an_impossible_prediction_rejects_its_row_alone(
    server: Server, make: Make, changes: dict[str, object]
) -> None:
    """The culprit is rejected, the others are what they are."""
    server.reply = answered(
        prediction(IDS[0]), prediction(IDS[1], **changes), prediction(IDS[2], category="Travel")
    )
    verdicts = make().classify(ASKED)
    assert verdicts["status"].to_list() == ["ok", "reject", "ok"]
    assert verdicts["category"].to_list() == ["Food", None, "Travel"]
    assert verdicts["confidence"].to_list() == [0.75, None, 0.75]
    assert verdicts["code"].to_list() == [None, "invalid_prediction", None]
    assert verdicts["message"][1]


def test_errors_of_records_are_verdicts(server: Server, make: Make) -> None:
    """What may be retried is retried, the rest rejected; codes are kept, messages are our own."""
    quoting = {"code": "too_vague", "message": f"cannot judge {SECRET}", "retriable": False}
    server.reply = answered(
        {"transaction_id": IDS[0], "error": {"code": "busy", "message": "m", "retriable": True}},
        {"transaction_id": IDS[1], "error": quoting},
        prediction(IDS[2]) | {"error": SECRET},
    )
    verdicts = make().classify(ASKED)
    assert verdicts["status"].to_list() == ["retry", "reject", "reject"]
    assert verdicts["code"].to_list() == ["busy", "too_vague", "invalid_prediction"]
    assert verdicts["category"].null_count() == 3
    assert SECRET not in str(verdicts.rows())


def test_a_code_that_quotes_the_record_is_not_kept(server: Server, make: Make) -> None:
    """A code is a short name, or it is ours."""
    error = {"code": SECRET, "retriable": True}
    server.reply = answered(*({"transaction_id": each, "error": error} for each in IDS))
    verdicts = make().classify(ASKED)
    assert verdicts["status"].to_list() == ["retry"] * 3
    assert verdicts["code"].to_list() == ["invalid_prediction"] * 3


def test_answers_in_another_order_are_put_in_order(server: Server, make: Make) -> None:
    """Where ids tell which answer belongs where, each transaction gets its own."""
    categories = {IDS[0]: "Food", IDS[1]: "Rent", IDS[2]: "Travel"}
    server.reply = answered(
        *(prediction(each, category=categories[each]) for each in reversed(IDS))
    )
    assert make().classify(ASKED)["category"].to_list() == ["Food", "Rent", "Travel"]


def test_repeated_ids_in_order_are_answered(server: Server, make: Make) -> None:
    """A call may ask about one id twice; then only the order tells the answers apart."""
    asked = ASKED.with_columns(transaction_id=pl.Series(["a", "b", "a"]))
    server.reply = answered(prediction("a"), prediction("b"), prediction("a", category="Rent"))
    assert make().classify(asked)["category"].to_list() == ["Food", "Food", "Rent"]
    server.reply = answered(prediction("a"), prediction("a"), prediction("b"))
    with pytest.raises(Refused, match="other ids"):
        make().classify(asked)


OTHER_IDS: dict[str, list[object]] = {
    "too few": [prediction(each) for each in IDS[:2]],
    "none": [],
    "too many": [prediction(each) for each in [*IDS, "t-9"]],
    "unknown": [prediction(each) for each in [*IDS[:2], "t-9"]],
    "repeated": [prediction(each) for each in [IDS[0], IDS[1], IDS[1]]],
    "without": [prediction(each) for each in [*IDS[:2], None]],
    "as numbers": [prediction(each) for each in [*IDS[:2], 3]],
    "lone surrogate": [prediction(each) for each in [*IDS[:2], "\ud800"]],
}


@pytest.mark.parametrize("answers", OTHER_IDS.values(), ids=OTHER_IDS.keys())
def test_answers_to_other_questions_are_refused(
    server: Server, make: Make, answers: list[object]
) -> None:
    """An answer is never given to a transaction that it may not belong to."""
    server.reply = answered(*answers)
    assert isinstance(failure(make()), Refused)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, Fatal, "ASSAY_API__URL"),
        (413, Fatal, "ASSAY_API__URL"),
        (422, Fatal, "ASSAY_API__URL"),
        (500, Unavailable, "500"),
        (401, Fatal, "ASSAY_API__API_KEY"),
        (403, Fatal, "ASSAY_API__API_KEY"),
        (404, Fatal, "ASSAY_API__URL"),
        (405, Fatal, "ASSAY_API__URL"),
        (406, Fatal, "ASSAY_API__URL"),
        (415, Fatal, "ASSAY_API__URL"),
        (410, Fatal, "ASSAY_API__URL"),
        (301, Fatal, "ASSAY_API__URL"),
        (307, Fatal, "ASSAY_API__URL"),
        (408, Unavailable, "408"),
        (425, Unavailable, "425"),
        (429, Unavailable, "429"),
        (502, Unavailable, "502"),
        (503, Unavailable, "503"),
        (504, Unavailable, "504"),
        (524, Unavailable, "524"),
        (204, Unavailable, "something else"),
    ],
)
def test_every_status_has_its_place(
    server: Server, make: Make, status: int, kind: type[AssayError], said: str
) -> None:
    """A status says what the caller may do; what is fatal says what to do about it."""
    elsewhere = {"location": "https://elsewhere.test/"}
    server.reply = lambda _: Reply(status, elsewhere, b"" if status == 204 else SECRET.encode())
    error = failure(make())
    assert type(error) is kind
    assert said in str(error)
    if isinstance(error, Unavailable):
        assert error.too_much == (status in {408, 504, 524})


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_what_is_too_large_is_told_from_what_is_wrong(
    server: Server, make: Make, status: int
) -> None:
    """Of what an API refuses that is well, only 413 says that less of it would pass."""
    server.reply = lambda question: READY if question.method == "GET" else Reply(status)
    error = failure(make())
    assert isinstance(error, Refused)
    assert error.too_much == (status == 413)


HTML = b"<!doctype html><title>Sign in</title>"
READY = Reply(200, JSON, b'{"status": "ok"}')
HEALTH: dict[str, tuple[Reply, type[AssayError], type[AssayError]]] = {
    "ready": (READY, Refused, Refused),
    "not ready": (Reply(503), Unavailable, Unavailable),
    "busy": (Reply(429), Unavailable, Unavailable),
    "hung up": (Reply(raw=b""), Unavailable, Unavailable),
    "a web page": (Reply(200, {"content-type": "text/html"}, HTML), Fatal, Unavailable),
    "a sign-in": (Reply(302, {"location": "/login"}), Fatal, Unavailable),
    "400 as well": (Reply(400, {"content-type": "text/html"}, HTML), Fatal, Unavailable),
    "nothing there": (Reply(404), Fatal, Unavailable),
}


@pytest.mark.parametrize("status", [400, 413, 422, 500])
@pytest.mark.parametrize("kind", HEALTH)
def test_records_are_blamed_by_an_api_that_is_ready_and_by_nothing_else(
    server: Server, make: Make, kind: str, status: int
) -> None:
    """A wrong port or a proxy that refuses everything is no reason for a dead letter."""
    health, blamed, failed = HEALTH[kind]
    refusal = Reply(status, {"content-type": "text/html"}, HTML)
    server.reply = lambda asked: refusal if asked.path == "/predict" else health
    error = failure(make())
    assert type(error) is (failed if status == 500 else blamed)
    assert "ASSAY_API__URL" in str(error) or not isinstance(error, Fatal)
    assert [each.path for each in server.questions] == ["/predict", "/health/ready"]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(server: Server, make: Make, status: int) -> None:
    """As seconds and as a date, both; what is neither says nothing."""

    def asked_to_wait(value: str) -> float | None:
        server.reply = lambda _: Reply(status, {"retry-after": value})
        error = failure(make())
        assert isinstance(error, Unavailable)
        return error.retry_after

    assert asked_to_wait("17") == 17
    later = asked_to_wait(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert later is not None
    assert 55 < later <= 60
    assert asked_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert asked_to_wait("Wed, 21 Oct 2015 07:28:00 -0000") == 0
    assert asked_to_wait("soon") is None
    assert asked_to_wait("-5") is None
    assert asked_to_wait("Mon, 01 Jan 0001 00:00:00 +2300") == 0
    assert asked_to_wait("Mon, 01 Jan 2024 00:00:00 +999999999999999") is None
    assert asked_to_wait("9" * 400) == float("9" * 15)


def test_headers_need_not_be_ascii(server: Server, make: Make) -> None:
    """Some proxies name people in theirs."""
    server.reply = lambda _: Reply(503, {"x-owner": "J\u00f6rg"})
    assert isinstance(failure(make()), Unavailable)


WHOLE = json.dumps([prediction(each) for each in IDS]).encode()
STRANGE: dict[str, Reply] = {
    "HTML with 200": Reply(200, {"content-type": "text/html"}, HTML),
    "HTML that says it is JSON": Reply(200, JSON, HTML),
    "JSON that says it is Arrow": Reply(200, ARROW, WHOLE),
    "no content type": Reply(200, {}, WHOLE),
    "another content type": Reply(200, {"content-type": "application/xml"}, WHOLE),
    "no list": Reply(200, JSON, b'{"status": "ok"}'),
    "no objects": Reply(200, JSON, b"[1, 2, 3]"),
    "cut JSON": Reply(200, JSON, WHOLE[:-9]),
    "cut by content length": Reply(200, {**JSON, "content-length": "9999"}, WHOLE),
    "cut chunks": Reply(
        raw=b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n5\r\n[1, 2"
    ),
    "cut Arrow": Reply(200, ARROW, arrow.write_transactions(ASKED)[:-4]),
    "another frame": Reply(200, ARROW, arrow.write_transactions(ASKED)),
    "no HTTP": Reply(raw=b"220 mail.test ESMTP\r\n"),
    "hung up": Reply(raw=b""),
    "says it is gzip": Reply(200, {**JSON, "content-encoding": "gzip"}, WHOLE),
}


@pytest.mark.parametrize("reply", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_no_answer_of_the_api_is_unavailable(
    server: Server, make: Make, reply: Reply
) -> None:
    """Something else answers there, or the answer broke off: never the fault of a record."""

    def answer(_: Question) -> Reply:
        return reply

    server.reply = answer
    if reply.headers.get("content-length"):
        reply.raw = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        reply.raw += b"content-length: 9999\r\n\r\n" + WHOLE
    assert type(failure(make())) is Unavailable


def test_silence_is_unavailable(server: Server, make: Make) -> None:
    """An API that takes the question and says nothing is away once the time is over."""

    def wait(_: Question) -> Reply:
        server.released.wait(60)
        return Reply(raw=b"")

    server.reply = wait
    error = failure(make(timeout=0.3))
    assert type(error) is Unavailable
    assert error.too_much
    assert "did not answer within 0.3 s" in str(error)


DRIPS: dict[str, tuple[bytes, bytes]] = {
    "the status": (b"HTTP/1.1 ", b"2"),
    "a header": (b"HTTP/1.1 200 OK\r\nx-slow: ", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x-more: x\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_an_answer_that_drips_is_unavailable(make: Make, kind: str) -> None:
    """The time is that of the whole answer, whatever of it is slow, not of its next byte."""
    head, drop = DRIPS[kind]
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(head)
                try:
                    while not stop.wait(0.05):
                        connection.sendall(drop)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        try:
            error = failure(make(url=url, timeout=0.5))
            assert time.monotonic() - began < 3
        finally:
            stop.set()
            thread.join()
        assert type(error) is Unavailable
        assert "did not answer within 0.5 s" in str(error)


def test_a_question_that_is_taken_drop_by_drop_is_unavailable(make: Make) -> None:
    """The time is that of the whole call."""
    stop = threading.Event()
    long = pl.concat([ASKED.with_columns(description=pl.lit("x" * 1_000))] * 5_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while not stop.wait(0.05):
                    connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        try:
            with pytest.raises(Unavailable, match=r"did not answer within 1 s"):
                make(url=url, timeout=1, format="json").classify(long)
            assert time.monotonic() - began < 4
        finally:
            stop.set()
            thread.join()


def test_packed_answers_are_unpacked(server: Server, make: Make) -> None:
    """As a proxy packs them that does not care what it was asked for."""
    for name, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        packed = Reply(200, JSON | {"content-encoding": name}, pack(WHOLE))
        server.reply = answer_with(packed)
        assert make().classify(ASKED)["status"].to_list() == ["ok"] * 3
    unknown = Reply(200, JSON | {"content-encoding": "br"}, b"\x8b\x01\x80\x03")
    cut = Reply(200, JSON | {"content-encoding": "gzip"}, gzip.compress(WHOLE)[:40])
    for reply in (unknown, cut):
        server.reply = answer_with(reply)
        assert type(failure(make())) is Unavailable


def test_an_answer_that_unpacks_without_end_is_cut(server: Server, make: Make) -> None:
    """No more of it is held than the settings allow."""
    bomb = gzip.compress(b" " * 10_000_000)
    server.reply = answer_with(Reply(200, JSON | {"content-encoding": "gzip"}, bomb))
    error = failure(make(answer_limit=50_000))
    assert type(error) is Unavailable
    assert "ASSAY_API__ANSWER_LIMIT" in str(error)


def answer_with(reply: Reply) -> Callable[[Question], Reply]:
    """This reply, whatever is asked."""
    return lambda _: reply


def test_an_endless_answer_is_cut(server: Server, make: Make) -> None:
    """No more of an answer is read than the settings allow."""
    server.reply = lambda _: Reply(200, JSON, b" " * 100_000)
    error = failure(make(answer_limit=50_000))
    assert type(error) is Unavailable
    assert error.too_much
    assert "ASSAY_API__ANSWER_LIMIT" in str(error)


def test_nobody_there_is_unavailable(make: Make) -> None:
    """A port where nothing listens, and a name that leads nowhere."""
    error = failure(make(url="http://127.0.0.1:1"))
    assert type(error) is Unavailable
    assert not error.too_much
    assert type(failure(make(url="http://no-such-host.invalid"))) is Unavailable


@pytest.mark.parametrize("status", [406, 415])
def test_json_is_spoken_where_arrow_is_not(server: Server, make: Make, status: int) -> None:
    """An API that does not take Arrow is asked in JSON, from then on at once."""
    good = answered(*(prediction(each) for each in IDS))

    def only_json(question: Question) -> Reply:
        spoken = question.headers["content-type"]
        return good(question) if spoken == "application/json" else Reply(status)

    server.reply = only_json
    classifier = make()
    for _ in range(2):
        assert (classifier.classify(ASKED)["status"] == "ok").all()
    assert [each.headers["content-type"] for each in server.questions] == [
        arrow.CONTENT_TYPE,
        "application/json",
        "application/json",
    ]
    asked = json.loads(server.questions[1].body)
    assert [each["transaction_id"] for each in asked] == IDS
    assert asked[0]["amount"] == "9999999999999999.99"


def test_connections_are_kept(server: Server, make: Make) -> None:
    """Calls one after the other go over one connection, those that were refused included."""
    classifier = make()
    for reply in [answered(*map(prediction, IDS)), answered(), answered(*map(prediction, IDS))]:
        server.reply = reply
        try:
            classifier.classify(ASKED)
        except Refused:
            continue
    assert len(server.questions) == 3
    assert server.connections == 1


def test_threads_share_a_bounded_pool(server: Server, make: Make) -> None:
    """Several threads get their own answers over no more connections than are allowed."""

    def echo(question: Question) -> Reply:
        ids = [each["transaction_id"] for each in json.loads(question.body)]
        return answered(*(prediction(each, feature_hash=each) for each in ids))(question)

    server.reply = echo
    classifier = make(connections=2, format="json")
    questions = [ASKED.with_columns(pl.col("transaction_id") + f"-{n}") for n in range(30)]
    with ThreadPoolExecutor(6) as pool:
        verdicts = list(pool.map(classifier.classify, questions))
    for asked, answer in zip(questions, verdicts, strict=True):
        assert answer["feature_hash"].to_list() == asked["transaction_id"].to_list()
    assert server.connections <= 2


def test_the_key_is_sent_and_never_told(server: Server, make: Make) -> None:
    """A key goes out as a bearer token and into no message."""
    server.reply = lambda _: Reply(401)
    failure(make(api_key="hush-hush"))
    assert server.questions[-1].headers["authorization"] == "Bearer hush-hush"
    error = failure(make(url=server.url.replace("//", "//us%3Aer:hush-hush@")))
    assert server.questions[-1].headers["authorization"] == "Basic dXM6ZXI6aHVzaC1odXNo"
    assert server.questions[-1].headers["host"] in server.url
    assert "hush" not in str(error)


def test_the_model_tells_its_name(server: Server, make: Make) -> None:
    """Name and version of the model that answers; another taxonomy is fatal."""
    about = {"name": "invented", "version": "7", "taxonomy": {"categories": ["Food", "Rent"]}}
    server.reply = lambda _: Reply(200, JSON, json.dumps(about).encode())
    with pytest.raises(Fatal, match="another taxonomy"):
        make().model()
    server.reply = lambda _: Reply(200, JSON, b"[]")
    with pytest.raises(Unavailable, match="something else"):
        make().model()


@pytest.mark.parametrize(
    ("name", "value"),
    [("api_key", "clé-ключ"), ("api_key", "a\nb"), ("timeout", "inf"), ("connect_timeout", "1e9")],
)
def test_what_no_call_can_be_made_with_is_a_wrong_setting(name: str, value: str) -> None:
    """It is named before any call."""
    with pytest.raises(ValidationError, match=name):
        ApiConfig.model_validate({"url": "http://api.test", name: value})
