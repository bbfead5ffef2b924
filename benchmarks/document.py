"""What benchmarks have found, as Markdown. Equal figures give equal text."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import chapters
import contest
import goals
from figures import markdown_table
from found import Found

_ABOUT: Final = """\
# Benchmarks

Written by `uv run poe bench-peers --out docs` and, part by part, `uv run poe bench PART --out
docs`; [benchmarks/](../benchmarks/README.md) is what they ran. In each part all processes share the
cores of one machine, and none is tied to one: compare ratios, and CPU seconds per million records,
not rates, with other machines. PostgreSQL syncs to disk as it does by default.

Parts were measured one after the other, and a machine that others share is up to a quarter slower
in some hours, by which CPU seconds grow as well: the same work has other figures in another part.
Compare within a part. With far fewer records most of the time is the start of a process, in which
the product, which loads more, is not ahead.

"""
_FIGURES: Final = """\
Each run, with the machine's load before it: [figures.json](benchmarks/figures.json).
"""
_TITLES: Final = {
    "contest": "Contenders",
    "scaling": "Scaling",
    "tables": "Table size",
    "latency": "Latency",
    "duplicates": "Duplicates",
    "memory": "Memory",
    "warm": "Repeated descriptions",
    "fan_out": "Fan-out",
}


_CHAPTERS: Final[dict[str, Callable[[Any, str], str]]] = {
    "scaling": chapters.scaling,
    "tables": chapters.tables,
    "latency": chapters.latency,
    "duplicates": lambda part, _: chapters.duplicates(part),
    "memory": lambda part, _: chapters.memory(part),
    "warm": lambda part, _: chapters.warm(part),
    "fan_out": lambda part, _: chapters.fan_out(part),
}
"""What tells of each part, given it and the folder of pictures."""


def markdown(found: Found, pictures: str) -> str:
    """The document: a chapter for each part that was measured.

    Args:
        found: to tell.
        pictures: the folder of `plots.draw`, as a link from the document names it.
    """
    abouts = found.abouts()
    dates = markdown_table(
        ["part", "measured on"],
        ([f"[{_TITLES[name]}](#{_anchor(name)})", each["date"]] for name, each in abouts.items()),
    )
    return "\n".join([_ABOUT + dates, *_chapters(found, pictures), _machines(abouts)])


def _chapters(found: Found, pictures: str) -> Iterator[str]:
    if any((found.contest, found.latency, found.warm, found.fan_out)):
        yield f"## Goals\n\n{goals.chapter(found)}"
    if found.contest is not None:
        yield contest.chapters(found.contest, pictures)
    for name, chapter in _CHAPTERS.items():
        if (part := getattr(found, name)) is not None:
            yield f"## {_TITLES[name]}\n\n{chapter(part, pictures)}"
    if found.contest is not None:
        yield contest.contenders(found.contest)


def _anchor(name: str) -> str:
    return _TITLES[name].lower().replace(" ", "-")


def _machines(abouts: dict[str, dict[str, Any]]) -> str:
    """What each part was measured on; a column for each."""
    parts = ["## Machine, versions, settings\n"]
    for kind in ("machine", "versions", "settings"):
        keys = dict.fromkeys(key for each in abouts.values() for key in each[kind])
        head = [kind, *(_TITLES[name].lower() for name in abouts)]
        rows = ([key, *(_cell(each[kind], key) for each in abouts.values())] for key in keys)
        parts.append(markdown_table(head, rows))
    parts.append(_FIGURES)
    return "\n".join(parts)


def _cell(values: dict[str, Any], key: str) -> str:
    return f"`{values[key]}`" if key in values else ""
