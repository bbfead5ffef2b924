"""Dates and times as suppliers write them: date patterns -> expressions.

Patterns are those of the JDK's `DateTimeFormatter`, as ODCS prescribes for
`logicalTypeOptions.format`; of its letters those of a date, of a time in 24 hours and of an
offset are read:
https://docs.oracle.com/javase/8/docs/api/java/time/format/DateTimeFormatter.html
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import polars as pl

from assay.domain.rules import RULES

RFC_3339: Final = "ISO_OFFSET_DATE_TIME"
"""The JDK's name of what RFC 3339 specifies: an offset, and a fraction of any length or none."""

_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_OFFSET: Final = "(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
_RULE: Final = next(rule for rule in RULES if rule.column == "timestamp")

_TOKEN: Final = re.compile(r"'(?P<quoted>[^']*)'|(?P<letters>([A-Za-z])\3*)|(?P<literal>[^'])")
_LETTERS: Final = {
    "yyyy": ("year", "[0-9]{4}"),
    "uuuu": ("year", "[0-9]{4}"),
    "yy": ("short_year", "[0-9]{2}"),
    "uu": ("short_year", "[0-9]{2}"),
    "MMM": ("month_name", "[A-Za-z]{3}"),
    "MM": ("month", "[0-9]{2}"),
    "M": ("month", "[0-9]{1,2}"),
    "dd": ("day", "[0-9]{2}"),
    "d": ("day", "[0-9]{1,2}"),
    "HH": ("hour", "[01][0-9]|2[0-3]"),
    "H": ("hour", "[01]?[0-9]|2[0-3]"),
    "mm": ("minute", "[0-5][0-9]"),
    "ss": ("second", "[0-5][0-9]"),
    "XXX": ("offset", _OFFSET),
    "xxx": ("offset", _OFFSET),
    **{"S" * digits: ("fraction", f"[0-9]{{{digits}}}") for digits in range(1, 10)},
}
_STRPTIME: Final = {
    "year": "%Y",
    "month": "%m",
    "month_name": "%b",
    "day": "%d",
    "hour": "%H",
    "minute": "%M",
    "second": "%S",
}
_HINT: Final = (
    "write yyyy or yy, MM, M or MMM, dd or d, HH or H, mm, ss, S for each digit of a fraction, "
    f"XXX for an offset, text in single quotes, or {RFC_3339} for RFC 3339"
)


@dataclass(frozen=True)
class Format:
    """One way of writing a date or a date and a time.

    Attributes:
        pattern: as the contract says it.
        matches: the regular expression of the texts that are written so.
        iso: the replacement that makes such a text ISO 8601; None where `strptime` needs none.
        strptime: what reads the text, or its ISO 8601; None: it is RFC 3339 then.
    """

    pattern: str
    matches: str
    iso: str | None
    strptime: str | None


def parse_format(pattern: str) -> Format:
    """Translates a pattern.

    `yy` is a year from 2000 to 2099, as in the JDK; a time that is not written is midnight.

    Raises:
        ValueError: it holds letters that are not read, or names no day; says what to write.
    """
    if pattern == RFC_3339:
        text = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[Tt ][0-9:]{{8}}(?:\.[0-9]+)?{_OFFSET}$"
        return Format(pattern, text, iso=None, strptime=None)
    matches, strptime = "", ""
    letters: list[str] = []
    end = 0
    for token in _TOKEN.finditer(pattern):
        end = token.end()
        each = token["letters"]
        if each is None:
            literal = token["literal"] or token["quoted"] or "'"
            matches += re.escape(literal)
            strptime += literal.replace("%", "%%")
        elif each in _LETTERS:
            letters.append(each)
            part, text = _LETTERS[each]
            matches += f"(?P<{part}>{text})"
            strptime += _STRPTIME.get(part, "")
        else:
            raise ValueError(f"`{each}` is not read in a date pattern; {_HINT}")
    if end < len(pattern):
        raise ValueError("a single quote in the date pattern is not closed")
    parts = [_LETTERS[each][0] for each in letters]
    days = {"day"}, {"year", "short_year"}, {"month", "month_name"}
    if len(set(parts)) < len(parts) or any(len(one & set(parts)) != 1 for one in days):
        raise ValueError("a date pattern must say day, month and year, and each part once")
    if "offset" in parts and {"M", "MMM", "d", "H"} & set(letters):
        raise ValueError("a date pattern with an offset must be padded: write MM, dd and HH")
    if set(parts) <= _STRPTIME.keys():
        return Format(pattern, f"^{matches}$", iso=None, strptime=strptime)
    return Format(
        pattern,
        f"^{matches}$",
        _iso(parts),
        None
        if "offset" in parts
        else "%Y-%m-%dT%H:%M:%S%.f".replace("%m", "%b" if "month_name" in parts else "%m"),
    )


def _iso(parts: Sequence[str]) -> str:
    year = "20${short_year}" if "short_year" in parts else "${year}"
    month = "${month_name}" if "month_name" in parts else "${month}"
    clock = ":".join(
        f"${{{each}}}" if each in parts else "00" for each in ("hour", "minute", "second")
    )
    fraction = ".${fraction}" if "fraction" in parts else ""
    offset = "${offset}" if "offset" in parts else ""
    return f"{year}-{month}-${{day}}T{clock}{fraction}{offset}"


def moment(text: pl.Expr, formats: Sequence[Format], zone: str) -> pl.Expr:
    """The moment that a text tells, in the first format that reads it.

    A time without an offset is read in `zone`: one that the clocks skip there is none, and of two
    with the same name it is the earlier.

    Returns:
        Datetime in µs and UTC; null where no format fits or the day does not exist, and outside
        of the years 1 to 9999.
    """
    return pl.coalesce(_moment(text, each, zone) for each in formats)


def _moment(text: pl.Expr, written: Format, zone: str) -> pl.Expr:
    fitting = pl.when(text.str.contains(written.matches)).then(text)
    if written.iso is not None:
        fitting = fitting.str.replace(written.matches, written.iso)
    if written.strptime is None:
        return _RULE.convert_column(fitting)
    utc = (
        fitting.str.to_datetime(written.strptime, time_unit="us", strict=False)
        .dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        .dt.convert_time_zone("UTC")
    )
    return pl.when(utc.is_between(pl.lit(_FIRST), pl.lit(_LAST))).then(utc)
