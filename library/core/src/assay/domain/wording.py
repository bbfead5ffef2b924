"""Words for people: what is wrong with a value that they gave, and how many there are."""

from typing import Final

from pydantic_core import ErrorDetails

_WORDS: Final = {
    "bool_parsing": "must be true or false",
    "dict_type": "must be an object in JSON",
    "enum": "must be {expected}",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "extra_forbidden": "is unknown",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "json_invalid": "must be JSON",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "string_too_short": "must have {min_length} or more characters",
    "url_parsing": "must be a URL such as http://127.0.0.1:8000",
    "url_scheme": "must be a URL that begins with {expected_schemes}",
    "value_error": "{error}",
}


def worded(fault: ErrorDetails) -> str:
    """One of `ValidationError.errors()`, its context included, in plain words."""
    template = _WORDS.get(fault["type"])
    if template is None:
        return fault["msg"]
    facts = fault.get("ctx", {})
    return template.format_map({name: _short(value) for name, value in facts.items()})


def counted(number: int, one: str, many: str) -> str:
    """A number and what it counts, which is `one` of them or `many`."""
    return f"{number:,} {one if number == 1 else many}"


def _short(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
