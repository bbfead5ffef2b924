"""`assay-stream topics`: what it makes, and what it says where it cannot."""

import os
import secrets
import sys

import pytest

from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.topics import Topics
from assay_streaming.cli import main


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """An empty folder without `.env`, and no settings."""
    for name in os.environ:
        if name.startswith("ASSAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["assay-stream", "topics"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # Typer sets its own


def test_topics_are_made_that_are_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kafka_servers: str
) -> None:
    """All five, as the settings have them; a second time all are there and stay as they are."""
    prefix = f"test-{secrets.token_hex(8)}"
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", kafka_servers)
    names = ("topic", "dead_letter_topic", "event_topic", "prediction_topic", "ledger_topic")
    for name in names:
        monkeypatch.setenv(f"ASSAY_STREAM__{name.upper()}", f"{prefix}-{name}")
    monkeypatch.setenv("ASSAY_STREAM__PARTITIONS", "4")
    for said in ("made", "is there"):
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines == [f"{prefix}-{name}: {said}" for name in names]
    found = Topics(KafkaConfig(bootstrap_servers=kafka_servers)).named(f"{prefix}-topic")
    assert found.partitions == (0, 1, 2, 3)


def test_without_settings_the_variable_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 78."""
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 78
    assert "ASSAY_KAFKA__BOOTSTRAP_SERVERS is missing" in capsys.readouterr().err


def test_more_copies_than_brokers_are_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kafka_servers: str
) -> None:
    """Exit 78 and the variable, and nothing is made."""
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", kafka_servers)
    monkeypatch.setenv("ASSAY_STREAM__TOPIC", f"test-{secrets.token_hex(8)}")
    monkeypatch.setenv("ASSAY_STREAM__REPLICATION", "3")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 78
    assert "ASSAY_STREAM__REPLICATION" in capsys.readouterr().err
