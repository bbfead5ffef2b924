"""The machine's clock."""

import time
from concurrent.futures import Future

import pytest

from assay_adapters.clock.system import SystemClock


def test_it_does_not_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens to the wall clock."""
    clock = SystemClock()
    before = clock.now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now() >= before


def test_it_waits_as_long_as_it_is_told() -> None:
    """With nothing to wait for, and for what never comes."""
    clock = SystemClock()
    for futures in ([], [Future[int]()]):
        before = clock.now()
        clock.wait(futures, 0.05)
        assert 0.05 <= clock.now() - before < 5


def test_it_wakes_when_something_is_done() -> None:
    """One of several is enough."""
    clock = SystemClock()
    done, never = Future[int](), Future[int]()
    done.set_result(1)
    before = clock.now()
    clock.wait([never, done], 60)
    assert clock.now() - before < 30
