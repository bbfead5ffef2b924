"""How services end: the first reason counts, and is said before anything is closed."""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from assay.domain.errors import Fatal
from assay_adapters.environment.settings import WrongSettings, load
from assay_streaming.bootstrap import BookSettings, KafkaSettings
from assay_streaming.consume import Result
from assay_streaming.ending import overridden, to_the_end, until_its_end


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


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with nothing but what every service must have."""
    for name in os.environ:
        if name.startswith("ASSAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("ASSAY_POSTGRES__URL", "postgresql://127.0.0.1:1/assay")
    return monkeypatch


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            {"TOPIC": "a", "DEAD_LETTER_TOPIC": "a"},
            "DEAD_LETTER_TOPIC: .* than ASSAY_STREAM__TOPIC",
        ),
        ({"TOPIC": "a", "EVENT_TOPIC": "a"}, "EVENT_TOPIC: .* than ASSAY_STREAM__TOPIC"),
        ({"EVENT_TOPIC": "failed-transactions"}, "EVENT_TOPIC: .* than .*DEAD_LETTER_TOPIC"),
        ({"TOPIC": "errors"}, "EVENT_TOPIC: .* than ASSAY_STREAM__TOPIC"),
        ({"PREDICTION_TOPIC": "errors"}, "PREDICTION_TOPIC: .* than ASSAY_STREAM__EVENT_TOPIC"),
        ({"LEDGER_TOPIC": "predictions"}, "LEDGER_TOPIC: .* than .*PREDICTION_TOPIC"),
    ],
)
def test_no_service_reads_what_it_writes(
    stream: pytest.MonkeyPatch, names: dict[str, str], said: str
) -> None:
    """Topics that are one, be it by a default, are refused."""
    for name, value in names.items():
        stream.setenv(f"ASSAY_STREAM__{name}", value)
    with pytest.raises(WrongSettings, match=said):
        load(KafkaSettings)


@pytest.mark.usefixtures("stream")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"topic": "failed-transactions"}, r"DEAD_LETTER_TOPIC: .* \(or --topic\)"),
        ({"topic": ""}, "--topic: must have 1 or more"),
        ({"retry_delay": float("inf")}, "--retry-delay: must be 2592000 or less"),
        ({"retry_delay": 1e12}, "--retry-delay: must be 2592000 or less"),
        ({"retry_delay": float("nan")}, "--retry-delay: must be"),
    ],
)
def test_options_are_held_to_the_rules_of_settings(given: dict[str, object], said: str) -> None:
    """The message names what is wrong, be it option or setting."""
    with pytest.raises(Fatal, match=said):
        overridden(load(BookSettings), given)


def test_options_go_before_settings(stream: pytest.MonkeyPatch) -> None:
    """What neither says stays as it is, and counts as not said."""
    stream.setenv("ASSAY_STREAM__GROUP", "mine")
    changed = overridden(load(BookSettings), {"topic": "cards", "start": None}).stream
    assert (changed.topic, changed.group, changed.start) == ("cards", "mine", "earliest")
    assert changed.model_fields_set == {"topic", "group"}
