"""What all benchmarks share: servers of their own, and the check of what came of the work."""

import signal
import sys
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Literal

import psutil
import psycopg
import typer
from measure import CommandFailed
from rich.console import Console
from sample import CHECKSUM, Sample

from assay_local import Local, LocalError, servers

Way = Literal["assay", "plain"]

ASSAY: Final = str(Path(sys.executable).with_name("assay"))

# Counts per door, and a sum over all predictions, which every way has to agree on.
_RESULT: Final = """
    SELECT (SELECT count(*) FROM transactions), (SELECT count(*) FROM predictions),
           (SELECT count(*) FROM {rejects}),
           (SELECT sum(crc32(convert_to(concat_ws('|', transaction_id, category, confidence),
               'UTF8')))::bigint FROM predictions)
"""
_LEDGER: Final = "SELECT sum(read), sum(classified), sum(rejected), sum(duplicate) FROM ledger"

console: Final = Console(stderr=True, highlight=False)


def alone(function: Callable[..., Sample], *arguments: Any) -> Sample:
    """Makes a sample in a process of its own: what is measured starts with the memory of this."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class WrongResult(Exception):
    """The tables do not hold what was sent, so that the figure does not count."""


@dataclass(frozen=True)
class Bench:
    """The servers, and a folder for files."""

    local: Local
    names: tuple[str, ...]
    folder: Path
    keep: bool

    @property
    def processes(self) -> dict[str, psutil.Process]:
        """The servers' processes."""
        found = {each: getattr(self.local, each).process for each in self.names}
        return {name: process for name, process in found.items() if process is not None}


@contextmanager
def ended_in_words() -> Generator[None]:
    """Says why a benchmark ends early; SIGTERM ends all that was started, too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except (CommandFailed, LocalError, WrongResult) as error:
        console.print(f"[bold red]error:[/] {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("interrupted; the servers are stopped")
        raise typer.Exit(130) from None


@contextmanager
def started(*names: str, keep: bool) -> Generator[Bench]:
    """Servers that end with the block."""
    with ExitStack() as stack:
        if keep:
            folder = Path(tempfile.mkdtemp(prefix="assay-benchmark-"))
            folder.chmod(0o711)  # PostgreSQL may run as another account, which must pass.
            console.print(f"kept in {folder}; `assay up --data {folder / 'servers'}` serves it")
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = folder / "servers" if keep else None
        # What the environment names is not used: it could not be measured.
        local = stack.enter_context(servers(data=data, environment={}))
        with console.status(f"Starting {', '.join(names)} …"):
            local.start(*names)
        yield Bench(local, names, folder, keep)


def check(url: str, way: Way, sample: Sample) -> int:
    """Holds the tables against the sample; returns the sum over all predictions.

    Raises:
        WrongResult: something else came of it.
    """
    rejects = "dead_letters" if way == "assay" else "errors"
    good = sample.rows - sample.broken
    with psycopg.connect(url) as connection:

        def first(sql: str) -> tuple[Any, ...]:
            return connection.execute(sql.encode()).fetchone() or ()

        *counts, predicted = first(_RESULT.format(rejects=rejects))
        if counts != [good, good, sample.broken]:
            raise WrongResult(f"{way} stored {counts}, not {[good, good, sample.broken]}")
        if first(CHECKSUM) != (sample.checksum,):
            raise WrongResult(f"{way} stored other content than was sent")
        if way == "assay" and first(_LEDGER) != (sample.rows, good, sample.broken, 0):
            raise WrongResult("the ledger does not say what the tables hold")
    return int(predicted)
