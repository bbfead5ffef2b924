"""Whether the hot paths have become slower: counted in instructions, which no other work disturbs.

Callgrind counts what the steps of `hot` take, all threads together, on a processor of its own
making: so other processes do not matter, and the machine hardly does. What the count does not see:
waiting (for locks, disks, servers), memory that is far away, and the system's own work. These are
for the benchmarks that take the time.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import callgrind
import hot
import typer
from figures import processor
from harness import console
from rich import box
from rich.console import Console
from rich.table import Table

LIMITS: Final = Path(__file__).with_name("guard.toml")
OF_A_PATH: Final = 0.15
OF_A_STEP: Final = 0.20
"""What may be lost against the limits. A fifth of a path's count does not depend on the number of
records, of which a run's chunk has ten times as many: where each record costs a fifth more, the
path counts for 16 % more. Steps have limits of their own, since an instruction of one takes more
time than of another: commits are 12 % of a stream's instructions, and 16 % of its time."""

Costs = Mapping[str, Mapping[str, int]]
"""Instructions a record, by path and step."""

_AGAIN: Final = "uv run poe bench guard --write"
_PACKAGES: Final = ("arro3-core", "confluent-kafka", "numpy", "pgpq", "polars", "scipy")
_HEAD: Final = f"""\
# What `poe bench guard` holds the hot paths against: instructions a record, by path and step.
# A path may take {OF_A_PATH:.0%} more, a step {OF_A_STEP:.0%}. Written by `{_AGAIN}`; whoever makes
# a path quicker, or slower for a reason, commits the new figures with the change.
# Other processors and versions of Python move a path by some 3 %; versions of libraries by more.
"""
_OURS: Final = ("ASSAY_", "COVERAGE_", "COV_CORE_", "PYTHON", "POLARS_")
"""Variables that the counted process does not see: they could change what it does."""
_ALONE: Final = {
    "PYTHONHASHSEED": "0",
    **dict.fromkeys(("POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
}


class GuardFailed(Exception):
    """Nothing could be counted; says why."""


@dataclass(frozen=True)
class Limits:
    """What was counted when somebody last wrote it down.

    Attributes:
        costs: what they allow, but for a margin.
        about: where, when and with which versions it was counted.
    """

    costs: Costs
    about: Mapping[str, str]


def guard(
    *,
    write: Annotated[bool, typer.Option("--write", help="Make these figures the limits.")] = False,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for Callgrind's files, one a step.")
    ] = None,
) -> None:
    """Count instructions of the hot paths; exit 1 where one is slower than its limit allows.

    Half a minute, without servers; other work on the machine does not matter. Needs Linux on x86-64
    and valgrind.
    """
    try:
        with console.status("Counting …"):
            found = measured(keep)
        limits = None if write else read(LIMITS.read_text("utf-8"))
    except GuardFailed as error:
        console.print(f"[bold red]error:[/] {error}")
        raise typer.Exit(1) from None
    _print(found, limits)
    if limits is None:
        LIMITS.write_text(written(Limits(found, about())), "utf-8")
        console.print(f"written to {LIMITS.name}")
        return
    said = objections(found, limits.costs)
    for each in said or praise(found, limits.costs):
        console.print(each, markup=False, soft_wrap=True)
    if said:
        for each in advice(limits, about()):
            console.print(each, markup=False, soft_wrap=True)
        raise typer.Exit(1)


def measured(keep: Path | None) -> Costs:
    """What each step takes just now.

    Raises:
        GuardFailed: this machine cannot count, or what is counted fails.
    """
    if (sys.platform, platform.machine()) != ("linux", callgrind.MACHINE):
        raise GuardFailed(f"only Linux on {callgrind.MACHINE} can count")
    tool = shutil.which("valgrind")
    if tool is None:
        raise GuardFailed("valgrind is not on the path: apt-get install valgrind")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/all"]
        ended = subprocess.run(  # noqa: S603 - our own command
            [tool, *options, sys.executable, hot.__file__],
            env=inherited | _ALONE,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            tail = "\n".join(ended.stderr.splitlines()[-15:])
            raise GuardFailed(f"the counted process exited {ended.returncode}:\n{tail}")
        counts: Counter[str] = Counter()
        for name, count, file in _dumps(folder):
            counts[name] += count
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, keep / f"callgrind.out.{name}.{file.suffix[1:]}")
    costs: dict[str, dict[str, int]] = {path: {} for path in hot.PATHS}
    for name, count in counts.items():
        path, step = name.split(".")
        costs[path][step] = round(count / hot.RECORDS)
    return costs


def _dumps(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """What was counted of each step, in their order, and the file that says so."""
    for file in sorted(folder.glob("all.*"), key=lambda each: int(each.suffix[1:])):
        text = file.read_text("utf-8", errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        count = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
        if name is None or count is None:
            raise GuardFailed("Callgrind writes its files otherwise than it did")
        if name[1] != hot.NOTHING:
            yield name[1], int(count[1]), file


def objections(found: Costs, limits: Costs) -> list[str]:
    """What is slower than the limits allow, a line each."""
    if {path: set(steps) for path, steps in found.items()} != {
        path: set(steps) for path, steps in limits.items()
    }:
        return [f"the steps are others than those in {LIMITS.name}"]
    said: list[str] = []
    for path, steps in found.items():
        change = _change(sum(steps.values()), sum(limits[path].values()))
        if change > OF_A_PATH:
            most = max(steps, key=lambda each: steps[each] - limits[path][each])
            said.append(
                f"slower: the path `{path}` takes {change:.0%} more instructions"
                f" ({OF_A_PATH:.0%} are allowed); its step `{most}` has moved most:"
                f" {_moved(steps[most], limits[path][most])}"
            )
            continue
        for step, cost in steps.items():
            if _change(cost, limits[path][step]) > OF_A_STEP:
                said.append(
                    f"slower: the step `{step}` of the path `{path}`, by more than {OF_A_STEP:.0%}:"
                    f" {_moved(cost, limits[path][step])}"
                )
    return said


def praise(found: Costs, limits: Costs) -> list[str]:
    """What is so much quicker that it could be lost again unnoticed, a line each."""
    return [
        f"quicker: the path `{path}` takes {-change:.0%} less; `{_AGAIN}` sees that it stays so"
        for path, steps in found.items()
        if (change := _change(sum(steps.values()), sum(limits[path].values()))) < -OF_A_PATH / 2
    ]


def advice(limits: Limits, now: Mapping[str, str]) -> list[str]:
    """What to do about an objection, a line each."""
    changed = [
        f"{name} {limits.about.get(name)} → {other}"
        for name, other in now.items()
        if name != "date" and other != limits.about.get(name)
    ]
    return [
        f"The limits are of {limits.about.get('date')}"
        + (f"; since then: {', '.join(changed)}." if changed else ", with the same versions."),
        "Which functions? `poe bench guard --keep FOLDER`, then `callgrind_annotate` on a file.",
        f"Slower for a reason? `{_AGAIN}`, and commit {LIMITS.name} with the change.",
    ]


def read(text: str) -> Limits:
    """The limits as `written` wrote them."""
    costs: dict[str, Any] = tomllib.loads(text)
    return Limits(about=costs.pop("about"), costs=costs)


def written(limits: Limits) -> str:
    """The limits as a document."""
    said = "".join(f'{name} = "{value}"\n' for name, value in limits.about.items())
    tables = (
        f"\n[{path}]\n" + "".join(f"{step} = {cost}\n" for step, cost in steps.items())
        for path, steps in limits.costs.items()
    )
    return f"{_HEAD}\n[about]\n{said}{''.join(tables)}"


def about() -> dict[str, str]:
    """Where, when and with which versions is counted."""
    told = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)  # noqa: S607 - it was just used
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": processor(),
        "python": platform.python_version(),
        "valgrind": told.stdout.strip().removeprefix("valgrind-"),
        **{name: version(name) for name in _PACKAGES},
    }


def _change(now: int, before: int) -> float:
    return now / before - 1


def _moved(now: int, before: int) -> str:
    return f"{before:,} → {now:,} a record, {_change(now, before):+.0%}"


def _print(found: Costs, limits: Limits | None) -> None:
    table = Table("", "instructions a record", "limit", "change", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for path, steps in found.items():
        none: Mapping[str, int] = {}
        allowed = none if limits is None else limits.costs.get(path, none)
        whole = sum(allowed.get(step, 0) for step in steps)
        table.add_row(f"[bold]{path}", *_cells(sum(steps.values()), whole))
        for step, cost in steps.items():
            table.add_row(f"  {step}", *_cells(cost, allowed.get(step, 0)))
    Console(width=80, highlight=False).print(table)


def _cells(cost: int, limit: int) -> tuple[str, str, str]:
    if not limit:
        return f"{cost:,}", "", ""
    return f"{cost:,}", f"{limit:,}", f"{_change(cost, limit):+.1%}"
