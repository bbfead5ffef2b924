"""Settings of a service: a frozen model with one field a section.

`ASSAY_POSTGRES__URL` sets the field `url` of the section `postgres`, and `ASSAY_POSTGRES__URL_FILE`
names a file that holds its value. The environment goes before `.env` in the current directory.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from pydantic import BaseModel, Field, SecretStr, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from assay.domain.errors import Fatal
from assay.domain.wording import worded
from assay_adapters.environment.sections import OTHERS, is_optional, names

PREFIX: Final = "ASSAY_"

_MISSING: Final = " is missing"
_IN_FILE: Final = "_file"
_PASSWORD: Final = re.compile(r"(://[^:/@?#]*:)[^/?#]*@")
_QUERY: Final = re.compile(r"^(https?://[^?]*\?)[^#]*")  # of an API, where a token may stand


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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic names them
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, the environment, `.env`."""
        variables = (cast(EnvSettingsSource, each) for each in (env_settings, dotenv_settings))
        return init_settings, *(_filled(settings_cls, each) for each in variables)


AnySettings = TypeVar("AnySettings", bound=Settings)
Config = TypeVar("Config", bound=BaseModel)


class WrongSettings(Fatal):
    """Variables are missing, ill-typed or unknown to the product.

    Attributes:
        problems: each of them by name, and never a value.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(sorted(problems))
        lines = ["wrong settings", *(f"  {each}" for each in self.problems)]
        if any(each.endswith(_MISSING) for each in self.problems):
            lines.append(
                f"Set what is missing in the environment, or in .env in {Path.cwd()}, where "
                "`assay up` writes the addresses of local servers"
            )
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class Row:
    """One setting as it stands, with secrets blotted out."""

    name: str
    value: str
    origin: Literal["environment", ".env", "default"]


@dataclass(frozen=True)
class Survey:
    """All settings as they stand.

    Attributes:
        sections: every setting of those sections that can be read, in order.
        problems: all that is wrong, each once; a variable that nobody knows spoils no section.
    """

    sections: Mapping[str, Sequence[Row]]
    problems: Sequence[str]


def load(settings_class: type[AnySettings], *, strict: bool = True) -> AnySettings:
    """The settings of a service.

    Args:
        settings_class: its sections.
        strict: whether variables that are unknown to the product are an error.

    Raises:
        WrongSettings: names all that are.
    """
    try:
        problems = list(_unknown(settings_class)) if strict else []
        try:
            settings = settings_class()
        except ValidationError as error:
            problems.extend(_invalid(settings_class, error))
        else:
            if not problems:
                return settings
    except (OSError, UnicodeDecodeError) as error:
        problems = [f"the file .env cannot be read: {type(error).__name__}"]
    raise WrongSettings(problems)


def load_section(name: str, config: type[Config], *, strict: bool = True) -> Config:
    """One section by itself, as `load` reads it."""
    return getattr(load(made_of({name: config}), strict=strict), name)


def is_named(section: str) -> bool:
    """Whether the environment or `.env` says anything of a section."""
    begins = f"{PREFIX}{section}__".lower()
    return any(name.startswith(begins) for given in _given(Settings) for name in given)


def survey(configs: Mapping[str, type[BaseModel]]) -> Survey:
    """What stands in these sections, and all that is wrong, without failing.

    Optional ones of which nothing is said are left out.
    """
    # What is wrong with a file is told below.
    with suppress(OSError, UnicodeDecodeError, WrongSettings):
        configs = {
            name: config
            for name, config in configs.items()
            if is_named(name) or not is_optional(name)
        }
    problems: Sequence[str] = ()
    try:
        load(made_of(configs))
    except WrongSettings as error:
        problems = error.problems
    sections = dict[str, Sequence[Row]]()
    for name, config in configs.items():
        with suppress(WrongSettings):
            sections[name] = describe(load(made_of({name: config}), strict=False))
    return Survey(sections, problems)


def made_of(
    configs: Mapping[str, type[BaseModel]], base: type[AnySettings] = Settings
) -> type[AnySettings]:
    """Settings with these sections; one that can do without any variable may be absent.

    Args:
        configs: the sections, by their names.
        base: settings that these are added to.
    """
    fields: dict[str, Any] = {
        name: (
            config,
            ...
            if any(field.is_required() for field in config.model_fields.values())
            else Field(default_factory=config),
        )
        for name, config in configs.items()
    }
    return create_model("Sections", __base__=base, **fields)


def describe(settings: Settings) -> list[Row]:
    """Every setting of a service in the order of its sections, as they are to be shown."""
    environment, file = _given(type(settings))

    def origin(name: str) -> Literal["environment", ".env", "default"]:
        key = name.lower()
        return "environment" if key in environment else ".env" if key in file else "default"

    return [Row(name, _shown(value), origin(name)) for name, value in _values(settings, ())]


def _given(settings_class: type[Settings]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What the environment and `.env` hold, names in lower case."""
    environment, file = EnvSettingsSource(settings_class), DotEnvSettingsSource(settings_class)
    return _filled(settings_class, environment).env_vars, _filled(settings_class, file).env_vars


def _filled(settings_class: type[BaseSettings], source: EnvSettingsSource) -> EnvSettingsSource:
    """The source, with the content of a file for each setting whose `…_FILE` names one.

    Line feeds at its end are no part of it.

    Raises:
        WrongSettings: a file cannot be read, or the setting is given as well.
    """
    given = source.env_vars
    own = {name.lower() for name in _names(settings_class, ())}
    files = {
        name: path
        for name, path in given.items()
        if name.endswith(_IN_FILE) and name.removesuffix(_IN_FILE) in own and path
    }
    found, problems = {each: given[each] for each in given if each not in files}, list[str]()
    for name, path in files.items():
        setting = name.removesuffix(_IN_FILE)
        if setting in found:
            problems.append(f"{setting.upper()} and {name.upper()} are both set")
            continue
        try:
            found[setting] = Path(path).read_text("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            problems.append(f"{name.upper()}: {path} cannot be read: {type(error).__name__}")
    if problems:
        raise WrongSettings(problems)
    source.env_vars = found
    return source


def _unknown(settings_class: type[Settings]) -> Iterator[str]:
    environment, file = _given(settings_class)
    own = {name.upper() for name in _names(settings_class, ())}
    sections = names()
    for name in sorted({each.upper() for each in (*environment, *file)}):
        if not name.startswith(PREFIX) or name in own or name in OTHERS:
            continue
        section, delimiter, rest = name.removeprefix(PREFIX).partition("__")
        ours = section.lower() in settings_class.model_fields
        if delimiter and section.lower() in sections and not ours:
            continue
        others = set[str]()
        if delimiter and not ours:
            # What a section of another service holds is not known here.
            foreign = [each for each in sections if each not in settings_class.model_fields]
            alike = get_close_matches(section.lower(), foreign)
            others = {f"{PREFIX}{each.upper()}__{rest}" for each in alike}
        # Without what all of them begin with, which would make any two alike.
        near = get_close_matches(
            name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in own | others], n=1
        )
        yield f"{name} is unknown" + (f"; did you mean {PREFIX}{near[0]}?" if near else "")


def _invalid(settings_class: type[Settings], error: ValidationError) -> Iterator[str]:
    for each in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in each["loc"]]
        if each["type"] == "missing":
            for name in _required(settings_class, path):
                yield name.upper() + _MISSING
        else:
            yield f"{_name(path).upper()}: {worded(each)}"


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
    if isinstance(value, dict):  # of names that we do not know: any may be a secret
        names = cast(dict[str, object], value)
        return ",".join(f"{name}={SecretStr('*')}" for name in names)
    if isinstance(value, tuple):
        return ",".join(_shown(each) for each in cast(tuple[object, ...], value))
    return _QUERY.sub(r"\1**********", _PASSWORD.sub(r"\1**********@", str(value)))
