"""The hot paths of the product, step by step: what the guard of speed counts instructions of.

The steps are the functions that a run calls, in its order, on records of `sample`. What is not
there is the work of others: the network, Kafka, PostgreSQL.

Run as a process, under Callgrind: `python hot.py`.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast

import polars as pl
from callgrind import Counter
from confluent_kafka import Message
from sample import HEADER, make

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.domain.chunk import Chunk
from assay.domain.outcome import Outcome
from assay.domain.reject import RAW_LIMIT
from assay.domain.settle import tallies
from assay.domain.taxonomy import DEFAULT
from assay.pipeline import files
from assay.pipeline.bisect import answered
from assay.pipeline.files import FileSource
from assay.pipeline.inflight import Flight, Prepared, prepare
from assay.ports.objects import Object
from assay.wire import arrow, messages
from assay_adapters.compression.decompress import decompress
from assay_adapters.http.answers import verdicts
from assay_adapters.kafka.chunks import Held, Owned, cut
from assay_adapters.postgres.store import PostgresStore
from assay_ml_api.predict import predict
from assay_model.cache import Cache
from assay_model.predict import Model

RECORDS: Final = 5_000
"""Of each path: few, since each instruction takes fifty times as long as usual."""

NOTHING: Final = "-"
"""The name of what is counted between two steps."""

_CALL: Final = 1_000  # messages that one call of `consume` brings, about
_PARTITIONS: Final = 3
_CONTRACT: Final = Path(__file__).parents[1] / "contracts" / "transactions.odcs.yaml"
_FILE: Final = Object("memory://bucket/transactions.csv", "1", 0)
_BLOCK: Final = 1 << 20

_Answer = TypeVar("_Answer")
_Arguments = ParamSpec("_Arguments")
_Decoded = tuple[pl.DataFrame, pl.DataFrame]


class Step(Protocol):
    """Takes one step, and notes what it costs; those of one name are added up."""

    def __call__(
        self,
        name: str,
        function: Callable[_Arguments, _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        """What the function answers."""
        ...


@dataclass(frozen=True)
class Given:
    """What the paths begin with.

    Attributes:
        messages: of a topic.
        content: of a file.
        contract: how the file is written.
        model: the shipped one.
        question: what the model's API is asked of the messages.
    """

    messages: Sequence[Message]
    content: bytes
    contract: Contract
    model: Model
    question: bytes

    def read(self, item: Object, start: int = 0) -> Iterator[bytes]:  # noqa: ARG002 - there is one
        """The content, as `Objects` hands it out."""
        while block := self.content[start : start + _BLOCK]:
            yield block
            start += _BLOCK


def given(records: int = RECORDS) -> Given:
    """Makes so many messages, and a file of as many records."""
    parts: list[pl.DataFrame] = []

    def put(frame: pl.DataFrame) -> int:
        parts.append(frame)
        return 0

    make(records, "scattered", put)
    frame = pl.concat(parts)
    came = [
        Message(
            topic="transactions",
            partition=number % _PARTITIONS,
            offset=number // _PARTITIONS,
            value=value,
        )
        for number, value in enumerate(frame["message"].cast(pl.Binary))
    ]
    good = prepare(_held(came), messages.decode).transactions
    return Given(
        came,
        (HEADER + "\n".join(frame["line"]) + "\n").encode(),
        parse(_CONTRACT.read_text("utf-8"), str(_CONTRACT)),
        Model.load(),
        arrow.write_transactions(good),
    )


def stream(of: Given, step: Step) -> None:
    """From the consumer's messages to the bytes that PostgreSQL is sent."""
    chunk = step("hold", _held, of.messages)
    decoded = step("decode", messages.decode, chunk)
    _onward(chunk, "kafka/transactions", decoded, step)


def batch(of: Given, step: Step) -> None:
    """The same from a file's bytes."""
    chunk = step("read", _read, of)
    decoded = step("decode", files.decode, chunk, of.contract)
    _onward(chunk, "files/transactions", decoded, step)


def model(of: Given, step: Step) -> None:
    """The model's API, from the body of a question to that of its answer.

    A fifth of the descriptions are new to it at first, and none the second time.
    """
    fresh = replace(of.model, _cache=Cache())
    for name in ("new", "known"):
        step(
            name,
            predict,
            fresh,
            of.question,
            asked=arrow.CONTENT_TYPE,
            accepted=arrow.CONTENT_TYPE,
            currency="EUR",
            max_records=RECORDS,
        )


PATHS: Final = {"stream": stream, "batch": batch, "model": model}


def _held(came: Sequence[Message]) -> Chunk:
    held = Held()
    for start in range(0, len(came), _CALL):
        held.add(came[start : start + _CALL])
    return cut(held.frame(RAW_LIMIT), {each: Owned(next=0) for each in range(_PARTITIONS)})


def _read(of: Given) -> Chunk:
    source = FileSource(cast(Any, of), [_FILE], of.contract, decompress)
    return cast(Chunk, next(source.events(lambda _: {})))


def _onward(chunk: Chunk, source: str, decoded: _Decoded, step: Step) -> None:
    """What a stream and a batch have in common."""
    prepared = step("prepare", prepare, chunk, lambda _: decoded)
    step("classify", arrow.write_transactions, prepared.transactions)
    body = _reply(prepared.transactions)
    judged = step("classify", _judged, body, prepared.transactions)
    outcome = step("doors", _doors, chunk, source, prepared, judged)
    step("commit", _commit, outcome)


def _reply(asked: pl.DataFrame) -> bytes:
    """What a model's API might answer."""
    told = {
        "status": "ok",
        "category": DEFAULT.categories[0],
        "confidence": 0.9,
        "needs_review": False,
        "model_name": "assay-linear",
        "model_version": "1",
        "feature_hash": "0" * 16,
    }
    columns = {name: pl.lit(told.get(name)) for name in arrow.ANSWERS if name != "transaction_id"}
    return arrow.write_verdicts(asked.select("transaction_id", **columns))


def _judged(body: bytes, asked: pl.DataFrame) -> pl.DataFrame:
    return verdicts(arrow.read_verdicts(body), asked, DEFAULT)


def _doors(chunk: Chunk, source: str, prepared: Prepared, judged: pl.DataFrame) -> Outcome:
    flight = Flight(chunk, chunk.bytes)
    flight.is_prepared(prepared)
    flight.has_learnt(answered(flight.asks.pop(), judged, attempts=3))
    classified, rejects = flight.sorted_by_door()
    return Outcome("run", source, "letters", chunk.ranges, chunk.records, classified, rejects)


def _commit(outcome: Outcome) -> None:
    """A commit without its statements, that is, what `COPY` is sent."""
    store = PostgresStore(cast(Any, None), processing_type="stream")
    entries = range(len(outcome.ranges))
    settled = store._keep(cast(Any, _Nobody()), outcome, entries)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the rest of a commit needs a server
    tallies(outcome, settled)


class _Nobody:
    """A connection, its driver, its cursor and its `COPY` at once, which takes all there is."""

    @property
    def connection(self) -> "_Nobody":
        return self

    @property
    def driver_connection(self) -> "_Nobody":
        return self

    def begin_nested(self) -> AbstractContextManager[None]:
        return nullcontext()

    def cursor(self) -> AbstractContextManager["_Nobody"]:
        return nullcontext(self)

    def copy(self, statement: object) -> AbstractContextManager["_Nobody"]:
        del statement
        return nullcontext(self)

    def write(self, content: bytes) -> None:
        del content


def main() -> None:
    """Takes all steps twice, and counts the second time: the first loads what is loaded late."""
    counter, of = Counter(), given()

    def taken(
        name: str,  # noqa: ARG001 - as `Step` has it
        function: Callable[_Arguments, _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        return function(*arguments, **named)

    def counted(path: str) -> Step:
        def count(
            name: str,
            function: Callable[_Arguments, _Answer],
            *arguments: _Arguments.args,
            **named: _Arguments.kwargs,
        ) -> _Answer:
            counter.dump(NOTHING)
            answer = function(*arguments, **named)
            counter.dump(f"{path}.{name}")
            return answer

        return count

    for path in PATHS.values():
        path(of, taken)
    gc.collect()
    gc.freeze()
    counter.start()
    for name, path in PATHS.items():
        path(of, counted(name))


if __name__ == "__main__":
    main()
