"""How `accept-gap` ends, whoever else is at the same books."""

import json
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from assay.domain.errors import Unavailable
from assay.domain.position import Partition, Position, Positions
from assay.memory.store import MemoryStore
from assay_adapters.environment.settings import load
from assay_streaming import bootstrap
from assay_streaming.bootstrap import Books
from assay_streaming.consumer import accept_gap
from assay_streaming.gaps import find


@contextmanager
def noted(kind: str, facts: Mapping[str, Any]) -> Generator[None]:
    del kind, facts
    yield


def retire(source: str, gone: Collection[Partition], begins: Positions, run_id: str) -> None:
    raise AssertionError((source, gone, begins, run_id))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """Stands at 3 of a topic that begins at 5."""
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("ASSAY_POSTGRES__URL", "postgresql://127.0.0.1:1/assay")
    store = MemoryStore()
    gaps = find({"0": Position(3)}, {"0": (5, 9)}, None)
    store.stands["kafka/cards", "0"] = Position(3)

    @contextmanager
    def books(_: bootstrap.BookSettings, topic: str) -> Generator[Books]:
        assert topic == "cards"
        yield Books(gaps, store, retire, noted)

    monkeypatch.setattr(bootstrap, "read", load)
    monkeypatch.setattr(bootstrap, "books", books)
    return store


def last_line(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    said = capsys.readouterr()
    return json.loads(said.out.splitlines()[-1]), said.err


def test_who_comes_second_says_so(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Of which topic and partition, and with a summary as the last line."""
    assert accept_gap(topic="cards", group=None, dry=False) == 0
    assert last_line(capsys)[0]["status"] == "done"
    assert accept_gap(topic="cards", group=None, dry=False) == 75
    summary, said = last_line(capsys)
    assert summary["status"] == "failed"
    assert "the books of kafka/cards have gone on meanwhile, partition 0:" in said
    assert store.stands["kafka/cards", "0"].next == 5


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("away"), "failed"), (KeyboardInterrupt(), "stopped")]
)
def test_what_ends_early_is_to_be_done_again(
    store: MemoryStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: str,
) -> None:
    """Exit code and summary do not say that anything was accepted."""

    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(store, "commit", fail)
    assert accept_gap(topic="cards", group=None, dry=False) == 75
    assert last_line(capsys)[0]["status"] == status
