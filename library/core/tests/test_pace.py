"""How much is taken on at a time: within its bounds always, near the goal soon, back in the end."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.pipeline.pace import GOAL, Calls, Pace, Size

MOST, LEAST = 50_000, 500

SEEN = st.one_of(
    st.tuples(
        st.just("answered"), st.integers(1, MOST), st.floats(0.001, 100), st.floats(0.001, 5)
    ),
    st.tuples(st.just("committed"), st.integers(0, MOST), st.floats(0.0, 100), st.floats(0.001, 5)),
    st.tuples(st.just("too_much"), st.integers(1, MOST), st.just(0.0), st.just(0.0)),
    st.tuples(st.just("away"), st.just(0), st.just(0.0), st.just(0.0)),
)


@given(st.lists(SEEN, max_size=300), st.integers(1, MOST), st.integers(1, 5), st.integers(1, 20))
def test_bounds_hold_whatever_is_seen(
    seen: list[tuple[str, int, float, float]], most: int, chunks: int, calls: int
) -> None:
    """Sizes and calls are 1 at least, and never more than the settings allow."""
    pace, at = Pace(most, chunks=chunks, calls=calls), 0.0
    for kind, records, seconds, later in seen:
        at += later
        match kind:
            case "answered":
                pace.looked(at, is_short=True)
                pace.answered(records, seconds, at)
            case "committed":
                pace.committed(records, seconds)
            case "too_much":
                pace.too_much(records)
            case _:
                pace.away()
        assert 1 <= pace.chunk_records <= most
        assert 1 <= pace.call_records <= most
        assert 1 <= pace.calls <= calls
        for left in (1, LEAST, MOST):
            assert 1 <= pace.share(left, MOST) <= min(left, pace.call_records)


def test_it_begins_as_quick_as_settings_allow() -> None:
    """A chunk is one call, and so many calls are under way as chunks are in the window."""
    pace = Pace(calls=7)
    assert (pace.chunk_records, pace.calls, pace.share(MOST, MOST)) == (MOST, 3, MOST)
    for _ in range(100):
        pace.answered(MOST, 0.4, 0.0)
        pace.committed(MOST, 0.9)
    assert (pace.chunk_records, pace.calls, pace.share(MOST, MOST)) == (MOST, 3, MOST)
    assert not pace.is_lowered


def run(size: Size, takes: Callable[[int], float], times: int) -> list[int]:
    """The sizes in a row, where each is used in full."""
    sizes: list[int] = []
    for _ in range(times):
        sizes.append(size.now)
        size.took(size.now, takes(size.now))
    return sizes


@given(st.floats(200, 9_000), st.floats(0, 0.3), st.randoms(use_true_random=False))
def test_it_settles_near_the_goal(rate: float, noise: float, random: Random) -> None:
    """A classifier of so many records/s gets calls of a few seconds, of 500 records or more.

    Sizes do not go up and down then: nine calls of ten are of the size of the one before.
    """

    def takes(records: int) -> float:
        return records / rate * random.uniform(1 - noise, 1 + noise)

    size = Size(MOST, GOAL, LEAST)
    run(size, takes, 200)  # a change that noise made seem wrong is borne for a while
    settled = run(size, takes, 200)
    good = [LEAST <= each <= max(GOAL * rate * 1.25, LEAST) for each in settled]
    assert sum(good) >= 190
    assert sum(settled) / len(settled) >= min(rate * GOAL / 4, MOST)
    changes = sum(one != other for one, other in pairwise(settled))
    assert changes <= 20


def test_a_slow_one_is_soon_asked_for_less() -> None:
    """From calls of 50 s to such of three seconds in two steps."""
    assert run(Size(MOST, GOAL, LEAST), lambda records: records / 1_000, 5) == [
        50_000,
        6_250,
        3_125,
        3_125,
        3_125,
    ]


@pytest.mark.parametrize("seconds", [6.0, 20.0])
def test_what_takes_the_same_time_for_few_is_asked_for_many(seconds: float) -> None:
    """Smaller calls would only be slower; now and then it is tried again."""
    sizes = run(Size(MOST, GOAL, LEAST), lambda _: seconds, 400)
    assert sum(each == MOST for each in sizes) > 380


def test_what_was_lowered_for_small_calls_is_raised_for_large_ones() -> None:
    """In quiet hours a slow answer says nothing of how many records are too many."""
    size = Size(MOST, GOAL, LEAST)
    for _ in range(50):
        size.took(700, 6.0)
    assert size.now <= 1_400
    assert run(size, lambda _: 6.0, 100)[-1] > MOST / 4


def test_it_comes_back() -> None:
    """A slow phase, or one without an answer, leaves nothing behind."""
    size = Size(MOST, GOAL, LEAST)
    run(size, lambda records: records / 200, 50)
    assert size.now < 1_500
    assert run(size, lambda records: records / 250_000, 20)[-1] == MOST
    for _ in range(20):
        size.failed(size.now)
    assert size.now == 1
    assert run(size, lambda records: records / 250_000, 400)[-1] == MOST


def test_what_was_under_way_lowers_it_once() -> None:
    """Three calls that time out together are one sign, not three."""
    size = Size(MOST, GOAL, LEAST)
    for _ in range(3):
        size.failed(MOST)
    assert size.now == MOST / 2
    for _ in range(3):
        size.took(MOST, 40.0)
    assert size.now == MOST / 2


@pytest.mark.parametrize("most", [100, 1_000, 30_000])
def test_what_is_too_large_is_seldom_tried(most: int) -> None:
    """A classifier that takes so many refuses few calls, and gets them half full at least."""
    size, refused, sizes = Size(MOST, GOAL, LEAST), 0, list[int]()
    for _ in range(600):
        sizes.append(size.now)
        if size.now > most:
            refused += 1
            size.failed(size.now)
        else:
            size.took(size.now, 0.01)
    assert refused < 60
    taken = [each for each in sizes[100:] if each <= most]
    assert sum(taken) / len(taken) >= most / 2


def served(calls: Calls, machines: int, answers: int, *, at: float = 0.0) -> float:
    """Answers calls of 100 records, each of which takes one of these machines a second."""
    for _ in range(answers):
        calls.looked(at, is_short=True)
        at += 1 / min(calls.now, machines)
        calls.looked(at, is_short=True)
        calls.answered(100, at)
    return at


@pytest.mark.parametrize("machines", [1, 3, 6, 40])
def test_more_calls_are_made_where_they_pay(machines: int) -> None:
    """As many as there are machines, one more now and then; what is usual is never given up."""
    calls = Calls(3, 15)
    at = served(calls, machines, 3_000)
    best = min(max(machines, 3), 15)
    assert best <= calls.now <= best + 1
    seen = set[int]()
    for _ in range(200):
        at = served(calls, machines, 10, at=at)
        seen.add(calls.now)
    assert seen <= {best, best + 1}


def test_fewer_calls_are_made_where_machines_have_gone() -> None:
    """Half of the rate with as many calls: the others only wait."""
    calls = Calls(3, 15)
    at = served(calls, 12, 3_000)
    assert calls.now >= 12
    served(calls, 4, 2_000, at=at)
    assert calls.now <= 7


def test_calls_that_something_else_waits_for_are_not_raised() -> None:
    """Where the store is the slowest, more answers sooner help nobody."""
    calls = Calls(3, 15)
    for second in range(2_000):
        calls.looked(float(second), is_short=second % 3 == 0)
        calls.answered(100, float(second))
    assert calls.now == 3


def test_failures_halve_the_calls_and_answers_bring_them_back() -> None:
    """An outage costs as many answers as calls were given up."""
    calls = Calls(3, 15)
    at = served(calls, 12, 3_000)
    before = calls.now
    for _ in range(6):
        calls.failed()
    assert calls.now == 1
    served(calls, 12, 20, at=at)
    assert calls.now >= before - 1


def test_a_chunk_is_shared_among_more_calls_than_chunks() -> None:
    """In equal parts; where there are no more calls than chunks, it is asked about whole."""
    pace = Pace(chunks=3, calls=9)
    at = 0.0
    for _ in range(5_000):
        at += 1 / pace.calls
        pace.looked(at, is_short=True)
        pace.answered(1_000, 1.0, at)
    assert pace.calls == 9
    assert pace.share(MOST, MOST) == 16_667
    assert pace.share(33_333, MOST) == 16_667
    assert pace.share(700, 700) == 350
