"""Finds commands: packages register them in the entry-point group `assay.commands`.

An entry names a Typer app, which becomes a group of commands, or a function, which becomes one
command.
"""

import ast
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

import typer

from assay.domain.errors import Fatal

GROUP: Final = "assay.commands"

_ANYTHING: Final = {"allow_extra_args": True, "ignore_unknown_options": True}


def installed() -> list[EntryPoint]:
    """The commands of all installed packages, by name."""
    return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)


def mount(app: typer.Typer, entry: EntryPoint) -> None:
    """Adds a command; one that cannot be imported says what to install when it is run."""
    try:
        found = cast(typer.Typer | Callable[..., Any], entry.load())
    except ImportError as error:
        _stand_in(app, entry, _unavailable(entry, error.name or str(error)))
        return
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=entry.name)
    else:
        app.command(entry.name)(found)


def announce(app: typer.Typer, entry: EntryPoint) -> None:
    """Adds what the list of commands shows of a command, without importing it.

    Its help is read from its source; where it cannot be found there, the command is mounted.
    """
    try:
        tree = _tree(entry)
    except ImportError as error:  # the packages around the module are imported
        _stand_in(app, entry, _unavailable(entry, error.name or str(error)))
        return
    missing = next((name for name in _imported(tree) if find_spec(name) is None), None)
    if missing:
        _stand_in(app, entry, _unavailable(entry, missing))
    elif (text := _help(tree, entry.attr)) is not None:
        app.command(entry.name, help=text)(_nothing)
    else:
        mount(app, entry)


def _nothing() -> None:
    """Is listed, and never run."""


def _stand_in(app: typer.Typer, entry: EntryPoint, message: str) -> None:
    def unavailable() -> None:
        raise Fatal(message)

    app.command(entry.name, help=message, context_settings=_ANYTHING, add_help_option=False)(
        unavailable
    )


def _unavailable(entry: EntryPoint, missing: str) -> str:
    package = entry.dist.name if entry.dist else entry.module.partition(".")[0]
    extras = f"[{','.join(entry.extras)}]" if entry.extras else ""
    return (
        f"not available, since {missing} is not installed: "
        f"install {package}{extras} with all that it needs: pip install '{package}{extras}'"
    )


def _tree(entry: EntryPoint) -> ast.Module:
    spec = find_spec(entry.module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"there is no module {entry.module}", name=entry.module)
    return ast.parse(Path(spec.origin).read_bytes())


def _imported(tree: ast.Module) -> Iterator[str]:
    """The packages that a module imports at once."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _help(tree: ast.Module, name: str) -> str | None:
    """The docstring of a function, or what a Typer app is given as its help."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=found) if found == name:
                return ast.get_docstring(node)
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Call() as call) if (
                found == name
            ):
                given = {keyword.arg: keyword.value for keyword in call.keywords}
                match given.get("help"):
                    case ast.Constant(value=str(text)):
                        return text
                    case _:
                        return None
            case _:
                pass
    return None
