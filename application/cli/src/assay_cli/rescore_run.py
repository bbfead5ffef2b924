"""What `rescore` does between its options and its exit code."""

import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from assay.domain.dependencies import OF_TABLE
from assay.domain.errors import DONE, NOTHING_TO_DO, TEMPORARY, AssayError, Unavailable
from assay.domain.outcome import Outcome
from assay.domain.position import Partition, Positions
from assay.domain.reject import by_code
from assay.domain.rescore import source_of
from assay.domain.tally import Tally
from assay.domain.wording import counted
from assay.pipeline.pump import Policy, Pump
from assay.pipeline.rescore import Request, pump_for
from assay.pipeline.rescore import rescore as pumped
from assay.ports.lineage import Lineage
from assay_cli import bootstrap
from assay_cli.bootstrap.rescore import Rescoring, rescoring
from assay_cli.ending import to_the_end
from assay_cli.output import add, plain, say_away, table

_TABLE: Final = "transactions"
_ASKED: Final = 1.0  # seconds until the model API is asked again which version it serves
_EVERY: Final = 30.0  # seconds between two lines where there is no terminal


class NotServed(AssayError):
    """The model API answers, with another version than is wanted."""

    exit_code = TEMPORARY


@dataclass(frozen=True)
class Options:
    """What a user has asked for; see `assay_cli.rescore`.

    Attributes:
        wanted: the version that is to be served, with corrections or without; None: any.
        patience: in seconds.
    """

    wanted: str | None
    again: bool
    dry: bool
    limit: int | None
    rate: float | None
    reject_limit: float
    patience: float


@dataclass
class Result:
    """What a rescore has done so far.

    Attributes:
        status: `done`, `nothing_to_do`, `interrupted`, `failed`, `dry_run`.
        transactions: how many were to be predicted when it began.
        codes: how many were rejected, by code and field.
    """

    run_id: str
    status: str = "done"
    exit_code: int = DONE
    transactions: int = 0
    tally: Tally = field(default_factory=Tally)
    codes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    model: tuple[str, str] | None = None
    began: float = field(default_factory=time.monotonic)

    def summary(self) -> dict[str, Any]:
        """The counts, as the last line of the run's output."""
        name, version = self.model or (None, None)
        return {
            "run_id": self.run_id,
            "status": self.status,
            "transactions": self.transactions,
            "read": self.tally.read,
            "classified": self.tally.classified,
            "rejected": self.tally.rejected,
            "duplicate": self.tally.duplicate,
            "needs_review": self.tally.needs_review,
            "left": self.left,
            "seconds": round(time.monotonic() - self.began, 3),
            "model_name": name,
            "model_version": version,
        }

    @property
    def left(self) -> int:
        """How many are still to be predicted, of those that were when it began."""
        return max(0, self.transactions - self.tally.read)


def run(**options: Any) -> int:
    """Does a rescore as `Options` say.

    Returns:
        The exit code.
    """
    result = Result(str(uuid4()))
    console = Console(stderr=True, highlight=False)
    return to_the_end(partial(_rescore, Options(**options), result, console), result)


def _rescore(options: Options, result: Result, console: Console) -> None:
    with rescoring(result.run_id) as tools, _shown(console) as progress:
        name, version = result.model = _serving(tools, options, progress)
        source = source_of(name, version)
        passes = tools.passes(source)
        partition = _pass(passes)
        result.transactions = tools.to_come(passes.get(partition))
        if options.again and not result.transactions and partition in passes:
            partition = _following(partition)
            result.transactions = tools.to_come(None)
        if not result.transactions:
            result.status, result.exit_code = "nothing_to_do", NOTHING_TO_DO
            if not options.dry:
                tools.follow()  # the run before may have been killed before it did
        elif options.dry:
            result.status = "dry_run"
        else:
            services = tools.services(partition, limit=options.limit, rate=options.rate)
            policy = Policy(patience=options.patience, reject_limit=options.reject_limit)
            committed = partial(_committed, result, progress, tools.lineage)
            watch = tools.watch(committed=committed, away=progress.away)
            pump = pump_for(Request(result.run_id, name, version, policy), services, watch)
            tools.start(result.run_id, source)
            tools.lineage.start()
            progress.begin(result.transactions)
            _pump(pump, tools, options, result)
    _show(result, console)


def _pump(pump: Pump, tools: Rescoring, options: Options, result: Result) -> None:
    try:
        _stoppable(pump, options, result)
        tools.follow()
        tools.lineage.end(DONE)
    except AssayError:
        result.status = "failed"
        raise
    except KeyboardInterrupt:
        result.status = "interrupted"
        raise
    finally:
        with suppress(AssayError):  # the books are kept elsewhere
            tools.end(result.run_id, result.status, result.summary())


def _stoppable(pump: Pump, options: Options, result: Result) -> None:
    with bootstrap.on_signal(pump.stop) as signals:
        pumped(pump)
    enough = options.limit is not None and result.tally.read >= options.limit
    if signals and result.left and not enough:
        raise KeyboardInterrupt


def _serving(tools: Rescoring, options: Options, progress: "_Shown") -> tuple[str, str]:
    """Name and version of the model that the API serves, which is waited for.

    Raises:
        Unavailable: it is away for too long.
        NotServed: it serves another version than is wanted, for too long.
    """
    until = time.monotonic() + options.patience
    told = False
    while True:
        why: AssayError
        try:
            name, version = tools.model()
            # Corrections make versions of their own, `7+1f0c9a3e`.
            if options.wanted in {None, version, version.partition("+")[0]}:
                return name, version
            why = NotServed(
                f"it serves version {version}, and {options.wanted} is wanted: `assay model list`"
                " says which there are, and `assay model promote` has one served"
            )
        except Unavailable as error:
            why = error
        if time.monotonic() >= until:
            raise why
        if not told:
            told = True
            progress.away("classifier", why)
        time.sleep(min(_ASKED, max(0.0, until - time.monotonic())))


def _pass(passes: Positions) -> Partition:
    """The last time that the table is gone through under a source, or the first."""
    return max(passes, key=_number, default=_TABLE)


def _following(partition: Partition) -> Partition:
    return f"{_TABLE}#{_number(partition) + 1}"


def _number(partition: Partition) -> int:
    return int(partition.partition("#")[2] or 1)


def _committed(
    result: Result, progress: "_Shown", lineage: Lineage, outcome: Outcome, tally: Tally
) -> None:
    lineage.committed(outcome, tally)
    result.tally += tally
    result.codes.update(by_code(outcome.rejects))
    progress.at(result.tally.read)


# ---------------------------------------------------------------- what is shown


class _Shown:
    """How far a rescore has come: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, counts="", visible=False)
        self._total = 0
        self._began = self._told = time.monotonic()

    def begin(self, transactions: int) -> None:
        """So many are to be predicted."""
        self._total, self._began = transactions, time.monotonic()
        self._progress.update(self._task, total=transactions, visible=True)

    def at(self, done: int) -> None:
        """So many have been."""
        now = time.monotonic()
        rate = done / max(now - self._began, 1e-6)
        counts = f"{done:,} of {self._total:,} transactions, {rate:,.0f}/s"
        self._progress.update(self._task, completed=done, counts=counts)
        if not self._progress.console.is_terminal and now - self._told >= _EVERY:
            self._told = now
            left = max(0, self._total - done) / max(rate, 1e-6)
            self._progress.console.print(f"{counts}, {left:,.0f} s left", soft_wrap=True)

    def away(self, dependency: str, error: AssayError | None) -> None:
        """A dependency is away and is waited for; with None: it is back."""
        say_away(self._progress.console, OF_TABLE[dependency], error)


@contextmanager
def _shown(console: Console) -> Generator[_Shown]:
    columns = (
        BarColumn(bar_width=None),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(compact=True),
    )
    shown = Progress(
        *columns, console=console, expand=True, transient=True, disable=not console.is_terminal
    )
    with shown as progress:
        yield _Shown(progress)


def _show(result: Result, console: Console) -> None:
    """Says to people what has been predicted."""
    say = partial(console.print, soft_wrap=not console.is_terminal)
    name, version = map(plain, result.model or ("", ""))
    tally = result.tally
    if result.status == "nothing_to_do":
        say(f"every transaction has been read with {name} {version} already")
        return
    if result.status == "dry_run":
        number = counted(result.transactions, "transaction is", "transactions are")
        say(f"{number} to be predicted with {name} {version}; nothing was written")
        return
    say(
        f"{tally.read:,} read = {tally.classified:,} classified + {tally.duplicate:,} duplicate"
        f" + {tally.rejected:,} rejected, with {name} {version}"
    )
    if result.codes:
        codes = table("transactions", "code", title="Rejected", numbers=("transactions",))
        for (code, _), count in result.codes.most_common():
            add(codes, count, code)
        console.print(codes)
        say("They keep the predictions that they have; `assay rescore --again` asks about all")
    if result.left:
        say(f"{result.left:,} are left: run again")
