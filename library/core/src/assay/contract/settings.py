"""What ODCS lacks: the custom properties of a server and of a property that Assay reads."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias, TypeVar

from open_data_contract_standard.model import CustomProperty
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from assay.contract.problems import Finding, Path


class _Settings(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, validate_by_name=True
    )


class ServerSettings(_Settings):
    """Of a server.

    Attributes:
        quote: opens and closes a quoted field; null where there are none.
        fallback_encodings: tried in this order for a record that `encoding` cannot decode.
    """

    quote: str | None = '"'
    fallback_encodings: list[str] = Field(default_factory=list[str])


class FromContent(_Settings):
    """Derivation of an id from the record's cells and its place among equal records."""

    source: Literal["content"] = Field(alias="from")


class FromSign(_Settings):
    """Derivation of a value from the sign of the amount."""

    source: Literal["amountSign"] = Field(alias="from")
    positive: str
    zero: str
    negative: str


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Header: TypeAlias = Annotated[str, Field(min_length=1)]
_Headers: TypeAlias = Annotated[list[_Header], BeforeValidator(_list), Field(min_length=1)]


class FromColumns(_Settings):
    """Derivation of a signed amount from two columns; each has one header or a list of them."""

    source: Literal["debitAndCredit"] = Field(alias="from")
    debit: _Headers
    credit: _Headers


class PropertySettings(_Settings):
    """Of a property.

    Attributes:
        ignored: the column is described, and not read.
        may_be_absent: a file may lack the column.
        default: what an empty cell means; without a `physicalName`, the value of every record.
        value_map: the supplier's words for the canonical values.
        derivation: what the value is derived from; it is in no column of its own then.
        decimal_separator: of amounts; a point unless given.
        thousands_separator: of amounts, between groups of three digits; a space is any blank.
        currency_sign: of amounts; may stand before or after the digits.
        further_formats: of timestamps, tried in this order after `logicalTypeOptions.format`.
    """

    ignored: bool = False
    may_be_absent: bool = False
    default: str | None = None
    value_map: dict[str, str] = Field(default_factory=dict[str, str])
    derivation: (
        Annotated[FromContent | FromSign | FromColumns, Field(discriminator="source")] | None
    ) = None
    decimal_separator: Literal[".", ","] = "."
    thousands_separator: Literal[".", ",", " ", "'", "\u2019", "_"] | None = None
    currency_sign: str | None = None
    further_formats: list[str] = Field(default_factory=list[str])


AnySettings = TypeVar("AnySettings", ServerSettings, PropertySettings)


def read_settings(
    model: type[AnySettings],
    custom: Sequence[CustomProperty] | None,
    path: Path,
    found: list[Finding],
) -> AnySettings:
    """Reads the custom properties at a path; those of other vendors are theirs.

    What is wrong is added to `found` and left out.
    """
    values: dict[str, object] = {}
    where: dict[str, Path] = {}
    for number, each in enumerate(custom or ()):
        name, at = each.property or "", (*path, "customProperties", number)
        if each.vendor not in {None, "assay"}:
            continue
        if name in values:
            found.append((at, f"the custom property `{name}` stands twice; keep one"))
        values[name], where[name] = each.value, at
    try:
        return model.model_validate(values)
    except ValidationError as error:
        names = [field.alias for field in model.model_fields.values()]
        for fault in error.errors(include_url=False):
            name, *deeper = fault["loc"]
            if name == "derivation":  # whose kind is told before what is wrong in it
                deeper = deeper[1:]
            name, inside = str(name), ".".join(map(str, deeper))
            if fault["type"] == "extra_forbidden" and not inside:
                message = (
                    f"no custom property here is called `{name}`; write one of "
                    f"{', '.join(str(each) for each in names)}, or name its `vendor`"
                )
            else:
                message = f"`{name}{f'.{inside}' if inside else ''}`: {fault['msg']}"
            at = where.get(name, path)
            found.append(((*at, "value", *deeper) if deeper else at, message))
            values.pop(name, None)
        return model.model_validate(values)
