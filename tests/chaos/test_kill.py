"""kill -9 of consumers, at any instant: the next one goes on as if nothing had happened."""

import random
import time
from collections.abc import Callable

import pytest
from chaos.driver import Books, Record, Stream, load, prove


@pytest.mark.parametrize(
    "kills", [pytest.param(5, id="few"), pytest.param(30, id="many", marks=pytest.mark.chaos)]
)
def test_killed_at_random_instants(
    stream: Stream, undisturbed: Callable[[list[Record]], Books], kills: int
) -> None:
    """Rows, letters and ledger equal an undisturbed run's, wherever each process died."""
    records = load(max(6_000, kills * 1_200))
    stream.topic.put(records)
    chance = random.Random(kills)  # noqa: S311 - instants to kill at
    for _ in range(kills):
        before = stream.read()
        runner = stream.start("--instance-id", "only")
        stream.wait_read(before + 1)
        time.sleep(chance.uniform(0, 0.15))
        runner.kill()
    assert stream.read() < len(records)
    stream.start("--instance-id", "only")
    stream.finish()
    prove(stream, undisturbed(records))
