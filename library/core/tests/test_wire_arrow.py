"""Arrow IPC streams come back as they were written; anything else is a ValueError."""

import io
import random
import struct
import subprocess
import sys

import polars as pl
import pytest

from assay.domain.prediction import VERDICTS
from assay.testing.classifier import AWKWARD, transactions
from assay.wire import arrow, ipc


def stream(frame: pl.DataFrame, compression: str = "uncompressed") -> bytes:
    """The frame as polars itself writes it."""
    written = io.BytesIO()
    frame.write_ipc_stream(written, compression=compression)  # type: ignore[arg-type]
    return written.getvalue()


QUESTION = transactions(list(AWKWARD))
BODY = arrow.write_transactions(QUESTION)


def test_transactions_come_back_as_they_were() -> None:
    """The frame that is read is the frame that was written, without its rows' numbers."""
    read = arrow.read_transactions(BODY)
    assert read.schema == arrow.QUESTIONS
    assert read.equals(QUESTION.drop("row"))


def test_an_empty_frame_comes_back_empty() -> None:
    """No rows are a stream like any other."""
    assert arrow.read_transactions(arrow.write_transactions(QUESTION.clear())).height == 0


def test_verdicts_come_back_as_they_were() -> None:
    """Verdicts travel with the id that was asked about."""
    answers = pl.DataFrame(
        {
            "transaction_id": ["a", None],
            "status": ["ok", "reject"],
            "category": ["Food", None],
            "confidence": [0.5, None],
            "needs_review": [True, None],
            "model_name": ["m", None],
            "model_version": ["1", None],
            "feature_hash": [None, None],
            "code": [None, "missing_amount"],
            "message": [None, "amount is missing"],
        },
        schema=arrow.ANSWERS,
    )
    assert arrow.read_verdicts(arrow.write_verdicts(answers)).equals(answers)
    texts = answers.with_columns(pl.col("status").cast(pl.String))
    assert arrow.read_verdicts(stream(texts)).schema == {"transaction_id": pl.String, **VERDICTS}


def test_text_may_come_as_a_dictionary_and_columns_in_any_order() -> None:
    """What other writers of Arrow make of the same columns is taken."""
    frame = QUESTION.drop("row").with_columns(pl.col("currency", "side").cast(pl.Categorical))
    shuffled = frame.select(*reversed(frame.columns), extra=pl.lit(1))
    assert arrow.read_transactions(stream(shuffled)).equals(QUESTION.drop("row"))


def test_several_batches_are_one_frame() -> None:
    """A stream may have many batches."""
    frame = pl.concat([QUESTION.drop("row")] * 3, rechunk=False)
    assert arrow.read_transactions(stream(frame)).equals(frame)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (QUESTION.drop("row", "side"), "column side is missing"),
        (QUESTION.with_columns(pl.col("amount").cast(pl.Float64)), "column amount must be Decimal"),
        (QUESTION.with_columns(pl.col("amount").cast(pl.String)), "column amount must be Decimal"),
        (QUESTION.with_columns(pl.col("timestamp").dt.cast_time_unit("ns")), "column timestamp"),
        (QUESTION.with_columns(mcc=pl.lit(5462)), "column mcc must be String"),
    ],
)
def test_other_columns_are_named(frame: pl.DataFrame, said: str) -> None:
    """A column that is missing or of another type is named, with what it should be."""
    with pytest.raises(ValueError, match=said):
        arrow.read_transactions(stream(frame))


def test_an_unknown_status_is_refused() -> None:
    """A verdict can only have the statuses that there are."""
    answers = pl.DataFrame(
        {"transaction_id": ["a"], "status": ["maybe"]}, schema_overrides={"status": pl.String}
    )
    others = {name: pl.lit(None, dtype) for name, dtype in arrow.ANSWERS.items()}
    frame = answers.with_columns(**{n: e for n, e in others.items() if n not in answers.columns})
    with pytest.raises(ValueError, match="not a readable Arrow IPC stream"):
        arrow.read_verdicts(stream(frame))


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_streams_are_refused(compression: str) -> None:
    """What a few bytes unpack to is not bounded by the size of the body."""
    with pytest.raises(ValueError, match="compressed"):
        arrow.read_transactions(stream(QUESTION, compression))


def test_a_stream_that_is_cut_anywhere_is_refused() -> None:
    """A prefix of a stream is never taken for a shorter stream, cut between batches or within."""
    frame = pl.concat([QUESTION.drop("row")] * 2, rechunk=False)
    body = stream(frame)
    for length in range(len(body)):
        with pytest.raises(ValueError, match="Arrow IPC stream"):
            arrow.read_transactions(body[:length])


@pytest.mark.parametrize(
    "body", [b"", b"ARROW1\0\0", b"[]", b"\xff" * 64, BODY + b"\0", BODY + BODY]
)
def test_what_is_no_stream_is_refused(body: bytes) -> None:
    """Other bytes, or bytes behind the end, are a ValueError."""
    with pytest.raises(ValueError, match="stream"):
        arrow.read_transactions(body)


def test_a_stream_of_endless_messages_is_refused() -> None:
    """The number of messages is bounded."""
    length = struct.unpack_from("<i", BODY, 4)[0]
    schema = BODY[: 8 + length]
    batch = BODY[8 + length : -len(ipc.END)]
    body = schema + batch * ipc.MESSAGES + ipc.END
    with pytest.raises(ValueError, match="10000 messages"):
        arrow.read_transactions(body)


def test_absurd_lengths_do_not_end_the_process() -> None:
    """A stream that asks for more memory than there is is refused before memory is asked for.

    In a process of its own, since an allocation that fails cannot be caught.
    """
    program = """
import random, sys
from assay.testing.classifier import transactions
from assay.wire import arrow

body = arrow.write_transactions(transactions([f"DESCRIPTION OF SOME LENGTH {n}" for n in range(9)]))
numbers = random.Random(7)
for _ in range(3000):
    damaged = bytearray(body)
    for _ in range(numbers.choice([1, 1, 2, 4])):
        at = numbers.randrange(0, len(body), numbers.choice([1, 8]))
        damaged[at : at + 8] = numbers.choice(
            [b"\\xff" * 8, b"\\xff" * 7 + b"\\x7f", b"\\0" * 8, bytes([numbers.randrange(256)]) * 8]
        )
    try:
        frame = arrow.read_transactions(bytes(damaged[: len(body)]))
    except ValueError:
        continue
    assert frame.schema == arrow.QUESTIONS
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "done\n", done.stderr[-500:]


def test_a_damaged_byte_is_a_value_error_or_another_frame() -> None:
    """Whatever a byte is changed to, nothing but ValueError is raised, not even a panic."""
    numbers = random.Random(11)  # noqa: S311 - repeatable damage, no secret
    for _ in range(300):
        damaged = bytearray(BODY)
        damaged[numbers.randrange(len(BODY))] = numbers.randrange(256)
        try:
            frame = arrow.read_transactions(bytes(damaged))
        except ValueError:
            continue
        assert frame.schema == arrow.QUESTIONS
