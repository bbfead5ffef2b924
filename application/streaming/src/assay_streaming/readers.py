"""Who reads the predictions, and how far they are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from assay.domain.position import Partition


@dataclass(frozen=True)
class Reader:
    """A group of consumers that has read a topic.

    Attributes:
        group: its name.
        members: how many are there now.
        position: by partition, where it stands.
        lag: by partition, how many offsets are still to come.
        gone: how many offsets were deleted before it has read them.
        committed: when it has committed last; None where that is not known.
    """

    group: str
    members: int
    position: Mapping[Partition, int]
    lag: Mapping[Partition, int]
    gone: int
    committed: datetime | None


def show(topic: str, found: Sequence[Reader], *, as_json: bool) -> None:
    """Prints who reads a topic."""
    if as_json:
        document = {"topic": topic, "readers": [asdict(each) for each in found]}
        typer.echo(json.dumps(document, default=_text))
    elif not found:
        Console(highlight=False).print(f"nobody has read {topic} yet", markup=False)
    else:
        _print(topic, found)


def _text(moment: object) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else str(moment)


def _print(topic: str, found: Sequence[Reader]) -> None:
    table = Table(f"reads {topic}", box=box.SIMPLE_HEAD)
    for name in ("members", "read up to", "to come", "last commit"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found:
        table.add_row(
            each.group,
            str(each.members) if each.members else "none",
            f"{sum(each.position.values()):,}",
            f"{sum(each.lag.values()):,}",
            _ago(each.committed),
        )
    console = Console(width=80, highlight=False)
    console.print(table)
    for each in found:
        if each.gone:
            text = f"{each.group} has missed {each.gone:,} offsets, deleted before it has read them"
            console.print(text, markup=False)


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {name} ago"
    return f"{seconds} s ago"
