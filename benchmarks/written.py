"""The folder that has the document, its pictures and the figures of all parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import typer
from document import markdown
from found import Found, from_json, to_json
from harness import console
from planning import page
from plots import draw

_DOCUMENT: Final = "benchmarks.md"
_PICTURES: Final = "benchmarks"
_FIGURES: Final = "figures.json"
_PLANNING: Final = "planning.md"
_START: Final = "<!-- planned -->"
_END: Final = "<!-- /planned -->"


def readable(out: Path | None) -> Path | None:
    """Before anything is measured: that what is found can be put to what is there.

    Raises:
        BadParameter: it cannot.
    """
    if out is None:
        return None
    if not out.is_dir():
        raise typer.BadParameter(f"{out} is no folder that exists")
    try:
        read(out)
    except (LookupError, TypeError, ValueError, OSError) as error:
        raise typer.BadParameter(f"its {_FIGURES} cannot be read: {error!r}") from None
    return out


OUT: Final[Any] = typer.Option(
    help="A folder to write the document into; other parts stay in it.", callback=readable
)
"""The option of each command whose figures are a part of the document."""


def read(out: Path) -> Found:
    """All parts that were measured by now, as the folder has them."""
    file = out / _PICTURES / _FIGURES
    return from_json(file.read_text("utf-8")) if file.exists() else Found()


def merge(out: Path | None, **parts: Any) -> None:
    """Writes these parts in place of the same ones, and the document; does nothing without folder.

    Args:
        out: the folder.
        parts: fields of `Found`.
    """
    if out is not None:
        write(replace(read(out), **parts), out)


def write(found: Found, out: Path) -> None:
    """Writes the document into a folder, figures and pictures into one inside it.

    Pictures of an earlier run are removed.
    """
    folder = out / _PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    # The figures first: what took hours is not lost where a picture cannot be drawn.
    (folder / _FIGURES).write_text(to_json(found), "utf-8")
    for each in set(folder.glob("*.png")).difference(draw(found, folder)):
        each.unlink()
    (out / _DOCUMENT).write_text(markdown(found, _PICTURES), "utf-8")
    console.print(f"written: {out / _DOCUMENT}")
    planning = out / _PLANNING
    if planning.exists():  # the words of it are people's
        planning.write_text(planned(planning.read_text("utf-8"), found), "utf-8")
        console.print(f"written: {planning}")


def planned(text: str, found: Found) -> str:
    """The page on planning with the tables that the figures give."""
    before, start, rest = text.partition(_START)
    _, end, after = rest.partition(_END)
    return f"{before}{start}\n{page(found)}{end}{after}"
