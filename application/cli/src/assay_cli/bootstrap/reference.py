"""The reference of all settings, in Markdown, from the models that read them."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from assay_adapters.environment.sections import installed

_WORDS: Final = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "password": "secret",
    "uri": "URL",
    "path": "path",
    "boolean": "`true` or `false`",
    "object": "JSON object",
    "array": "list",
}
"""What a value is, by its type in JSON Schema or, where it has one, its format."""

_BOUNDS: Final = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
}


def reference() -> str:
    """Every setting of the packages that are installed: what it takes, its default, its meaning."""
    sections = (_section(name, model) for name, model in installed().items())
    return "\n".join(line for section in sections for line in section).rstrip()


def _section(name: str, model: type[BaseModel]) -> Iterator[str]:
    about, meanings = _documented(model)
    schema = model.model_json_schema()
    yield f"## {name}\n\n{about}\n"
    yield "| variable | takes | default | meaning |\n|---|---|---|---|"
    for field, given in schema["properties"].items():
        variable = f"`ASSAY_{name.upper()}__{field.upper()}`"
        default = "required" if field in schema.get("required", ()) else _default(given)
        yield f"| {variable} | {_takes(given)} | {default} | {meanings.get(field, '')} |"
    yield ""


def _documented(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """What the docstring says of the section, and of each setting."""
    about, _, attributes = inspect.cleandoc(model.__doc__ or "").partition("Attributes:\n")
    meanings: dict[str, str] = {}
    for names, text in re.findall(r"^ {4}(\S.*?): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
        first, *others = names.split(", ")
        meanings[first] = " ".join(text.split()).replace("|", r"\|")
        meanings |= dict.fromkeys(others, "the same")
    return about.strip(), meanings


def _takes(given: dict[str, Any]) -> str:
    wanted = (each for each in given.get("anyOf", [given]) if each.get("type") != "null")
    return " or ".join(map(_kind, wanted))


def _kind(wanted: dict[str, Any]) -> str:
    if "enum" in wanted:
        return ", ".join(f"`{each}`" for each in wanted["enum"])
    name: str = wanted.get("format", wanted.get("type", "object"))
    bounds = [f"{sign} {wanted[bound]:,}" for bound, sign in _BOUNDS.items() if bound in wanted]
    return ", ".join([_WORDS.get(name, name), *bounds])


def _default(given: dict[str, Any]) -> str:
    value = given.get("default")
    if value in (None, [], {}):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,g}" if isinstance(value, float) else str(value)
