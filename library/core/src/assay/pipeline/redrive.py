"""A redrive: dead letters through the same pump once more."""

from collections.abc import Generator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from assay.domain.choice import Filter
from assay.domain.errors import AssayError
from assay.domain.reject import REDRIVE
from assay.domain.tally import Tally
from assay.pipeline.letters import LetterSource, Reading, decode
from assay.pipeline.pump import Policy, Pump
from assay.pipeline.watch import Watch
from assay.ports.classifier import Classifier
from assay.ports.clock import Clock
from assay.ports.selection import Selection
from assay.ports.store import Store

_NOWHERE: Final = ""  # A letter that fails again goes where it went before.


@dataclass(frozen=True)
class Services:
    """What a redrive is composed of; the selection is the run's own."""

    selection: Selection
    store: Store
    classifier: Classifier
    executor: Executor
    clock: Clock


@dataclass(frozen=True)
class Request:
    """What is asked of a redrive.

    Attributes:
        run_id: its name.
        chosen: which of the open letters.
        reading: how their records are read.
        policy: patience and window; a redrive has no reject limit, whatever it says.
        limit: letters that are claimed at most; None: all.
        rate: records that are read in a second, at most; None: as many as can be.
        chunk_records: records of a chunk, at most.
    """

    run_id: str
    chosen: Filter
    reading: Reading
    policy: Policy = field(default_factory=Policy)
    limit: int | None = None
    rate: float | None = None
    chunk_records: int = 10_000


@dataclass(frozen=True)
class Redrive:
    """Letters that are claimed, and the pump that tries them again.

    Attributes:
        letters: how many were claimed.
    """

    letters: int
    pump: Pump

    def stop(self) -> None:
        """Reads nothing more, commits what was read, then `run` ends. Safe in a signal handler."""
        self.pump.stop()

    def run(self) -> Tally:
        """Tries each letter once: it is closed, or open with one attempt more.

        Raises:
            Fenced: the claim ran out, and others may have taken what is left.
            Unavailable: a dependency was away for longer than the policy's patience.
            Fatal: nothing that the pump could do helps.
        """
        report = self.pump.run()
        for error in report.given_up.values():
            raise error
        return report.tally


@contextmanager
def redrive(request: Request, services: Services, watch: Watch) -> Generator[Redrive]:
    """Claims letters for as long as the block lasts, and composes what tries them again.

    Killed between any two steps, it doubles nothing: what is committed stays, and the letters that
    are left can be taken again once the claim's lease has run out.

    Raises:
        Unavailable: where the letters are is away.
        Fatal: the request says nothing of how some of them are written; nothing is claimed then.
    """
    selection = services.selection
    try:
        # In here, since a signal may come as soon as they are claimed.
        letters = selection.claim(
            request.chosen | {"states": ("open",)}, request.limit, request.reading.require
        )
        yield Redrive(letters, _pump(request, services, watch, letters))
    finally:
        # A lease that cannot be given back runs out.
        with suppress(AssayError):
            selection.free()


def _pump(request: Request, services: Services, watch: Watch, letters: int) -> Pump:
    return Pump(
        run_id=request.run_id,
        source_name=REDRIVE,
        destination=_NOWHERE,
        source=LetterSource(
            services.selection,
            request.run_id,
            letters,
            services.clock,
            chunk_records=request.chunk_records,
            rate=request.rate,
        ),
        decode=partial(decode, reading=request.reading),
        classifier=services.classifier,
        store=services.store,
        executor=services.executor,
        clock=services.clock,
        watch=watch,
        policy=replace(request.policy, reject_limit=1, alone=True),
    )
