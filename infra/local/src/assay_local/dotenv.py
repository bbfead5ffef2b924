"""The marked block of a `.env` file that holds the servers' addresses; all other lines are kept."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from assay_local.errors import SetupError

BEGIN = "# >>> assay local"
END = "# <<< assay local"


def own_settings(path: Path) -> dict[str, str]:
    """What the user's own lines set, outside the block; nothing where there is no such file."""
    settings: dict[str, str] = {}
    for line in _own_lines(path):
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            settings[name.strip()] = value.strip().strip("'\"")
    return settings


def write_block(path: Path, settings: Mapping[str, str]) -> None:
    """Puts these settings into the block, at its place or at the end; without any, removes it.

    Where the block was all that the file held, the file goes with it; else it is replaced all at
    once. One that we make can be read by its owner only, since it holds passwords; one that there
    is keeps its mode.

    Raises:
        SetupError: The file cannot be written, or has only one of the block's two marks.
    """
    try:
        before, after = _around(path)
        block = [BEGIN, *(f"{name}={value}" for name, value in settings.items()), END]
        lines = [*before, *(block if settings else []), *after]
        if lines or path.is_symlink():
            _replace(path.resolve(), "".join(f"{line}\n" for line in lines))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise SetupError(f"Cannot write the addresses to {path}: {error}") from error


def _own_lines(path: Path) -> list[str]:
    before, after = _around(path)
    return before + after


def _around(path: Path) -> tuple[list[str], list[str]]:
    """The lines before and after the block; without a block, all are before it."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return [], []
    marks = [number for number, line in enumerate(lines) if line.strip() in {BEGIN, END}]
    if not marks:
        return lines, []
    if [lines[number].strip() for number in marks] != [BEGIN, END]:
        raise SetupError(
            f"{path} does not hold one line {BEGIN!r} and below it one line {END!r}: "
            "mend it by hand."
        )
    return lines[: marks[0]], lines[marks[1] + 1 :]


def _replace(path: Path, text: str) -> None:
    handle, fresh = tempfile.mkstemp(prefix=".env.", dir=path.parent)  # mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(text)
    if path.exists():
        Path(fresh).chmod(path.stat().st_mode & 0o777)
    Path(fresh).replace(path)
