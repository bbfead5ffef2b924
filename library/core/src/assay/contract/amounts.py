"""Amounts as suppliers write them: separators, signs, parentheses -> expressions."""

import re
from dataclasses import dataclass
from typing import Final

import polars as pl

_BLANKS: Final = " \t\u00a0\u202f"
_MINUS: Final = "\u2212"


@dataclass(frozen=True)
class Writing:
    """How a supplier writes amounts.

    Attributes:
        decimal: stands before the decimals; one character.
        thousands: may stand between groups of three digits; a space stands for any blank.
        currency_sign: may stand before or after the digits.
    """

    decimal: str = "."
    thousands: str | None = None
    currency_sign: str | None = None


def canonical(text: pl.Expr, writing: Writing) -> pl.Expr:
    """An amount as `-1234.50`.

    Negative are `-5`, `5-` and `(5)`, with blanks anywhere around the digits.

    Returns:
        String; null where the text is not written so. Decimals stay as many as there are.
    """
    stripped = _BLANKS + "()+-" + _MINUS + (writing.currency_sign or "")
    digits = text.str.strip_chars(stripped)
    for each in _thousands(writing.thousands):
        digits = digits.str.replace_all(each, "", literal=True)
    if writing.decimal != ".":
        digits = digits.str.replace_all(writing.decimal, ".", literal=True)
    sign = pl.when(text.str.contains(f"[-({_MINUS}]")).then(pl.lit("-")).otherwise(pl.lit(""))
    return pl.when(text.str.contains(_pattern(writing))).then(sign + digits)


def signed(debit: pl.Expr, credit: pl.Expr) -> pl.Expr:
    """One amount of two canonical ones, of which at most one may be other than zero.

    Returns:
        String: negative where it is the debit, whatever sign that has; null where both are.
    """
    magnitude = debit.str.strip_prefix("-")
    return (
        pl.when(is_other_than_zero(credit))
        .then(credit)
        .when(is_other_than_zero(debit))
        .then(pl.lit("-") + magnitude)
        .otherwise(pl.coalesce(magnitude, credit.str.strip_prefix("-")))
    )


def is_other_than_zero(number: pl.Expr) -> pl.Expr:
    """Whether a canonical amount is neither null nor zero."""
    return number.str.contains("[1-9]").fill_null(value=False)


def _thousands(separator: str | None) -> tuple[str, ...]:
    if separator is None:
        return ()
    return (" ", "\u00a0", "\u202f") if separator == " " else (separator,)


def _pattern(writing: Writing) -> str:
    digits = "[0-9]+"
    if writing.thousands is not None:
        # The separator that opens is the one that goes on.
        grouped = "|".join(
            f"[0-9]{{1,3}}(?:{re.escape(each)}[0-9]{{3}})+"
            for each in _thousands(writing.thousands)
        )
        digits = f"(?:{grouped}|[0-9]+)"
    decimal = re.escape(writing.decimal)
    number = f"(?:{digits}(?:{decimal}[0-9]+)?|{decimal}[0-9]+)"
    blank, sign = f"[{_BLANKS}]*", f"[+{_MINUS}-]"
    signed_inside = ""
    if writing.currency_sign is not None:
        currency = re.escape(writing.currency_sign)
        signed_inside = f"|{currency}{blank}{sign}{blank}{number}"
        number = f"(?:(?:{currency}{blank})?{number}|{number}{blank}{currency})"
    plain = f"(?:{sign}{blank})?{number}|{number}{blank}[{_MINUS}-]"
    return rf"^(?:{plain}|\({blank}{number}{blank}\){signed_inside})$"
