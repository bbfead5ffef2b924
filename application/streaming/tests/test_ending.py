"""How services end: the first reason counts, and is said before anything is closed."""

import json
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from assay.domain.errors import Fatal
from assay_streaming.consume import Result
from assay_streaming.ending import to_the_end, until_its_end


@contextmanager
def interrupted_while_it_closes() -> Generator[None]:
    """What is open around a service, and a signal that comes while it is closed."""
    try:
        yield
    finally:
        raise KeyboardInterrupt


def test_a_signal_while_it_closes_hides_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code, status and reason stay those of the failure."""
    result = Result("run-1")

    def act() -> None:
        with interrupted_while_it_closes(), until_its_end(result):
            raise Fatal("the topic is gone")

    assert to_the_end(act, result) == Fatal.exit_code
    said = capsys.readouterr()
    assert "the topic is gone" in said.err
    assert json.loads(said.out)["status"] == "failed"


def test_a_signal_while_it_closes_hides_no_stop(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever was stopped has stopped."""
    result = Result("run-1")

    def act() -> None:
        with interrupted_while_it_closes(), until_its_end(result):
            pass

    assert to_the_end(act, result) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "stopped"
