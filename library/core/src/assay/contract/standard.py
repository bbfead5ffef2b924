"""Whether a document is one of the Open Data Contract Standard, version 3.

https://bitol-io.github.io/open-data-contract-standard/ The package's models take unknown keys in
silence; its JSON schema does not.
"""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Final, cast

from jsonschema import Draft201909Validator
from jsonschema.exceptions import ValidationError
from open_data_contract_standard.model import (
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
    Server,
)
from pydantic import BaseModel

from assay.contract.problems import Finding, Path

_MODELS: Final[Mapping[str | None, type[BaseModel]]] = {
    None: OpenDataContractStandard,
    "servers": Server,
    "schema": SchemaObject,
    "properties": SchemaProperty,
}
_UNKNOWN: Final = ("additionalProperties", "unevaluatedProperties")
_TYPES: Final = {"string": "text; put it in quotes", "array": "a list", "object": "a mapping"}


@cache
def _validator() -> Draft201909Validator:
    schema = files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8")
    return Draft201909Validator(json.loads(schema))


def deviations(document: object) -> Iterator[Finding]:
    """Where a document is not as the standard's JSON schema says."""
    # The stubs want to see a type of JSON; whether it is one is the question.
    errors: Iterator[ValidationError] = cast(Any, _validator()).iter_errors(document)
    for error in errors:
        yield from _explained(error)


def keys(model: type[BaseModel]) -> set[str]:
    """The keys that a model has in a document."""
    return {field.alias or name for name, field in model.model_fields.items()}


def _explained(error: ValidationError) -> Iterator[Finding]:
    deepest = error
    while deepest.context:  # of several ways to be right the one that went furthest
        deepest = max(deepest.context, key=lambda each: len(each.absolute_path))
    path: Path = tuple(deepest.absolute_path)
    if deepest.validator in _UNKNOWN:
        yield from _unknown(path, deepest)
    elif deepest.validator == "required":
        given = cast(dict[str, Any], deepest.instance)
        for key in cast(list[str], deepest.validator_value):
            if key == "map" and "logicalType" not in given:  # taken for a map then
                yield path, "`logicalType` is missing; add it, such as `logicalType: string`"
            elif key not in given:
                yield path, f"`{key}` is missing; add it"
    elif deepest.validator == "type":
        kind = str(deepest.validator_value)
        yield path, f"this must be {_TYPES.get(kind, kind)}"
    elif deepest.validator == "enum":
        known = ", ".join(map(str, cast(list[Any], deepest.validator_value)))
        yield path, f"this must be one of {known}"
    else:
        yield path, deepest.message


def _unknown(path: Path, error: ValidationError) -> Iterator[Finding]:
    """Keys that the standard does not have here.

    Whatever else is wrong below a node makes all its keys unknown to the JSON schema, so that the
    model, where there is one, is asked which they really are.
    """
    level = next((each for each in reversed(path) if isinstance(each, str)), None)
    at_model = not path or isinstance(path[-1], int)
    known = (
        keys(_MODELS[level])
        if at_model and level in _MODELS
        else set(cast(dict[str, Any], error.schema).get("properties", {}))
    )
    for key in cast(dict[str, Any], error.instance):
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f"write `{close[0]}`" if close else "take it out, or make it a custom property"
            yield (*path, key), f"the standard has no key `{key}` here; {hint}"
