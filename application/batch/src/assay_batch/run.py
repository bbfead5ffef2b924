"""One batch run: find the files, pump them through, publish the rejects, move what is finished."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar, cast

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay

from assay.contract.contract import Contract
from assay.domain.errors import (
    CONFIGURATION,
    DATA,
    DONE,
    NOTHING_TO_DO,
    TEMPORARY,
    AssayError,
    Denied,
    Fenced,
    Taken,
    Unavailable,
)
from assay.domain.outcome import Outcome
from assay.domain.position import Partition, Positions, Range
from assay.domain.reject import by_code
from assay.domain.tally import Tally
from assay.pipeline.files import Decompress, FileSource, decode
from assay.pipeline.pace import Pace
from assay.pipeline.pump import Policy, Pump
from assay.pipeline.relay import relay
from assay.pipeline.retry import FULL_JITTER
from assay.pipeline.watch import Watch
from assay.ports.classifier import Classifier
from assay.ports.clock import Clock
from assay.ports.letters import Letters
from assay.ports.lineage import Lineage, Untold
from assay.ports.meter import Meter
from assay.ports.objects import Object, Objects
from assay.ports.publisher import Publisher
from assay.ports.store import Store
from assay.ports.tracer import Tracer
from assay_batch.places import Places, find, told_apart

T = TypeVar("T")
_URGENT: Final = (TEMPORARY, CONFIGURATION, DATA)
_TOLD_FROM: Final = 3  # failed attempts; what passes within a second is nobody's concern
_log = structlog.get_logger(__name__)


class Progress(Protocol):
    """Shows people how far a run has come."""

    def begin(self, files: int, size: int) -> None:
        """So many files are to be done, of so many bytes together."""
        ...

    def committed(self, tally: Tally, read: int) -> None:
        """So many records in all are committed, and so many bytes of the files are read."""
        ...

    def away(self, dependency: str, error: Unavailable | None) -> None:
        """A dependency is away and is waited for; with None: it is back."""
        ...


class Runs(Protocol):
    """Keeps a note of each run for those who look at the tables later."""

    def check(self) -> None:
        """Raises `Fatal` where the tables are missing or of another version."""
        ...

    def start(self, run_id: str, source: str) -> None:
        """A run has begun."""
        ...

    def end(self, run_id: str, status: str, summary: dict[str, Any]) -> None:
        """It has ended like this."""
        ...


@dataclass(frozen=True)
class Services:
    """What a run is composed of.

    Attributes:
        pace: of this run.
        on_signal: within its block the first signal calls what it is given, the next one ends the
            process; it yields the signals that have come.
        tracer: None where nobody follows chunks.
        lineage: told of the run, where it has something to do.
    """

    objects: Objects
    decompress: Decompress
    classifier: Classifier
    store: Store
    letters: Letters
    publisher: Publisher
    runs: Runs
    executor: Executor
    clock: Clock
    meter: Meter
    pace: Pace
    on_signal: Callable[[Callable[[], None]], AbstractContextManager[list[int]]]
    tracer: Tracer | None = None
    lineage: Lineage = field(default_factory=Untold)


@dataclass(frozen=True)
class Request:
    """What is asked of a run.

    Attributes:
        run_id: its name.
        uris: files, folders or patterns, located as `places` are.
        places: where rejects and finished files go.
        contract: how the files are written.
        policy: patience, limits, window.
        limit: records that are read at most; None reads all.
        archive: whether finished files are moved.
    """

    run_id: str
    uris: Sequence[str]
    places: Places
    contract: Contract
    policy: Policy
    limit: int | None = None
    archive: bool = False

    @property
    def source(self) -> str:
        """Under which positions and ledger are kept: the contract's files."""
        return f"files/{self.contract.id}"


@dataclass
class Result:
    """What a run has done so far.

    Attributes:
        status: `done`, `nothing_to_do`, `incomplete` (some files failed), `interrupted`, `failed`.
        found: files that the URIs name, finished ones included.
        codes: how many records were rejected, by code and field.
        empty: files without a record.
        published: how many letters were published, by destination.
        problems: what went wrong, by file.
    """

    run_id: str
    status: str = "done"
    exit_code: int = DONE
    found: int = 0
    files: int = 0
    archived: int = 0
    codes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    empty: list[Partition] = field(default_factory=list[Partition])
    published: Counter[str] = field(default_factory=Counter[str])
    tally: Tally = field(default_factory=Tally)
    model_version: str | None = None
    problems: dict[str, AssayError] = field(default_factory=dict[str, AssayError])
    began: float = field(default_factory=time.monotonic)

    def note_ends(self, ranges: Iterable[Range]) -> None:
        """Counts the files that these ranges finish."""
        finished = [each for each in ranges if each.end == "finished"]
        self.files += len(finished)
        self.empty += [each.partition for each in finished if each.next == 0]

    def summary(self) -> dict[str, Any]:
        """The counts, as the last line of the run's output."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "files": self.files,
            "read": self.tally.read,
            "classified": self.tally.classified,
            "rejected": self.tally.rejected,
            "duplicate": self.tally.duplicate,
            "needs_review": self.tally.needs_review,
            "seconds": round(time.monotonic() - self.began, 3),
            "model_version": self.model_version,
        }


@dataclass(frozen=True)
class Survey:
    """The files that a run is asked for, and how far each is done.

    Attributes:
        found: all of them, finished ones included.
        stand: where those stand that were begun.
    """

    found: Sequence[Object]
    stand: Positions

    @property
    def waiting(self) -> list[Object]:
        """Those that are not finished."""
        return [each for each in self.found if not _is_finished(self.stand, each.partition)]


def survey(
    request: Request, objects: Objects, store: Store, runs: Runs, progress: Progress
) -> Survey:
    """Looks for the files of a run; what is away is waited for, as long as its patience says.

    Raises:
        AssayError: the files cannot be had, or the store cannot tell.
    """
    wait = partial(_patiently, request.policy.patience, progress)
    wait("store", runs.check)
    found = wait("source", partial(find, objects, request.uris, request.places))
    names = [each.partition for each in found]
    return Survey(found, wait("store", partial(store.positions, request.source, names)))


def run(request: Request, services: Services, result: Result, progress: Progress) -> None:
    """Does a run, and notes in `result` what it has done as it goes.

    Running the same again does what is left: finished files are passed over, one that was read in
    part is resumed, rejects that were not published are, files that were not moved are moved.

    Raises:
        AssayError: what stopped the run as a whole; files that failed alone stand in `result`.
        KeyboardInterrupt: a signal did; within the pump what was read is committed first.
    """
    wait = partial(_patiently, request.policy.patience, progress)
    store = services.store
    found = survey(request, services.objects, store, services.runs, progress)
    result.found = len(found.found)
    if waiting := found.waiting:
        wait("store", partial(services.runs.start, request.run_id, request.source))
        services.lineage.start([each.partition for each in waiting])
        progress.begin(len(waiting), sum(each.size for each in waiting))
        try:
            _pump(waiting, request, services, result, progress)
            if lost := [each for each, why in result.problems.items() if isinstance(why, Fenced)]:
                stand = wait("store", partial(store.positions, request.source, lost))
                for each in lost:
                    if _is_finished(stand, each):  # by whoever went first
                        del result.problems[each]
        except (AssayError, KeyboardInterrupt):
            with suppress(AssayError):  # what stopped the run is what is to be told
                _publish(request, services, result)
            raise
    else:
        result.status, result.exit_code = "nothing_to_do", NOTHING_TO_DO
    wait("publisher", partial(_publish, request, services, result))
    if request.archive:
        names = [each.partition for each in found.found]
        stand = wait("store", partial(store.positions, request.source, names))
        finished = [each for each in found.found if _is_finished(stand, each.partition)]
        wait("source", partial(_archive, finished, request.places, services.objects, result))
    if result.problems:
        result.status, result.exit_code = "incomplete", exit_code(result)


def exit_code(result: Result) -> int:
    """What a run ends with of whose files some have failed alone.

    What may succeed later is to be tried again, and what else has failed fails again then: so 75
    goes before 78, and that before 65. That no file at all may be read is a matter of rights.
    """
    errors = result.problems.values()
    if len(errors) == result.found and all(isinstance(each, Denied) for each in errors):
        return CONFIGURATION
    return min((each.exit_code for each in errors), key=_URGENT.index, default=DONE)


def _patiently(
    patience: float | None, progress: Progress, dependency: str, call: Callable[[], T]
) -> T:
    """The answer of a call that may find its dependency away for a while."""
    told = False

    def tell(state: RetryCallState) -> None:
        nonlocal told
        if not told and state.attempt_number >= _TOLD_FROM and state.outcome is not None:
            told = True
            progress.away(dependency, cast(Unavailable, state.outcome.exception()))

    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        wait=FULL_JITTER,
        stop=stop_after_delay(patience or 0),
        before_sleep=tell,
        reraise=True,
    )
    answer = retrying(call)
    if told:
        progress.away(dependency, None)
    return answer


def _is_finished(stand: Positions, partition: Partition) -> bool:
    return partition in stand and stand[partition].end == "finished"


def _pump(
    items: Sequence[Object],
    request: Request,
    services: Services,
    result: Result,
    progress: Progress,
) -> None:
    source = FileSource(
        services.objects,
        items,
        request.contract,
        services.decompress,
        chunk_records=lambda: services.pace.chunk_records,
        limit=request.limit,
    )

    def committed(outcome: Outcome, tally: Tally) -> None:
        result.tally += tally
        result.note_ends(outcome.ranges)
        result.codes.update(by_code(outcome.rejects))
        # The store alone sees those, and says how many.
        if conflicts := tally.rejected - outcome.rejects.height:
            result.codes["conflicting_duplicate", "transaction_id"] += conflicts
        if outcome.classified.height:
            result.model_version = outcome.classified["model_version"][-1]
        progress.committed(result.tally, source.bytes_read)
        services.lineage.committed(outcome, tally)

    pump = Pump(
        run_id=request.run_id,
        source_name=request.source,
        destination=f"{request.places.errors}{request.run_id}/",
        source=source,
        decode=partial(decode, contract=request.contract),
        classifier=services.classifier,
        store=services.store,
        executor=services.executor,
        clock=services.clock,
        watch=Watch(
            services.meter,
            services.clock,
            "batch",
            committed=committed,
            away=progress.away,
            paced=_paced,
            tracer=services.tracer,
        ),
        policy=request.policy,
        pace=services.pace,
    )

    def drain() -> None:
        pump.stop()
        _log.warning("stopping: what was read is committed; a second signal ends at once")

    with services.on_signal(drain) as signals:
        pump.run()
    result.problems |= source.failed | pump.report.given_up
    if signals:
        raise KeyboardInterrupt


def _paced(pace: Pace) -> None:
    _log.info(
        "less at a time" if pace.is_lowered else "as much at a time as settings allow",
        **pace.limits,
    )


def _publish(request: Request, services: Services, result: Result) -> None:
    """Publishes this run's rejects, and those that an earlier run has left behind."""
    for destination in services.letters.destinations(request.places.errors):
        for published in relay(services.letters, services.publisher, destination):
            result.published[destination] += published


def _move(item: Object, to: str, objects: Objects) -> None:
    """Moves a file there, or beside what has the name; nothing is replaced."""
    try:
        objects.move(item, to)
    except Taken:
        objects.move(item, told_apart(to, item))


def _archive(finished: Sequence[Object], places: Places, objects: Objects, result: Result) -> None:
    for item in finished:
        try:
            _move(item, places.archived(item), objects)
        except Unavailable:
            raise
        except AssayError as error:
            result.problems[item.partition] = error
        else:
            result.archived += 1
