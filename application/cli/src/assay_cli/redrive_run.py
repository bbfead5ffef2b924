"""What `redrive` does between its options and its exit code."""

import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.domain.choice import Filter
from assay.domain.dependencies import OF_LETTERS
from assay.domain.errors import (
    DONE,
    NOTHING_TO_DO,
    TEMPORARY,
    AssayError,
    Fatal,
    Unavailable,
)
from assay.domain.outcome import Outcome
from assay.domain.position import TOPICS
from assay.domain.reject import by_code
from assay.domain.rules import COLUMNS, SIGN, fault_in
from assay.domain.tally import Tally
from assay.domain.transaction import split
from assay.domain.wording import counted
from assay.pipeline.letters import Reading, chunk_of, decode
from assay.pipeline.pump import Policy
from assay.pipeline.redrive import Redrive, Request
from assay.pipeline.redrive import redrive as claimed
from assay_cli import bootstrap
from assay_cli.ending import to_the_end
from assay_cli.letter_filter import require_known
from assay_cli.output import add, say_away, table

_WRITTEN: Final = {
    "timestamp": ", as 2024-05-31T18:03:09Z or 2024-05-31 20:03:09.5+02:00",
    "amount": ", as 1234.50",
}
"""How values are written that are more than words."""

if TYPE_CHECKING:
    from assay_cli.bootstrap import DeadLetters


def run(
    chosen: Filter,
    *,
    contracts: Sequence[Path],
    edits: Sequence[str],
    dry: bool,
    limit: int | None,
    rate: float | None,
    max_attempts: int,
    patience: float,
    by: str,
) -> int:
    """Does a redrive as the options of `assay_cli.redrive` say, `patience` being seconds.

    Returns:
        The exit code.

    Raises:
        Fatal: a contract cannot be used, or a column cannot be edited like this.
    """
    request = Request(
        run_id=str(uuid4()),
        chosen={**chosen, "states": ("open",), "max_attempts": max_attempts},
        reading=Reading(
            _contracts(contracts, dry=dry),
            _edits(edits),
            bootstrap.whole_record,
            bootstrap.unframe,
        ),
        policy=Policy(patience=patience),
        limit=limit,
        rate=rate,
    )
    result = Result(request.run_id, dry)
    console = Console(stderr=True, highlight=False)
    if dry:
        act = partial(_foresee, request, result, console)
    else:
        act = partial(_redrive, request, by, result, console)
    return to_the_end(act, result)


@dataclass
class Result:
    """What a redrive has done so far.

    Attributes:
        status: `done`, `nothing_to_do`, `held` (another redrive has these letters), `interrupted`,
            `failed`, `dry_run`.
        dry: whether nothing is claimed or written, however it ends.
        letters: how many were claimed.
        left_out: how many were not, since they have been tried too often.
        codes: how many were rejected again, by code and field.
    """

    run_id: str
    dry: bool
    status: str = "done"
    exit_code: int = DONE
    letters: int = 0
    left_out: int = 0
    tally: Tally = field(default_factory=Tally)
    codes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    model_version: str | None = None
    began: float = field(default_factory=time.monotonic)

    def summary(self) -> dict[str, Any]:
        """The counts, as the last line of the run's output."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "letters": self.letters,
            "left_out": self.left_out,
            "read": self.tally.read,
            "classified": self.tally.classified,
            "rejected": self.tally.rejected,
            "duplicate": self.tally.duplicate,
            "closed": 0 if self.dry else self.closed,
            "needs_review": self.tally.needs_review,
            "seconds": round(time.monotonic() - self.began, 3),
            "model_version": self.model_version,
        }

    @property
    def closed(self) -> int:
        """How many letters are open no longer."""
        return self.tally.classified + self.tally.duplicate


def _redrive(request: Request, by: str, result: Result, console: Console) -> None:
    with bootstrap.redriving(request.run_id, by=by, edits=request.reading.edits) as tools:
        require_known(request.chosen, tools.letters)
        if _number(tools.letters, {**request.chosen, "source_prefix": TOPICS, "cut": True}):
            bootstrap.require_kafka()
        result.left_out = _left_out(tools.letters, request)
        with _shown(console) as progress:
            watch = tools.watch(committed=partial(_committed, result, progress), away=progress.away)
            with claimed(request, tools.services, watch) as redrive:
                result.letters = redrive.letters
                if redrive.letters:
                    try:
                        tools.start()
                        progress.begin(redrive.letters)
                        _run(redrive)
                    except AssayError:
                        result.status = "failed"
                        raise
                    except KeyboardInterrupt:
                        result.status = "interrupted"
                        raise
                    finally:
                        with suppress(AssayError):  # the books are kept elsewhere
                            tools.end(result.status, result.summary())
        if not result.letters:
            held = _number(tools.letters, {**request.chosen, "held": True})
            result.status, result.exit_code = "nothing_to_do", NOTHING_TO_DO
            if held:
                result.status, result.exit_code = "held", TEMPORARY
            _say_nothing(held, console)
    _show(result, console)


def _run(redrive: Redrive) -> None:
    with bootstrap.on_signal(redrive.stop) as signals:
        tally = redrive.run()
    if signals and tally.read < redrive.letters:
        raise KeyboardInterrupt


def _committed(result: Result, progress: "_Bar", outcome: Outcome, tally: Tally) -> None:
    result.tally += tally
    result.codes.update(by_code(outcome.rejects))
    # The store alone sees those, and says how many.
    if conflicts := tally.rejected - outcome.rejects.height:
        result.codes["conflicting_duplicate", "transaction_id"] += conflicts
    if outcome.classified.height:
        result.model_version = outcome.classified["model_version"][-1]
    progress.at(result.tally.read)


def _foresee(request: Request, result: Result, console: Console) -> None:
    """Reads and validates what a redrive would claim; the model and the tables decide the rest."""
    chosen: Filter = {**request.chosen, "held": False}
    with bootstrap.dead_letters() as letters:
        require_known(request.chosen, letters)
        result.left_out = _left_out(letters, request)
        for page in letters.pages(chosen, request.limit):
            sources = page["source"].value_counts()
            request.reading.require(dict(sources.iter_rows()))
            chunk = chunk_of(page, request.run_id, result.letters, finished=False)
            candidates, undecodable = decode(chunk, request.reading)
            valid, invalid = split(candidates)
            rejected = undecodable.height + invalid.height
            result.letters += page.height
            result.tally += Tally(page.height, valid.height, rejected)
            result.codes.update(by_code(undecodable))
            result.codes.update(by_code(invalid))
        if not result.letters:
            _say_nothing(_number(letters, {**request.chosen, "held": True}), console)
    result.status = "dry_run"
    _show(result, console)


def _number(letters: "DeadLetters", chosen: Filter) -> int:
    return sum(each["letters"] for each in letters.counts(chosen))


def _left_out(letters: "DeadLetters", request: Request) -> int:
    """How many letters are meant that have been tried too often."""
    every: Filter = {**request.chosen, "max_attempts": None}
    return _number(letters, every) - _number(letters, request.chosen)


# ---------------------------------------------------------------- what is shown


class _Bar:
    """How far a redrive has come, on a terminal; what is waited for, everywhere."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("letters", total=None)

    def begin(self, letters: int) -> None:
        """So many are to be tried."""
        self._progress.update(self._task, total=letters)

    def at(self, tried: int) -> None:
        """So many have been."""
        self._progress.update(self._task, completed=tried)

    def away(self, dependency: str, error: Unavailable | None) -> None:
        """A dependency is away and is waited for; with None: it is back."""
        say_away(self._progress.console, OF_LETTERS[dependency], error)


@contextmanager
def _shown(console: Console) -> Generator[_Bar]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
    )
    shown = Progress(
        *columns, console=console, expand=True, transient=True, disable=not console.is_terminal
    )
    with shown as progress:
        yield _Bar(progress)


def _show(result: Result, console: Console) -> None:
    """Says to people what has become of the letters."""
    tally, dry = result.tally, result.dry
    if result.codes:
        title = "Would be rejected again" if dry else "Rejected again"
        codes = table("letters", "code", "field", title=title, numbers=("letters",))
        for (code, field_), count in result.codes.most_common():
            add(codes, count, code, field_)
        console.print(codes)
        console.print()
    if dry and tally.read:
        console.print(
            f"{tally.classified:,} of {counted(tally.read, 'letter', 'letters')}"
            f" {'is' if tally.classified == 1 else 'are'} valid now; the model, and what is known"
            " already, decide the rest. Nothing was claimed or written."
        )
    elif tally.read:
        console.print(
            f"{tally.read:,} tried = {tally.classified:,} classified + {tally.duplicate:,}"
            f" duplicate + {tally.rejected:,} rejected again"
        )
    if tally.rejected and not dry:
        console.print(f"see why: assay dead-letters list --run {result.run_id}", soft_wrap=True)
    if result.left_out:
        left = counted(
            result.left_out,
            "letter is left out: it was tried as often as",
            "letters are left out: they were tried as often as",
        )
        console.print(f"{left} --max-attempts says")


def _say_nothing(held: int, console: Console) -> None:
    if held:
        console.print(
            f"{counted(held, 'letter is', 'letters are')} held by another redrive; what it leaves"
            " is free when it ends, or some minutes after it was killed"
        )
    else:
        console.print("no open letter is to be tried")


# ---------------------------------------------------------------- what is asked


def _edits(words: Sequence[str]) -> dict[str, str]:
    edits: dict[str, str] = {}
    for each in words:
        column, separator, value = each.partition("=")
        if not separator:
            raise Fatal(f"--edit: {column} names no value; write COLUMN=VALUE, as side=debit")
        if column not in COLUMNS:
            raise Fatal(
                f"--edit: {column} is no column that can be edited; write COLUMN=VALUE with one of"
                f" {', '.join(COLUMNS)}"
            )
        if column in edits:
            raise Fatal(f"--edit: {column} is edited twice")
        if fault := fault_in(column, value):
            raise Fatal(f"--edit: {fault.message}{_WRITTEN.get(column, '')}; nothing was claimed")
        edits[column] = value
    if edits.get("side") == "credit" and SIGN.in_value(edits.get("amount", "")):
        raise Fatal(f"--edit: {SIGN.message}; nothing was claimed")
    return edits


def _contracts(files: Sequence[Path], *, dry: bool) -> dict[str, Contract]:
    """The contracts by their ids.

    Raises:
        Fatal: one cannot be read, is wrong, or is not in force and this is no dry run.
    """
    contracts: dict[str, Contract] = {}
    for file in files:
        try:
            contract = parse(file.read_text("utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            raise Fatal(f"the contract {file} cannot be read: {why}") from None
        if not contract.in_force and not dry:
            raise Fatal(
                f"the contract {file} is {contract.status}: only what is `status: active` takes"
                " records; a dry run reads them by it"
            )
        if contract.id in contracts:
            raise Fatal(f"{file} is a second contract with the id {contract.id}")
        contracts[contract.id] = contract
    return contracts
