"""A model API that is slower than calls may take, or takes few records at once, on real servers."""

import threading

from hostile_files import HEAD, line
from impostor import Answer, Reply, answers
from streams import Stream, record
from system import System

from assay.pipeline.pump import Policy

RATE = 2_000  # records/s of one call
LIMIT = 1.0  # seconds that a caller waits
MOST = 1_000  # records that a call may have


def slow(ids: list[str]) -> list[Answer] | Reply:
    """Answers in the time that so many records take, where anybody waits for that long."""
    seconds = len(ids) / RATE
    if seconds > LIMIT:
        return Reply(silence=True)
    threading.Event().wait(seconds)
    return answers(ids)


def test_a_stream_gets_through_a_slow_api(stream: Stream) -> None:
    """A chunk of 30,000 records, which would take fifteen times as long as a call may, is done.

    The same call is not made again as it was, and what was slow once is not tried each time.
    """
    stream.make()
    stream.put(*(record(f"{number}-{number % 1_000}") for number in range(30_000)))
    stream.api.behaviour = slow
    done = stream.run(
        *("stream", "consume", "--until-idle", "0.3"),
        ASSAY_API__TIMEOUT=str(LIMIT),
        ASSAY_STREAM__LINGER="1",
    )
    assert (done.exit_code, done.summary["classified"]) == (0, 30_000), done.errors
    asked = [len(ids) for _, ids in stream.api.asked]
    assert asked[0] == max(asked) > 10 * RATE * LIMIT
    late = sum(each > RATE * LIMIT for each in asked)
    assert late <= 8
    assert done.errors.count("less at a time") == 1
    assert stream.balances()


def test_a_file_gets_through_an_api_that_takes_few_at_once(stream: Stream, system: System) -> None:
    """What is too large is refused once or twice, and not with each chunk again."""
    records = [line(f"{number}-{number % 1_000}", "SHOP") for number in range(20_000)]
    folder = system.folder / "in"
    folder.mkdir()
    (folder / "a.csv").write_bytes(b"\n".join([HEAD, *records]))
    stream.api.behaviour = lambda ids: Reply(413) if len(ids) > MOST else answers(ids)
    result, error = system.batch_here(
        f"{folder}/",
        system.contract("transactions").read_text("utf-8"),
        Policy(patience=30, alone=True),
        ASSAY_API__URL=stream.api.url,
        ASSAY_BATCH__CHUNK_RECORDS="4000",
    )
    assert error is None
    assert (result.tally.classified, result.tally.rejected) == (20_000, 0)
    refused = sum(len(ids) > MOST for _, ids in stream.api.asked)
    assert 1 <= refused <= 8
