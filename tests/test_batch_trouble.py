"""A run over adapters in memory, where trouble comes at any point that is wanted."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from demo.samples import csv
from system import ROOT

from assay.domain.errors import Denied, Fatal, Replaced, Unavailable, Unreadable
from assay.domain.outcome import Outcome
from assay.domain.position import Position
from assay.domain.tally import Tally
from assay.memory.classifier import MemoryClassifier
from assay.memory.letters import MemoryLetters
from assay.memory.meter import MemoryMeter
from assay.memory.objects import MemoryObjects
from assay.memory.publisher import MemoryPublisher
from assay.memory.store import MemoryStore
from assay.pipeline.pace import Pace
from assay.ports.objects import Object
from assay_adapters.clock.system import SystemClock
from assay_adapters.compression.decompress import decompress
from assay_adapters.log.configure import configure
from assay_batch import bootstrap, command
from assay_batch.config import BatchConfig
from assay_batch.places import Places
from assay_batch.run import Services

IN = "memory://bucket/in/"


@dataclass
class Noted:
    """The notes of runs, by run: None until a run has ended."""

    runs: dict[str, str | None] = field(default_factory=dict[str, str | None])
    while_checking: Callable[[], object] = lambda: None

    def check(self) -> None:
        """Does what it is told."""
        self.while_checking()

    def start(self, run_id: str, source: str) -> None:  # noqa: ARG002 - as the protocol has it
        """Notes that it has begun."""
        self.runs[run_id] = None

    def end(self, run_id: str, status: str, summary: dict[str, Any]) -> None:  # noqa: ARG002 - same
        """Notes how it has ended, if it has begun."""
        if run_id in self.runs:
            self.runs[run_id] = status


@dataclass
class Rig:
    """What runs are composed of, and how they end."""

    capsys: pytest.CaptureFixture[str]
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    store: MemoryStore = field(default_factory=MemoryStore)
    classifier: MemoryClassifier = field(default_factory=MemoryClassifier)
    publisher: MemoryPublisher = field(default_factory=MemoryPublisher)
    noted: Noted = field(default_factory=Noted)

    @contextmanager
    def services(
        self, _: Places, settings: bootstrap.BatchSettings, *__: str
    ) -> Generator[Services]:
        """In memory."""
        with ThreadPoolExecutor(settings.batch.workers) as executor:
            yield Services(
                objects=self.objects,
                decompress=decompress,
                classifier=self.classifier,
                store=self.store,
                letters=MemoryLetters(self.store, "batch", lease=timedelta(), now=time.monotonic),
                publisher=self.publisher,
                runs=self.noted,
                executor=executor,
                clock=SystemClock(),
                meter=MemoryMeter(),
                pace=Pace(settings.batch.chunk_records),
                on_signal=bootstrap.on_signal,
            )

    def objects_for(self, _: Places, __: bootstrap.ReadSettings) -> MemoryObjects:
        """In memory as well."""
        return self.objects

    def run(self, *uris: str, dry: bool = False) -> tuple[int, dict[str, Any], str]:
        """Exit code, summary and what was said on standard error."""
        code = command.run(
            uris or [IN],
            ROOT / "contracts/transactions.odcs.yaml",
            dry=dry,
            limit=None,
            patience=900,
            reject_limit=0.5,
            archive=True,
            archive_to=None,
            errors=None,
        )
        out, err = self.capsys.readouterr()
        assert out.count("\n") == 1
        return code, json.loads(out), err

    def left(self) -> Sequence[str]:
        """The names of the files that are not archived."""
        return [
            uri.removeprefix(IN) for uri in sorted(self.objects.bodies) if "/archive/" not in uri
        ]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rig:
    """With three files, a tenth of whose records are broken."""
    rig = Rig(capsys)
    for number in range(3):
        rig.objects.write(f"{IN}{number}.csv", csv(50, seed=number, broken=0.1))
    settings = bootstrap.BatchSettings.model_construct(batch=BatchConfig(chunk_records=10))

    def read(_: object) -> bootstrap.BatchSettings:
        configure()
        return settings

    monkeypatch.setattr(bootstrap, "read", read)
    monkeypatch.setattr(bootstrap, "located", str)
    monkeypatch.setattr(bootstrap, "services", rig.services)
    monkeypatch.setattr(bootstrap, "objects_for", rig.objects_for)
    return rig


# ---------------------------------------------------------------- signals


def at(wanted: str, number: int) -> Callable[[str], None]:
    """Sends this process a signal, once, at a point of a memory adapter."""
    left = [number]

    def send(point: str) -> None:
        if point == wanted and left:
            os.kill(os.getpid(), left.pop())

    return send


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_wait(rig: Rig, number: int) -> None:
    """The summary comes last all the same, and the next run does everything."""
    asked: list[float] = []

    def away() -> None:
        asked.append(time.monotonic())
        if len(asked) == 4:
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        raise Unavailable("PostgreSQL is away")

    rig.noted.while_checking = away
    began = time.monotonic()
    code, summary, told = rig.run()
    assert (code, summary["status"]) == (75, "interrupted")
    assert "run the same again" in told
    assert time.monotonic() - began < 60
    rig.noted.while_checking = lambda: None
    assert rig.run()[0] == 0
    assert rig.left() == []


@pytest.mark.parametrize("dry", [True, False])
def test_a_signal_while_files_are_listed(rig: Rig, *, dry: bool) -> None:
    """Nothing has begun yet."""
    rig.objects.faults.always = at("list", signal.SIGTERM)
    code, summary, _ = rig.run(dry=dry)
    assert (code, summary["status"], summary["read"]) == (75, "interrupted", 0)
    assert rig.noted.runs == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("point", ["claim", "publish", "move"])
def test_a_signal_after_the_last_commit(rig: Rig, point: str, number: int) -> None:
    """The run is noted as ended, and the next one publishes and archives what is left."""
    for each in (rig.objects, rig.store, rig.publisher):
        each.faults.always = at(point, number)
    code, summary, _ = rig.run()
    assert (code, summary["status"], summary["read"]) == (75, "interrupted", 150)
    assert rig.noted.runs == {summary["run_id"]: "interrupted"}
    for each in (rig.objects, rig.store, rig.publisher):
        each.faults.always = None
    assert rig.run()[0] == 99
    assert rig.left() == []
    published = sum(each.letters.height for each in rig.publisher.published.values())
    assert published == summary["rejected"] == len(rig.store.letters) > 0


def test_a_signal_while_records_are_committed(rig: Rig) -> None:
    """What was read is committed and published; the next run does the rest."""
    rig.store.faults.always = at("commit", signal.SIGTERM)
    code, summary, _ = rig.run()
    assert (code, summary["status"]) == (75, "interrupted")
    assert rig.noted.runs == {summary["run_id"]: "interrupted"}
    assert 0 < summary["read"] == sum(each.tally.read for each in rig.store.ledger) < 150
    published = sum(each.letters.height for each in rig.publisher.published.values())
    assert published == summary["rejected"]
    rig.store.faults.always = None
    assert rig.run()[1]["read"] == 150 - summary["read"]
    assert rig.left() == []


def test_handlers_are_as_before(rig: Rig) -> None:
    """A run leaves none behind."""
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    rig.run()
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


# ---------------------------------------------------------------- files that fail alone


def denied(objects: MemoryObjects, names: Sequence[str]) -> MemoryObjects:
    """The same objects, of which some may not be read."""

    class Denying(MemoryObjects):
        def read(self, item: Object, start: int = 0) -> Iterator[bytes]:
            if item.uri.rpartition("/")[2] in names:
                raise Denied(f"{item.uri} may not be read")
            return super().read(item, start)

    return Denying(bodies=objects.bodies)


@pytest.mark.parametrize("dry", [True, False])
def test_a_file_that_may_not_be_read_stops_no_other(rig: Rig, *, dry: bool) -> None:
    """It is named, with 65; that none may be is a matter of rights, with 78."""
    rig.objects = denied(rig.objects, ["1.csv"])
    code, summary, told = rig.run(dry=dry)
    assert (code, summary["files"], summary["read"]) == (65, 2, 100)
    assert f"{IN}1.csv may not be read" in told
    assert rig.left() == (["0.csv", "1.csv", "2.csv"] if dry else ["1.csv"])
    rig.objects = denied(rig.objects, ["0.csv", "1.csv", "2.csv"])
    assert rig.run(dry=dry)[0] == 78


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([Fatal("DeleteObject is denied")], 78),
        ([Unreadable("it is cut short")], 65),
        ([Unreadable("it is cut short"), Fatal("DeleteObject is denied")], 78),
        ([Fatal("DeleteObject is denied"), Replaced("it is another one")], 75),
        ([Replaced("it is another one"), Unreadable("it is cut short")], 75),
    ],
)
def test_what_may_succeed_later_decides_before_settings_before_data(
    rig: Rig, errors: Sequence[Exception], code: int
) -> None:
    """Each file that fails alone is told; the others are archived."""
    rig.objects.faults.plan("move", *errors)
    ended, summary, told = rig.run()
    assert (ended, summary["status"], summary["files"]) == (code, "incomplete", 3)
    assert all(str(each) in told for each in errors)
    assert len(rig.left()) == len(errors)


# ---------------------------------------------------------------- another run on the same files


class Overtaken(MemoryStore):
    """Another run commits the same just before, of the files that it is told of."""

    files: Container[str] = ()
    to_the_end = True

    def commit(self, outcome: Outcome) -> Tally:
        """Raises `Fenced` of what the other run has begun with."""
        (of,) = outcome.ranges
        name = of.partition.rpartition("/")[2].partition("#")[0]
        if name in self.files and (outcome.source, of.partition) not in self.stands:
            super().commit(replace(outcome, run_id="the other"))
            if self.to_the_end:
                self.stands[outcome.source, of.partition] = Position(50, "finished")
        return super().commit(outcome)


@pytest.mark.parametrize("files", [["1.csv"], ["0.csv", "1.csv", "2.csv"]])
@pytest.mark.parametrize("to_the_end", [True, False])
def test_a_file_that_another_run_has_finished_is_done(
    rig: Rig, files: list[str], *, to_the_end: bool
) -> None:
    """It is no fault, and archived; what is not finished is, with 75."""
    rig.store = Overtaken()
    rig.store.files, rig.store.to_the_end = files, to_the_end
    code, summary, told = rig.run()
    assert summary["files"] == 3 - len(files)
    if to_the_end:
        assert (code, summary["status"]) == (0, "done")
        assert rig.left() == []
    else:
        assert (code, summary["status"]) == (75, "incomplete")
        assert told.count("another run is working on") == len(files)
        assert rig.left() == files
