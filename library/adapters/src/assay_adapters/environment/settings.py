"""Settings of a service: a frozen model with one field a section.

`ASSAY_POSTGRES__URL` sets the field `url` of the section `postgres`. The environment goes before
`.env` in the current directory.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeVar, cast

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
)

from assay.domain.errors import Fatal
from assay_adapters.environment.sections import OTHERS, SECTIONS

PREFIX: Final = "ASSAY_"

_PASSWORD: Final = re.compile(r"(://[^:/@?#]*:)[^/?#]*@")


class Settings(BaseSettings):
    """What a service's settings derive from: one field a section, each a frozen model."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        enable_decoding=False,  # a list is text that its field splits, never JSON
        extra="ignore",  # `_unknown` says more than pydantic would
        frozen=True,
    )


AnySettings = TypeVar("AnySettings", bound=Settings)


@dataclass(frozen=True)
class Row:
    """One setting as it stands, with secrets blotted out."""

    name: str
    value: str
    origin: Literal["environment", ".env", "default"]


def load(settings_class: type[AnySettings]) -> AnySettings:
    """The settings of a service.

    Raises:
        Fatal: variables are missing, ill-typed or unknown to the product; names each of them, and
            never a value.
    """
    try:
        problems = list(_unknown(settings_class))
        try:
            settings = settings_class()
        except ValidationError as error:
            problems.extend(_invalid(settings_class, error))
        else:
            if not problems:
                return settings
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"the file .env cannot be read: {type(error).__name__}") from None
    raise Fatal("wrong settings\n" + "\n".join(f"  {each}" for each in sorted(problems)))


def describe(settings: Settings) -> list[Row]:
    """Every setting of a service in the order of its sections, as they are to be shown."""
    environment, file = _given(type(settings))

    def origin(name: str) -> Literal["environment", ".env", "default"]:
        key = name.lower()
        return "environment" if key in environment else ".env" if key in file else "default"

    return [Row(name, _shown(value), origin(name)) for name, value in _values(settings, ())]


def _given(settings_class: type[Settings]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What the environment and `.env` hold, names in lower case."""
    return EnvSettingsSource(settings_class).env_vars, DotEnvSettingsSource(settings_class).env_vars


def _unknown(settings_class: type[Settings]) -> Iterator[str]:
    environment, file = _given(settings_class)
    own = {name.upper() for name in _names(settings_class, ())}
    for name in sorted({each.upper() for each in (*environment, *file)}):
        if not name.startswith(PREFIX) or name in own or name in OTHERS:
            continue
        section, delimiter, rest = name.removeprefix(PREFIX).partition("__")
        ours = section.lower() in settings_class.model_fields
        if delimiter and section.lower() in SECTIONS and not ours:
            continue
        others = set[str]()
        if delimiter and not ours:
            others = {f"{PREFIX}{each.upper()}__{rest}" for each in SECTIONS}
        near = get_close_matches(name, own | others, n=1)
        yield f"{name} is unknown" + (f"; did you mean {near[0]}?" if near else "")


def _invalid(settings_class: type[Settings], error: ValidationError) -> Iterator[str]:
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        path = [str(part) for part in each["loc"]]
        if each["type"] == "missing":
            for name in _required(settings_class, path):
                yield f"{name.upper()} is missing"
        else:
            yield f"{_name(path).upper()}: {each['msg']}"


def _required(model: type[BaseModel], path: list[str]) -> Iterator[str]:
    """The names of what is missing at a path: a field, or what a section cannot be without."""
    inner: Any = model
    for part in path:
        inner = inner.model_fields[part].annotation
    if not _is_model(inner):
        yield _name(path)
        return
    for name, field in inner.model_fields.items():
        if field.is_required():
            yield from _required(model, [*path, name])


def _names(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner: Any = field.annotation
        if _is_model(inner):
            yield from _names(inner, (*path, name))
        else:
            yield _name((*path, name))


def _values(model: BaseModel, path: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _values(value, (*path, name))
        else:
            yield _name((*path, name)).upper(), value


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _name(path: list[str] | tuple[str, ...]) -> str:
    return PREFIX + "__".join(path)


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return str(value)
    if isinstance(value, tuple):
        return ",".join(_shown(each) for each in cast(tuple[object, ...], value))
    return _PASSWORD.sub(r"\1**********@", str(value))
