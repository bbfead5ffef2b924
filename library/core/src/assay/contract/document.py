"""ODCS documents -> compiled contracts, with everything that is wrong found at once.

A document says `servers[]` (format, delimiter, encoding) and one `schema[]`, whose properties are
named as the canonical columns; `physicalName` and `synonyms` are the headers that they have in a
file. What the standard has no key for stands in `customProperties`: see `assay.contract.settings`.
"""

import codecs
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import polars as pl
import yaml
from open_data_contract_standard.model import OpenDataContractStandard, SchemaProperty, Server
from pydantic import ValidationError

from assay.contract.amounts import Writing
from assay.contract.contract import STATUSES, ByColumn, BySign, Column, Contract, header_key
from assay.contract.problems import (
    ContractError,
    Finding,
    Path,
    Problem,
    located,
    repeated_keys,
)
from assay.contract.settings import (
    FromColumns,
    FromContent,
    FromSign,
    PropertySettings,
    ServerSettings,
    read_settings,
)
from assay.contract.standard import deviations, keys
from assay.contract.timestamps import Format, parse_format
from assay.domain.dialect import Dialect
from assay.domain.rules import COLUMNS, RULES, Rule

_HOW: Final = {
    "transaction_id": ", or derive it with the custom property `derivation: {from: content}`",
    "amount": ", or make it of two with `derivation: {from: debitAndCredit, debit: …, credit: …}`",
    "currency": ", or give it the custom property `default`",
    "side": ", or derive it from the amount's sign with the custom property `derivation`",
    "operation_type": ", or derive it or give it a `default` with a custom property",
}
# The columns that a setting is for; `ignored` and `mayBeAbsent` are for all.
_FOR: Final = {
    "decimal_separator": ("amount",),
    "thousands_separator": ("amount",),
    "currency_sign": ("amount",),
    "further_formats": ("timestamp",),
    "default": ("description", "currency", "merchant", "operation_type", "side", "mcc"),
    "value_map": ("description", "currency", "merchant", "operation_type", "side", "mcc"),
    "derivation": ("transaction_id", "amount", "operation_type", "side"),
}
_DERIVED: Final = {
    FromContent: ("transaction_id",),
    FromColumns: ("amount",),
    FromSign: ("operation_type", "side"),
}
_ASCII: Final = bytes(range(128))
_REST: Final = bytes(range(128, 256))


def parse(text: str, name: str) -> Contract:
    """Reads a contract.

    Args:
        text: YAML, or JSON, which is YAML.
        name: what messages call it.

    Raises:
        ContractError: it cannot be used; tells everything that is wrong with it.
    """
    try:
        if any(isinstance(each, yaml.AliasEvent) for each in yaml.parse(text, yaml.SafeLoader)):
            # A few of them that name each other stand for billions of nodes.
            raise ContractError(name, [Problem(1, "", "aliases (`*name`) are not taken")])
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        document: object = yaml.safe_load(text)
    except RecursionError:
        raise ContractError(name, [Problem(1, "", "this is nested too deeply")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 1 if mark is None else mark.line + 1
        what = getattr(error, "problem", None) or str(error)
        raise ContractError(name, [Problem(line, "", f"this is no YAML: {what}")]) from None
    if node is None or not isinstance(document, dict):
        message = "this is no ODCS document; `assay contract new FILE` drafts one"
        raise ContractError(name, [Problem(1, "", message)])
    found: list[Finding] = [*repeated_keys(node), *deviations(cast(object, document))]
    known = keys(OpenDataContractStandard)
    try:
        odcs = OpenDataContractStandard.model_validate(
            {key: value for key, value in cast(dict[str, Any], document).items() if key in known}
        )
    except ValidationError as error:
        if not found:
            found = [(each["loc"], each["msg"]) for each in error.errors()]
        raise ContractError(name, located(node, found)) from None
    contract = _compile(odcs, found)
    if found:
        raise ContractError(name, located(node, found))
    return contract


def _compile(odcs: OpenDataContractStandard, found: list[Finding]) -> Contract:
    dialect = _dialect(odcs.servers or [], found)
    schemas = odcs.schema_ or []
    if len(schemas) != 1:
        found.append((("schema",), f"it holds {len(schemas)} schemas; describe exactly one"))
    properties = (schemas[0].properties or []) if schemas else []
    at: Path = ("schema", 0, "properties")
    columns: dict[str, Column] = {}
    amount, formats, zone = Writing(), tuple[Format, ...](), "UTC"
    derives_id = False
    for number, each in enumerate(properties):
        path = (*at, number)
        settings = read_settings(PropertySettings, each.customProperties, path, found)
        if settings.ignored:
            continue
        if each.name not in COLUMNS:
            message = (
                f"a transaction has no column `{each.name}`; it has {', '.join(COLUMNS)}. "
                "Rename it, or give it the custom property `ignored: true`"
            )
            found.append(((*path, "name"), message))
            continue
        if each.name in columns:
            found.append(((*path, "name"), f"`{each.name}` stands twice; keep one"))
        columns[each.name] = _column(each, settings, path, found)
        derives_id = derives_id or isinstance(settings.derivation, FromContent)
        if each.name == "amount":
            amount = _writing(settings, path, found)
        elif each.name == "timestamp":
            formats = _formats(each, settings, path, found)
            zone = _zone(each, formats, path, found)
    for rule in RULES:
        if rule.required and rule.column not in columns:
            how = _HOW.get(rule.column, "")
            message = f"no property is named `{rule.column}`; say which header it has{how}"
            found.append((at, message))
    _check_direction(columns, at, found)
    return Contract(
        odcs.id or "",
        odcs.version or "",
        _status(odcs, found),
        dialect,
        derives_id,
        zone,
        tuple(columns.values()),
        amount,
        formats,
    )


def _status(odcs: OpenDataContractStandard, found: list[Finding]) -> str:
    # ODCS does not require one, and who wrote a document without it meant it to be used.
    status = "active" if odcs.status is None else odcs.status
    if status not in STATUSES:
        found.append((("status",), f"`{status}` is no status; write one of {', '.join(STATUSES)}"))
    return status


def _column(
    each: SchemaProperty, settings: PropertySettings, path: Path, found: list[Finding]
) -> Column:
    rule = next(rule for rule in RULES if rule.column == each.name)
    for setting, columns in _FOR.items():
        if setting in settings.model_fields_set and rule.column not in columns:
            name = PropertySettings.model_fields[setting].alias
            found.append((path, f"the custom property `{name}` is for {', '.join(columns)} only"))
    derivation = settings.derivation
    by_sign, by_column = _derived(each, rule, derivation, path, found)
    for value in (*settings.value_map.values(), settings.default):
        if value is not None:
            _check(rule, value, path, found)
    nowhere = derivation is not None or (settings.default is not None and not each.physicalName)
    headers = (
        each.physicalName or rule.column,
        *(one.synonym or "" for one in each.synonyms or ()),
    )
    return Column(
        name=rule.column,
        headers=() if nowhere else headers,
        may_be_absent=settings.may_be_absent,
        required=bool(each.required),
        default=settings.default,
        values=settings.value_map,
        by_sign=by_sign,
        by_column=by_column,
    )


def _derived(
    each: SchemaProperty,
    rule: Rule,
    derivation: FromContent | FromSign | FromColumns | None,
    path: Path,
    found: list[Finding],
) -> tuple[BySign | None, ByColumn | None]:
    """What a column is derived from, if it is from an amount's sign or from two columns."""
    if derivation is None:
        return None, None
    for key, given in ("physicalName", each.physicalName), ("synonyms", each.synonyms):
        if given:
            found.append((path, f"either it has `{key}` or it is derived; keep one"))
    if rule.column not in _DERIVED[type(derivation)]:
        found.append((path, f"`{rule.column}` cannot be derived from {derivation.source}"))
    if isinstance(derivation, FromSign):
        for value in (derivation.positive, derivation.zero, derivation.negative):
            _check(rule, value, path, found)
        return BySign(derivation.positive, derivation.zero, derivation.negative), None
    if isinstance(derivation, FromColumns):
        if {*map(header_key, derivation.debit)} & {*map(header_key, derivation.credit)}:
            found.append((path, "debit and credit cannot have the same header"))
        return None, ByColumn(tuple(derivation.debit), tuple(derivation.credit))
    return None, None


def _check_direction(columns: dict[str, Column], at: Path, found: list[Finding]) -> None:
    """What two columns say of an amount's direction the side may not turn round."""
    amount, side = columns.get("amount"), columns.get("side")
    if amount is None or amount.by_column is None or side is None or side.by_sign is None:
        return
    if (side.by_sign.positive, side.by_sign.negative) != ("credit", "debit"):
        message = "of a debit and a credit column the debit is negative: write positive: credit"
        found.append((at, f"`side`: {message}, negative: debit"))


def _check(rule: Rule, value: str, path: Path, found: list[Finding]) -> None:
    """A value that the contract itself gives must keep the column's rule."""
    fault = next((fault for fault in rule.faults if fault.in_value(value)), None)
    if fault is not None:
        found.append((path, f"`{value}` cannot stand in `{rule.column}`: {fault.message}"))


def _writing(settings: PropertySettings, path: Path, found: list[Finding]) -> Writing:
    decimal, thousands = settings.decimal_separator, settings.thousands_separator
    sign = settings.currency_sign
    if thousands == decimal:
        found.append((path, "decimals and thousands cannot have the same separator"))
    if sign is not None and (not sign.strip() or set(sign) & set("0123456789+-()" + decimal)):
        found.append((path, "a currency sign cannot hold digits, signs or the decimal separator"))
    return Writing(decimal, thousands, sign)


def _formats(
    each: SchemaProperty, settings: PropertySettings, path: Path, found: list[Finding]
) -> tuple[Format, ...]:
    options = each.logicalTypeOptions or {}
    if each.logicalType != "timestamp":
        found.append(((*path, "logicalType"), "the logicalType of `timestamp` must be timestamp"))
    if "format" not in options:
        found.append((path, "say in `logicalTypeOptions.format` how times are written"))
    formats: list[Format] = []
    for pattern in (options.get("format"), *settings.further_formats):
        if isinstance(pattern, str):
            try:
                formats.append(parse_format(pattern))
            except ValueError as error:
                found.append(((*path, "logicalTypeOptions", "format"), f"`{pattern}`: {error}"))
    return tuple(formats)


def _zone(each: SchemaProperty, formats: Sequence[Format], path: Path, found: list[Finding]) -> str:
    zone = (each.logicalTypeOptions or {}).get("defaultTimezone")
    if zone is None:
        if any(one.strptime is not None for one in formats):
            message = (
                "some times do not say their offset: name their zone in "
                "`logicalTypeOptions.defaultTimezone`, such as Europe/Paris or UTC"
            )
            found.append((path, message))
        return "UTC"
    try:
        pl.Series([datetime(2000, 1, 1, tzinfo=UTC)]).dt.convert_time_zone(zone)
    except pl.exceptions.ComputeError:
        at = (*path, "logicalTypeOptions", "defaultTimezone")
        found.append((at, f"`{zone}` is no time zone; write a name such as Europe/Paris or UTC"))
        return "UTC"
    return str(zone)


def _dialect(servers: Sequence[Server], found: list[Finding]) -> Dialect:
    """The dialect that all servers with CSV files must agree on."""
    dialects: list[Dialect] = []
    for number, each in enumerate(servers):
        path: Path = ("servers", number)
        settings = read_settings(ServerSettings, each.customProperties, path, found)
        if (each.format or "").lower() != "csv":
            continue
        delimiter, quote = each.delimiter or ",", settings.quote
        for key, character in ("delimiter", delimiter), ("customProperties", quote):
            if character is not None and not _separates(character):
                message = f"`{character}` cannot be it; write one character of ASCII, no letter"
                found.append(((*path, key), message))
        if quote == delimiter:
            found.append((path, "the delimiter cannot be the quote as well"))
        encoding = each.encoding or "utf-8"
        for key, name in (
            ("encoding", encoding),
            *(("customProperties", one) for one in settings.fallback_encodings),
        ):
            if not _readable(name, fallback=key != "encoding"):
                message = f"`{name}` cannot be read; write UTF-8, UTF-16, cp1252 or iso-8859-15"
                found.append(((*path, key), message))
        dialects.append(Dialect(delimiter, quote, encoding, tuple(settings.fallback_encodings)))
    if not dialects:
        found.append((("servers",), "no server has the `format: csv`; describe where files lie"))
    if len(set(dialects)) > 1:
        found.append((("servers",), "all servers with CSV files must have the same dialect"))
    return dialects[0] if dialects else Dialect()


def _separates(character: str) -> bool:
    return (
        len(character) == 1
        and character.isascii()
        and not character.isalnum()
        and (character not in "\r\n\0")
    )


def _readable(encoding: str, *, fallback: bool) -> bool:
    """Whether records can be cut in it: Unicode, or ASCII with one byte a character."""
    try:
        name = codecs.lookup(encoding).name
        if name.startswith(("utf-16", "utf-32")):
            return not fallback
        if name in {"utf-8", "utf-8-sig"}:
            return True
        single = len(_REST.decode(encoding, "replace")) == len(_REST)
        return single and _ASCII.decode(encoding) == _ASCII.decode("ascii")
    except (LookupError, UnicodeError):
        return False
