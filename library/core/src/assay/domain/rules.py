"""What each column of the canonical transaction must be: one table of rules.

A rule stands here once, as an expression over a column of text and as a function of one value;
property tests hold the two equal. `assay.domain.transaction` reads the table both ways.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

import polars as pl

from assay.domain.reject import ID_LIMIT

Value: TypeAlias = str | Decimal | datetime

OPERATION_TYPES: Final = ("payment", "direct_debit", "transfer", "refund")
SIDES: Final = ("debit", "credit")

# ISO 4217, active alphabetic codes (list one of the standard, without test codes).
CURRENCIES: Final = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN
    BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR
    FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY
    KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU
    MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON
    RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP
    TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XAG XAU XBA XBB XBC
    XBD XCD XCG XDR XOF XPD XPF XPT XSU XUA YER ZAR ZMW ZWG
    """.split()
)

# Control characters and the two Unicode line breaks; what is left counts as printable.
_UNPRINTABLE: Final = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
_AMOUNT: Final = r"^[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)$"
_DECIMALS: Final = r"\.[0-9]{3,}$"
_MAGNITUDE: Final = r"^[+-]?0*[0-9]{0,16}(?:\.[0-9]*)?$"
_TIMESTAMP: Final = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    r"(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])((?:[01][0-9]|2[0-3])):([0-5][0-9]))?$"
)
_LOCAL: Final = "%Y-%m-%dT%H:%M:%S"
_MOMENT: Final = pl.Datetime("us", "UTC")
_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@dataclass(frozen=True)
class Fault:
    """One way to break a rule: its reject code, what to say, and the twin tests for it.

    The message never holds the value.
    """

    code: str
    message: str
    in_column: Callable[[pl.Expr], pl.Expr]
    in_value: Callable[[str], bool]


@dataclass(frozen=True)
class Rule:
    """What one column of the canonical transaction must be.

    Attributes:
        required: whether null is a fault (`missing_…`). Empty text is null.
        faults: asked in this order of the text; the first that holds is reported.
        convert_column: text that has no fault -> the canonical type.
        convert_value: the same for one value.
        json_schema: what the JSON boundary says of it.
    """

    column: str
    dtype: pl.DataType
    required: bool
    faults: tuple[Fault, ...]
    convert_column: Callable[[pl.Expr], pl.Expr]
    convert_value: Callable[[str], Value]
    json_schema: dict[str, Any]


def _same(text: Any) -> Any:
    return text


def _matches(code: str, message: str, pattern: str, *, broken_if: bool) -> Fault:
    compiled = re.compile(pattern.replace("$", r"\Z"))
    return Fault(
        code,
        message,
        lambda text: text.str.contains(pattern) == pl.lit(value=broken_if),
        lambda text: (compiled.search(text) is not None) == broken_if,
    )


def _longer_than(column: str, limit: int) -> Fault:
    return Fault(
        f"{column}_too_long",
        f"{column} has more than {limit} characters",
        lambda text: text.str.len_chars() > limit,
        lambda text: len(text) > limit,
    )


def _one_of(column: str, values: frozenset[str] | tuple[str, ...], what: str) -> Fault:
    return Fault(
        f"invalid_{column}",
        f"{column} is not {what}",
        lambda text: ~text.is_in(sorted(values)),
        lambda text: text not in values,
    )


def _surrogates(column: str) -> Fault:
    """Frames cannot hold a lone surrogate; JSON can."""
    return Fault(
        f"invalid_{column}",
        f"{column} holds a lone surrogate",
        lambda _: pl.lit(value=False),
        lambda text: any("\ud800" <= character <= "\udfff" for character in text),
    )


def _text_faults(column: str, limit: int) -> tuple[Fault, ...]:
    return (
        _surrogates(column),
        _longer_than(column, limit),
        _matches(f"invalid_{column}", f"{column} holds a NUL", r"\x00", broken_if=True),
    )


def _timestamp_column(text: pl.Expr) -> pl.Expr:
    moment = text.map_batches(_moments, return_dtype=_MOMENT, is_elementwise=True)
    valid = text.str.contains(_TIMESTAMP) & moment.is_between(pl.lit(_FIRST), pl.lit(_LAST))
    return pl.when(valid).then(moment)


def _moments(texts: pl.Series) -> pl.Series:
    """The moments of texts that the pattern holds of; of others anything."""
    # Nearly all are written like this, and it is read in a third of the time.
    moments = texts.str.to_datetime(f"{_LOCAL}Z", time_unit="us", strict=False, cache=False)
    moments = moments.dt.replace_time_zone("UTC")
    others = (moments.is_null() & texts.is_not_null()).arg_true()
    if others.is_empty():
        return moments
    return moments.scatter(others, pl.select(_moment(pl.lit(texts.gather(others)))).to_series())


def _moment(text: pl.Expr) -> pl.Expr:
    # Once the pattern holds, day and clock stand at fixed places.
    local = pl.concat_str(text.str.slice(0, 10), text.str.slice(11, 8), separator="T")
    rest = text.str.slice(19)
    fraction = rest.str.extract(r"^\.([0-9]+)", 1).str.pad_end(6, "0").str.slice(0, 6)
    offset = rest.str.extract("([+-][0-9]{2}:[0-9]{2})$", 1)
    minutes = offset.str.slice(1, 2).cast(pl.Int64) * 60 + offset.str.slice(4, 2).cast(pl.Int64)
    away = pl.duration(
        minutes=pl.when(offset.str.starts_with("-")).then(-minutes).otherwise(minutes).fill_null(0),
        microseconds=-fraction.cast(pl.Int64).fill_null(0),
    )
    moment = local.str.to_datetime(_LOCAL, time_unit="us", strict=False) - away
    return moment.dt.replace_time_zone("UTC")


def _timestamp_value(text: str) -> datetime | None:
    match = re.fullmatch(_TIMESTAMP, text)
    if match is None:
        return None
    day, clock, fraction, sign, hours, minutes = match.groups()
    try:
        local = datetime.fromisoformat(f"{day}T{clock}+00:00")
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        moment = local + offset if sign == "-" else local - offset
        return moment + timedelta(microseconds=int((fraction or "0").ljust(6, "0")[:6]))
    except (ValueError, OverflowError):
        return None


def _to_timestamp(text: str) -> datetime:
    moment = _timestamp_value(text)
    if moment is None:
        raise ValueError("no RFC 3339 timestamp")
    return moment


RULES: Final = (
    Rule(
        "transaction_id",
        pl.String(),
        required=True,
        faults=(
            _surrogates("transaction_id"),
            _longer_than("transaction_id", ID_LIMIT),
            _matches(
                "invalid_transaction_id",
                "transaction_id must be printable, without blanks at its ends",
                rf"^ | $|{_UNPRINTABLE}",
                broken_if=True,
            ),
        ),
        convert_column=_same,
        convert_value=_same,
        json_schema={"type": "string", "minLength": 1, "maxLength": ID_LIMIT},
    ),
    Rule(
        "description",
        pl.String(),
        required=True,
        faults=_text_faults("description", 1024),
        convert_column=_same,
        convert_value=_same,
        json_schema={"type": "string", "minLength": 1, "maxLength": 1024},
    ),
    Rule(
        "amount",
        pl.Decimal(18, 2),
        required=True,
        faults=(
            _matches("invalid_amount", "amount is not a number", _AMOUNT, broken_if=False),
            _matches(
                "amount_precision", "amount has more than two decimals", _DECIMALS, broken_if=True
            ),
            _matches(
                "amount_range",
                "amount has more than 16 digits before its decimals",
                _MAGNITUDE,
                broken_if=False,
            ),
        ),
        # The side carries the direction; what is left of the sign is judged by `_SIGN`.
        convert_column=lambda text: text.str.replace("^[+-]?0*", "0").cast(
            pl.Decimal(18, 2), strict=False
        ),
        convert_value=lambda text: Decimal(text).quantize(Decimal("0.01")),
        json_schema={
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": _AMOUNT}],
            "description": "Exact, at most two decimals; a sign must agree with side.",
        },
    ),
    Rule(
        "currency",
        pl.String(),
        required=True,
        faults=(_one_of("currency", CURRENCIES, "an ISO 4217 code"),),
        convert_column=_same,
        convert_value=_same,
        json_schema={"type": "string", "pattern": "^[A-Z]{3}$"},
    ),
    Rule(
        "timestamp",
        _MOMENT,
        required=True,
        faults=(
            Fault(
                "invalid_timestamp",
                "timestamp is not a date and time as in RFC 3339",
                lambda text: _timestamp_column(text).is_null(),
                lambda text: _timestamp_value(text) is None,
            ),
        ),
        convert_column=_timestamp_column,
        convert_value=_to_timestamp,
        json_schema={"type": "string", "format": "date-time"},
    ),
    Rule(
        "merchant",
        pl.String(),
        required=False,
        faults=_text_faults("merchant", 256),
        convert_column=_same,
        convert_value=_same,
        json_schema={"type": "string", "maxLength": 256},
    ),
    Rule(
        "operation_type",
        pl.String(),
        required=True,
        faults=(
            _one_of("operation_type", OPERATION_TYPES, "one of " + ", ".join(OPERATION_TYPES)),
        ),
        convert_column=_same,
        convert_value=_same,
        json_schema={"type": "string", "enum": list(OPERATION_TYPES)},
    ),
    Rule(
        "side",
        pl.String(),
        required=True,
        faults=(_one_of("side", SIDES, "debit or credit"),),
        convert_column=_same,
        convert_value=_same,
        json_schema={"type": "string", "enum": list(SIDES)},
    ),
    Rule(
        "mcc",
        pl.String(),
        required=False,
        faults=(
            _matches(
                "invalid_mcc", "mcc is not four digits (ISO 18245)", "^[0-9]{4}$", broken_if=False
            ),
        ),
        convert_column=_same,
        convert_value=_same,
        json_schema={"type": "string", "pattern": "^[0-9]{4}$"},
    ),
)
"""The rules, in the order in which a record's faults are reported."""

COLUMNS: Final = tuple(rule.column for rule in RULES)

MISSING: Final = tuple(
    Fault(f"missing_{rule.column}", f"{rule.column} is missing", pl.Expr.is_null, lambda _: False)
    for rule in RULES
)
SIGN: Final = Fault(
    "amount_sign",
    "amount is negative, which only a debit may be",
    lambda text: text.str.contains("^-.*[1-9]") & (pl.col("side") == "credit"),
    lambda text: re.search("^-.*[1-9]", text, re.DOTALL) is not None,
)


def fault_in(column: str, text: str) -> Fault | None:
    """The first fault of a text that is to stand in a column, without regard to other columns."""
    rule, missing = next(
        each for each in zip(RULES, MISSING, strict=True) if each[0].column == column
    )
    if not text:
        return missing if rule.required else None
    return next((each for each in rule.faults if each.in_value(text)), None)
