"""What has become of a run's records, for people and for logs."""

from collections.abc import Sequence
from typing import Any

import structlog
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from assay.domain.errors import AssayError
from assay.domain.position import Partition
from assay.ports.objects import Object
from assay_batch.places import spelled
from assay_batch.run import Result, Survey

_log: Any = structlog.get_logger(__name__)


def _named(partition: Partition) -> str:
    return spelled(partition.rpartition("#")[0])


def complaint(partition: Partition, error: AssayError) -> str:
    """What went wrong with a file, in which its name stands once."""
    uri, name = partition.rpartition("#")[0], _named(partition)
    message = str(error)
    if uri in message:
        return message.replace(partition, name).replace(uri, name)
    return f"{name}: {message}"


def show(result: Result, console: Console, *, dry: bool) -> None:
    """Says to people what has become of the records."""
    tally = result.tally
    if result.status == "nothing_to_do":
        many = f"all {result.found:,} files were" if result.found > 1 else "the file was"
        console.print(f"{many} done before; to read one anew, deliver it under another name")
    for each in result.empty:
        console.print(f"no record in {_named(each)}", soft_wrap=True, highlight=False)
    title = "Would be rejected" if dry else "Rejected"
    table = Table("code", "field", "records", title=title, box=SIMPLE_HEAD)
    table.title_justify = "left"
    table.columns[2].justify = "right"
    for (code, field), count in result.codes.most_common():
        table.add_row(code, field, f"{count:,}")
    if result.codes:
        console.print(table)
    if dry:
        console.print(f"{tally.classified:,} of {tally.read:,} records are valid")
    elif tally.read:
        console.print(
            f"{tally.read:,} read = {tally.classified:,} classified + {tally.rejected:,} rejected"
            f" + {tally.duplicate:,} duplicate",
            highlight=False,
        )
    for destination, letters in result.published.items():
        published = f"{letters:,} rejects published under {destination}"
        console.print(published, soft_wrap=True, highlight=False)
    if tally.rejected and not dry:
        hint = f"assay dead-letters list --run {result.run_id}"
        console.print(f"see what was rejected: {hint}", soft_wrap=True, highlight=False)


def show_waiting(found: Survey, named: Sequence[Object], console: Console) -> None:
    """Says to people which files wait."""
    table = Table("file", "bytes", "records done", box=SIMPLE_HEAD)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for each in named:
        stands = found.stand.get(each.partition)
        done = f"{stands.next:,}" if stands is not None else "none"
        table.add_row(_named(each.partition), f"{each.size:,}", done)
    if named:
        console.print(table)
    waiting = len(found.waiting)
    more = f"; {waiting - len(named):,} of them are not shown: --most" * (waiting > len(named))
    console.print(f"{waiting:,} of {len(found.found):,} files wait{more}", highlight=False)


def log(result: Result) -> None:
    """Says the same to those who read logs."""
    for each in result.empty:
        _log.warning("a file holds no record", file=_named(each))
    if result.codes:
        codes = {
            f"{code} {field}".strip(): count for (code, field), count in result.codes.most_common()
        }
        _log.warning("rejected", codes=codes)
    for destination, letters in result.published.items():
        _log.info("rejects published", destination=destination, letters=letters)
