"""What is wrong with a contract, and where in its text."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias, cast

import yaml

from assay.domain.errors import Fatal

Path: TypeAlias = tuple[str | int, ...]
"""Keys and numbers that lead from the top of a document to one of its nodes."""

Finding: TypeAlias = tuple[Path, str]
"""Where something is wrong, and what, with what to do about it."""


class Problem(NamedTuple):
    """One thing that is wrong with a contract.

    Attributes:
        line: of its text, from 1.
        path: such as `schema[0].properties[2].name`; empty for the whole document.
        message: what is wrong, and what to do.
    """

    line: int
    path: str
    message: str


class ContractError(Fatal):
    """A contract cannot be used as it is.

    Attributes:
        name: of the contract, as the message shows it.
        problems: all that were found, in the order of their lines.
    """

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(set(problems)))
        lines = (
            f"\n  line {line}: {f'{path}: ' if path else ''}{message}"
            for line, path, message in self.problems
        )
        super().__init__(f"the contract {name} cannot be used{''.join(lines)}")


def located(node: yaml.Node, findings: Iterable[Finding]) -> Iterator[Problem]:
    """Gives findings the lines of the document that starts at a node."""
    for path, message in findings:
        spelled = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in path)
        yield Problem(_line(node, path), spelled.removeprefix("."), message)


def _line(node: yaml.Node, path: Path) -> int:
    """Where a path leads to, as far as it does."""
    line = node.start_mark.line
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pairs = cast(list[tuple[yaml.Node, yaml.Node]], node.value)
            match = [pair for pair in pairs if pair[0].value == step]
            if not match:
                break
            line, node = match[-1][0].start_mark.line, match[-1][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = cast(list[yaml.Node], node.value)[step]
            line = node.start_mark.line
    return line + 1


def repeated_keys(node: yaml.Node, path: Path = ()) -> Iterator[Finding]:
    """Keys that stand twice in one mapping, of which YAML would keep the last in silence."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in cast(list[tuple[yaml.Node, yaml.Node]], node.value):
            name = str(key.value)
            if name in seen:
                yield (*path, name), f"`{name}` stands twice; keep one"
            seen.add(name)
            yield from repeated_keys(value, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(cast(list[yaml.Node], node.value)):
            yield from repeated_keys(item, (*path, number))
