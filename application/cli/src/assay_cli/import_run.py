"""What `import` does between its options and its exit code."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import IO, Any, Final, TextIO, cast
from uuid import uuid4

import polars as pl

from assay.domain.errors import DONE, NOTHING_TO_DO, Unreadable
from assay.domain.wording import counted
from assay.wire.envelope import letters_from_jsonl
from assay_cli import bootstrap
from assay_cli.ending import to_the_end
from assay_cli.output import say

_BLOCK: Final = 4 << 20
_EXPECTED: Final = (
    "what is taken in are the JSON lines that a run leaves under errors/, or that"
    " `assay dead-letters export --format jsonl` writes"
)


def run(files: Sequence[str], topics: Sequence[str], *, by: str) -> int:
    """Takes in the letters of files and topics; returns the exit code."""
    result = Taken()
    found = chain(frames(files, result), on_topics(topics, result))
    return to_the_end(partial(_import, found, by, result), result)


@dataclass
class Taken:
    """What an import has done so far.

    Attributes:
        renewed: letters that were imported before and take over what a later attempt says.
        foreign: messages of topics that are no letters.
    """

    run_id: str = field(default_factory=lambda: str(uuid4()))
    status: str = "done"
    exit_code: int = DONE
    files: int = 0
    read: int = 0
    imported: int = 0
    renewed: int = 0
    foreign: int = 0

    def summary(self) -> dict[str, Any]:
        """The counts, as the last line of the run's output."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "files": self.files,
            "read": self.read,
            "imported": self.imported,
            "renewed": self.renewed,
            "known": self.known,
            "foreign": self.foreign,
        }

    @property
    def known(self) -> int:
        """How many letters were refused."""
        return self.read - self.imported - self.renewed


def _import(found: Iterable[tuple[str, pl.DataFrame]], by: str, result: Taken) -> None:
    with bootstrap.importing(result.run_id, by=by) as take:
        for name, letters in found:
            imported, renewed = take(letters, name)
            result.imported += imported
            result.renewed += renewed
            result.read += letters.height
    if result.renewed:
        renewed = counted(result.renewed, "letter that was", "letters that were")
        say(f"{renewed} imported before: what a later attempt says is taken over.")
    if result.known:
        letters = counted(result.read, "letter", "letters")
        were, are = ("was", "is") if result.known == 1 else ("were", "are")
        say(f"{result.known:,} of {letters} {were} known here already, and {are} refused.")
    if result.imported:
        say(
            f"{counted(result.imported, 'letter is', 'letters are')} open now, also what was closed"
            " or discarded where it comes from; `export --state open` leaves that out there."
        )
    if result.foreign:
        foreign = counted(
            result.foreign,
            "message is no dead letter of Assay, and is",
            "messages are no dead letters of Assay, and are",
        )
        say(f"{foreign} left alone.")
    if not (result.imported or result.renewed):
        result.status, result.exit_code = "nothing_to_do", NOTHING_TO_DO


def frames(files: Iterable[str], result: Taken) -> Iterator[tuple[str, pl.DataFrame]]:
    """The letters of files, in frames shaped as `LETTERS`, with where they come from."""
    for name, blocks in bootstrap.lines_of(files, _standard):
        first = 1
        for lines in whole_lines(blocks):
            try:
                yield name, letters_from_jsonl(lines, first_line=first)
            except Unreadable as error:
                raise Unreadable(f"{name}: {error}; {_EXPECTED}") from None
            first += lines.count(b"\n")
        result.files += 1


def _standard() -> IO[bytes]:
    if cast(TextIO | None, sys.stdin) is None:
        raise Unreadable("standard input is closed")
    return sys.stdin.buffer


def on_topics(topics: Iterable[str], result: Taken) -> Iterator[tuple[str, pl.DataFrame]]:
    """The same of topics."""
    for topic in topics:
        found = foreign = 0
        for letters, others in bootstrap.letters_on(topic):
            foreign += others
            found += letters.height
            yield f"kafka:{topic}", letters
        if foreign and not found:
            raise Unreadable(
                f"the topic {topic} holds {counted(foreign, 'message', 'messages')} and no dead"
                " letters: name one that `assay stream dead-letters` writes,"
                " ASSAY_STREAM__DEAD_LETTER_TOPIC"
            )
        result.foreign += foreign
        result.files += 1


def whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, about 4 MiB at a time, cut at the ends of lines."""
    held = bytearray()
    for block in blocks:
        held += block
        if len(held) >= _BLOCK and (end := held.rfind(b"\n") + 1):
            yield bytes(held[:end])
            del held[:end]
    if held:
        yield bytes(held)
