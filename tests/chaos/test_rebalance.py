"""Partitions that move while consumers come, go, freeze and wake."""

import random
import signal
import threading
import time
from collections.abc import Callable

import pytest
from chaos.driver import Books, Record, Runner, Stream, load, prove, wait_for


@pytest.mark.parametrize(
    ("moves", "static"),
    [
        pytest.param(5, False, id="few"),
        pytest.param(25, False, id="many", marks=pytest.mark.chaos),
        pytest.param(25, True, id="static", marks=pytest.mark.chaos),
    ],
)
def test_a_storm_of_rebalances(
    stream: Stream, undisturbed: Callable[[list[Record]], Books], moves: int, *, static: bool
) -> None:
    """While records come, consumers start, stop and are killed; the books are as if none had."""
    records = load(max(6_000, moves * 1_200))
    feeding = threading.Thread(
        target=stream.topic.put, args=(records,), kwargs={"rate": len(records) / (moves * 1.0)}
    )
    feeding.start()
    chance = random.Random(moves)  # noqa: S311 - who comes and goes
    names = [f"member-{number}" for number in range(4)]
    members: dict[str, Runner] = {}
    for _ in range(moves):
        name = chance.choice(names)
        runner = members.pop(name, None)
        if runner is None:
            members[name] = stream.start(*(["--instance-id", name] if static else []))
        elif chance.random() < 0.3:
            runner.kill()
        else:
            runner.stop()
            runner.end()
        time.sleep(chance.uniform(0.3, 1.5))
    feeding.join()
    if not members:
        stream.start(*(["--instance-id", names[0]] if static else []))
    stream.finish()
    prove(stream, undisturbed(records))


@pytest.mark.parametrize(
    "times", [pytest.param(1, id="once"), pytest.param(12, id="often", marks=pytest.mark.chaos)]
)
def test_a_zombie_writes_nothing_twice(
    stream: Stream, undisturbed: Callable[[list[Record]], Books], times: int
) -> None:
    """Frozen beyond its session, it wakes to find that others went on: it gives way, and goes on.

    While it is frozen nobody waits for it, whatever it was doing.
    """
    records = load(times * 3_000 + 3_000)
    chance = random.Random(times)  # noqa: S311 - instants
    zombie, _ = stream.start(), stream.start()
    share = len(records) // (times + 1)
    for number in range(times):
        before = stream.read()
        stream.topic.put(records[number * share : (number + 1) * share])
        stream.wait_read(before + 1)
        time.sleep(chance.uniform(0, 0.3))
        zombie.signal(signal.SIGSTOP)
        stream.wait_done(seconds=30)
        zombie.signal(signal.SIGCONT)
    stream.topic.put(records[times * share :])
    stream.finish()
    prove(stream, undisturbed(records))


def test_a_zombie_in_the_middle_of_a_commit_holds_nobody_up(
    stream: Stream, undisturbed: Callable[[list[Record]], Books]
) -> None:
    """Frozen with a transaction open, it holds locks: it is cut off, and the owner goes on."""
    records = load(6_000)
    stream.topic.put(records)
    zombie = stream.start(ASSAY_POSTGRES__APPLICATION_NAME="zombie")
    in_mid_commit = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE application_name = 'zombie' AND state = 'idle in transaction'"
    )

    def is_caught() -> bool:
        zombie.signal(signal.SIGSTOP)
        caught = bool(stream.system.query(in_mid_commit))
        if not caught:
            zombie.signal(signal.SIGCONT)
            time.sleep(0.005)
        return caught

    stream.wait_read(1)
    wait_for(is_caught, why=stream.said)
    stream.start()
    stream.wait_done(seconds=60)
    zombie.signal(signal.SIGCONT)
    stream.finish()
    prove(stream, undisturbed(records))


def test_two_consumers_of_one_instance_id(
    stream: Stream, undisturbed: Callable[[list[Record]], Books]
) -> None:
    """The older one says why and ends with 78; the other goes on, nothing is lost or doubled."""
    records = load(6_000)
    stream.topic.put(records)
    older = stream.start("--instance-id", "one")
    stream.wait_read(1)
    stream.start("--instance-id", "one")
    assert older.end(seconds=30) == 78
    assert "group instance id" in older.log
    assert older.summary["status"] == "failed"
    stream.runners.remove(older)
    stream.finish()
    prove(stream, undisturbed(records))
