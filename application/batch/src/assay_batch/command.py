"""What `run` does between its options and its exit code."""

import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from rich.console import Console
from structlog.contextvars import bound_contextvars

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.contract.draft import undecided
from assay.contract.force import objection_to
from assay.domain.errors import DONE, NOTHING_TO_DO, TEMPORARY, AssayError, Fatal
from assay.domain.pattern import exact
from assay.pipeline.pump import Policy
from assay_batch import bootstrap
from assay_batch.dry_run import dry_run
from assay_batch.places import Places, places
from assay_batch.progress import shown
from assay_batch.report import complaint, log, show, show_waiting
from assay_batch.run import Request, Result, survey
from assay_batch.run import run as run_batch

_log: Any = structlog.get_logger(__name__)


def run(
    uris: Sequence[str],
    contract: Path,
    *,
    dry: bool,
    limit: int | None,
    patience: float,
    reject_limit: float,
    archive: bool,
    archive_to: str | None,
    errors: str | None,
) -> int:
    """Does a run as the options of `assay_batch.cli` say, `patience` being seconds.

    From the moment when the run has a name the summary is the last line, whatever happens.

    Returns:
        The exit code.

    Raises:
        Fatal: the options do not fit each other or name no place, or the contract is wrong or
            not in force.
    """
    console = Console(stderr=True)
    compiled = _in_force(contract, console, dry=dry)
    found_at = [bootstrap.located(each) for each in uris]
    request = Request(
        run_id=str(uuid4()),
        uris=found_at,
        places=_places(found_at, errors, archive_to),
        contract=compiled,
        policy=Policy(patience=patience, reject_limit=reject_limit, alone=True),
        limit=limit,
        archive=archive or archive_to is not None,
    )
    result = Result(request.run_id)
    with bound_contextvars(run_id=request.run_id):
        _to_the_end(uris, request, result, console, dry=dry)
    return result.exit_code


def list_waiting(
    uris: Sequence[str],
    contract: Path,
    *,
    most: int,
    patience: float,
    archive_to: str | None,
    errors: str | None,
) -> int:
    """Says which files a run would do, as the options of `assay_batch.cli` say.

    Returns:
        The exit code.

    Raises:
        AssayError: as `survey` does; or the options or the contract are wrong.
    """
    console = Console(stderr=True)
    found_at = [bootstrap.located(each) for each in uris]
    request = Request(
        run_id="",
        uris=found_at,
        places=_places(found_at, errors, archive_to),
        contract=_in_force(contract, console, dry=False),
        policy=Policy(patience=patience),
    )
    settings = bootstrap.read(bootstrap.ListSettings)
    with bootstrap.books(request.places, settings) as services, shown(console) as progress:
        found = survey(request, *services, progress)
    waiting = found.waiting
    named = waiting[:most]
    if console.is_terminal:
        show_waiting(found, named, console)
    summary = {
        "status": "waiting" if waiting else "nothing_to_do",
        "found": len(found.found),
        "waiting": len(waiting),
        "bytes": sum(each.size for each in waiting),
        "files": [exact(each.uri) for each in named],
    }
    bootstrap.last_line(summary)
    return DONE if waiting else NOTHING_TO_DO


def _to_the_end(
    uris: Sequence[str], request: Request, result: Result, console: Console, *, dry: bool
) -> None:
    """Does a run, says how it went, and writes the summary as the last line."""
    stopped_by: AssayError | None = None
    try:
        with bootstrap.on_signal(bootstrap.interrupt):
            _do(request, result, console, dry=dry)
    except AssayError as error:
        stopped_by = error
        _stop(result, error)
    except KeyboardInterrupt as error:
        _stop(result, error)
        console.print("interrupted: run the same again; it resumes")
    except Exception as error:  # noqa: BLE001 - whatever it is, the summary comes last
        # Its message is left out: it may hold what no log may.
        where = traceback.format_tb(error.__traceback__)
        _log.error("a fault of Assay", error=type(error).__name__, where=where)
        _stop(result, error)
    for partition, error in result.problems.items():
        bootstrap.complain(complaint(partition, error))
    if stopped_by is not None:
        bootstrap.complain(str(stopped_by))
    if result.status == "nothing_to_do" and not result.found:
        console.print(f"no file matches {' '.join(uris)}")
    elif console.is_terminal or dry or result.status == "nothing_to_do":
        show(result, console, dry=dry)
    else:
        log(result)
    bootstrap.last_line(result.summary())


def _do(request: Request, result: Result, console: Console, *, dry: bool) -> None:
    if dry:
        settings = bootstrap.read(bootstrap.ReadSettings)
        objects = bootstrap.objects_for(request.places, settings)
        with shown(console) as progress:
            dry_run(request, objects, bootstrap.decompress, result, progress)
        return
    settings = bootstrap.read(bootstrap.BatchSettings)
    request = replace(
        request,
        policy=replace(
            request.policy,
            window_chunks=settings.batch.window_chunks,
            window_bytes=settings.batch.window_mib << 20,
        ),
    )
    run_id, source = request.run_id, request.source
    with bootstrap.services(request.places, settings, run_id, source) as services:
        why = ""
        try:
            with shown(console) as progress:
                run_batch(request, services, result, progress)
            why = "; ".join(complaint(*each) for each in result.problems.items())
        except BaseException as error:
            _stop(result, error)
            why = str(error) if isinstance(error, AssayError) else type(error).__name__
            raise
        finally:
            if result.status != "nothing_to_do":
                is_stopped = result.status == "interrupted"
                services.lineage.end(result.exit_code, why, is_stopped=is_stopped)
                with suppress(AssayError):  # the books are kept elsewhere; this is a note
                    services.runs.end(request.run_id, result.status, result.summary())


def _places(found_at: Sequence[str], errors: str | None, archive_to: str | None) -> Places:
    errors, archive = (
        None if each is None else bootstrap.located(each) for each in (errors, archive_to)
    )
    return places(found_at, errors=errors, archive=archive)


def _stop(result: Result, error: BaseException) -> None:
    """Notes how a run that is stopped by this ends."""
    match error:
        case AssayError():
            result.status, result.exit_code = "failed", error.exit_code
        case KeyboardInterrupt():
            result.status, result.exit_code = "interrupted", TEMPORARY
        case _:
            result.status, result.exit_code = "failed", 1


def _in_force(file: Path, console: Console, *, dry: bool) -> Contract:
    """The contract, with a word on standard error where somebody has still to decide.

    Raises:
        Fatal: it is wrong, or not in force and this is no dry run.
    """
    text = bootstrap.read_text(file, "the contract")
    contract = parse(text, str(file))
    if objection := objection_to(contract, text):
        reason = f"the contract {file} {objection}"
        if not dry:
            raise Fatal(f"{reason}; a dry run reads files by it")
        console.print(f"a dry run only: {reason}", markup=False, soft_wrap=True)
    elif marks := undecided(text):
        lines = ", ".join(str(each.line) for each in marks)
        left = f"{file} is active, with `# Decide:` left in its lines {lines}"
        console.print(left, markup=False, highlight=False, soft_wrap=True)
    return contract
