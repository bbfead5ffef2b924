"""Files that hurt, each with what must become of every record in it."""

import codecs
import gzip
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from demo.samples import HEADER, csv

HEAD = HEADER.encode()


class Bad(NamedTuple):
    """A record that is rejected: its bytes, and what the reject says."""

    raw: bytes
    code: str
    field: str | None = None


Record: TypeAlias = bytes | Bad


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        name: with its suffix.
        body: as it is stored.
        records: of those that are read all, in order; None where they are not counted.
        says: what is said of it where it cannot be read to its end.
    """

    name: str
    body: bytes
    records: tuple[Record, ...] = ()
    says: str | None = None

    @property
    def rejects(self) -> list[tuple[int, str, str | None, bytes]]:
        """Position, code, field and bytes of each reject."""
        return [
            (position, each.code, each.field, each.raw)
            for position, each in enumerate(self.records)
            if isinstance(each, Bad)
        ]


def line(
    transaction_id: str,
    description: str = "CORNER BAKERY",
    *,
    amount: str = "-1,00",
    timestamp: str = "2024-01-02 10:00:00",
    merchant: str = "",
    operation: str = "payment",
    side: str = "debit",
) -> bytes:
    """A record of `contracts/transactions.odcs.yaml`."""
    cells = (transaction_id, description, amount, timestamp, merchant, operation, side)
    return ";".join(cells).encode()


def case(name: str, *records: Record, head: bytes = HEAD, newline: bytes = b"\n") -> Case:
    """A file of these records."""
    raw = [each.raw if isinstance(each, Bad) else each for each in records]
    return Case(f"{name}.csv", newline.join([head, *raw, b""]), records)


def unreadable(name: str, body: bytes, says: str) -> Case:
    """A file of which nothing is read."""
    return Case(name, body, says=says)


# What an amount means, or the code of its reject.
AMOUNTS = {
    "-12,50": "12.50",
    "12,50": "12.50",
    "12": "12.00",
    "12,5": "12.50",
    "+12,50": "12.50",
    "(12,00)": "12.00",
    "12-": "12.00",
    "12,00-": "12.00",
    " -\u00a012,00 ": "12.00",
    "\u221212,00": "12.00",
    "0": "0.00",
    "-0,00": "0.00",
    "0000000000000000000000012,00": "12.00",
    "9999999999999999,99": "9999999999999999.99",
    "10000000000000000,00": "amount_range",
    "9" * 400: "amount_range",
    "1,005": "amount_precision",
    "1,000": "amount_precision",
    "0,001": "amount_precision",
    "": "missing_amount",
    " ": "missing_amount",
    "12.50": "invalid_amount",
    "1.234,50": "invalid_amount",
    "1,234.50": "invalid_amount",
    "1 234,50": "invalid_amount",
    "(12.00)": "invalid_amount",
    "(12,00": "invalid_amount",
    "(-12,00)": "invalid_amount",
    "--12": "invalid_amount",
    "-12-": "invalid_amount",
    "NaN": "invalid_amount",
    "Infinity": "invalid_amount",
    "-inf": "invalid_amount",
    "1e400": "invalid_amount",
    "1E2": "invalid_amount",
    "0x1F": "invalid_amount",
    "12,50 EUR": "invalid_amount",
    "EUR 12,50": "invalid_amount",
    "12,": "invalid_amount",
    ",": "invalid_amount",
    "-": "invalid_amount",
    "twelve": "invalid_amount",
    "true": "invalid_amount",
    "\uff11\uff12,50": "invalid_amount",  # digits, but not these
    "1_000": "invalid_amount",
    "=1+1": "invalid_amount",
}

# When a time is in UTC, or the code of its reject.
TIMES = {
    "2024-01-02 10:00:00": "2024-01-02 09:00:00",
    "2024-07-02T10:00:00": "2024-07-02 08:00:00",
    "2024-01-02T10:00:00Z": "2024-01-02 10:00:00",
    "2024-01-02T10:00:00.123456789+02:00": "2024-01-02 08:00:00.123456",
    "2024-01-02": "2024-01-01 23:00:00",
    " 2024-02-29 ": "2024-02-28 23:00:00",
    "2024-10-27 02:30:00": "2024-10-27 00:30:00",  # the first of two
    "9999-12-31 23:59:59": "9999-12-31 22:59:59",
    "2024-03-31 02:30:00": "invalid_timestamp",  # there was no such hour
    "2024-02-30 10:00:00": "invalid_timestamp",
    "2023-02-29": "invalid_timestamp",
    "2024-13-01": "invalid_timestamp",
    "2024-00-10": "invalid_timestamp",
    "2024-01-32": "invalid_timestamp",
    "2024-01-02 24:00:00": "invalid_timestamp",
    "2024-01-02 23:60:00": "invalid_timestamp",
    "2024-01-02 23:59:60": "invalid_timestamp",
    "2024-01-02T10:00:00+24:00": "invalid_timestamp",
    "02/01/2024": "invalid_timestamp",
    "01-02-2024": "invalid_timestamp",
    "2024/01/02": "invalid_timestamp",
    "2024-1-2": "invalid_timestamp",
    "2 Jan 2024": "invalid_timestamp",
    "2024-01-02 10:00": "invalid_timestamp",
    "2024-01-02 10:00:00 PM": "invalid_timestamp",
    "20240102": "invalid_timestamp",
    "1704189600": "invalid_timestamp",
    "45293,5": "invalid_timestamp",
    "0000-01-01": "invalid_timestamp",
    "0001-01-01": "invalid_timestamp",  # a year earlier in UTC
    "10000-01-01": "invalid_timestamp",
    "-2024-01-02": "invalid_timestamp",
    "tomorrow": "invalid_timestamp",
    "": "missing_timestamp",
}


def _told(prefix: str, name: str, meanings: dict[str, str]) -> tuple[Record, ...]:
    records: list[Record] = []
    for number, (text, meaning) in enumerate(meanings.items()):
        raw = line(f"{prefix}{number}", **{name: text})
        records.append(raw if meaning[0].isdigit() else Bad(raw, meaning, name))
    return tuple(records)


def _wide(encoding: str) -> Case:
    """A file in UTF-16 or UTF-32, whose records are kept in UTF-8."""
    good = line(f"{encoding}-1", "CAF\u00c9 \u2615 \U0001f600")
    bad = line(f"{encoding}-2", "\u3042", amount="?")
    text = b"\r\n".join([HEAD, good, bad]).decode()
    body = ("\ufeff" + text).encode(encoding)
    return Case(f"{encoding}.csv", body, (good, Bad(bad, "invalid_amount", "amount")))


_PACKED = gzip.compress(csv(20_000, seed=90, broken=0.0))
_CUT = HEADER.replace("merchant;", "")

CASES = (
    case(
        "ragged",
        line("RAG-1"),
        Bad(b"RAG-2;CORNER BAKERY;-1,00", "wrong_field_count"),
        Bad(line("RAG-3") + b";", "wrong_field_count"),
        Bad(b"RAG-4", "wrong_field_count"),
        Bad(b" ", "wrong_field_count"),
        Bad(b";" * 5_000, "wrong_field_count"),
        Bad(b";;;;;;", "missing_transaction_id", "transaction_id"),
        line("RAG-5"),
    ),
    case(
        "nul",
        line("NUL-1"),
        Bad(line("NUL-2", "CORNER\0BAKERY"), "invalid_description", "description"),
        Bad(line("NUL-3", merchant="\0"), "invalid_merchant", "merchant"),
        Bad(line("NUL\0-4"), "invalid_transaction_id", "transaction_id"),
        Bad(line("NUL-5", amount="-1\0,00"), "invalid_amount", "amount"),
        Bad(line("NUL-6", timestamp="2024-01-02\0"), "invalid_timestamp", "timestamp"),
        Bad(line("NUL-7", operation="payment\0"), "invalid_operation_type", "operation_type"),
        Bad(line("NUL-8", side="\0debit"), "invalid_side", "side"),
        Bad(line("NUL\0-9", amount="?"), "invalid_amount", "amount"),
        Bad(b"\0" * 100, "wrong_field_count"),
        line("NUL-10"),
    ),
    case(
        "encoding",
        line("ENC-1", "CAF\u00c9"),
        Bad(line("ENC-2", "CAF\u00c9").decode().encode("latin-1"), "invalid_encoding"),
        Bad(line("ENC-3") + b"\xed\xa0\x80", "invalid_encoding"),
        Bad(b"\xff\xfe\xfd", "invalid_encoding"),
        line("ENC-4", "\u2615 \ufeff \u202e \U0001f600"),
    ),
    case(
        "rules",
        line("RUL-1" + "x" * 123, "\u2615" * 1_024, merchant="\u2615" * 256),
        Bad(line("RUL-2" + "x" * 124), "transaction_id_too_long", "transaction_id"),
        Bad(line("RUL-3", "x" * 1_025), "description_too_long", "description"),
        Bad(line("RUL-4", merchant="x" * 257), "merchant_too_long", "merchant"),
        Bad(line("RUL-5\x1b[31m"), "invalid_transaction_id", "transaction_id"),
        Bad(line(""), "missing_transaction_id", "transaction_id"),
        Bad(line("RUL-6", " \t\u00a0 "), "missing_description", "description"),
        Bad(line("RUL-7", operation="PAYMENT"), "invalid_operation_type", "operation_type"),
        Bad(line("RUL-8", operation=""), "missing_operation_type", "operation_type"),
        Bad(line("RUL-9", side="sideways"), "invalid_side", "side"),
        Bad(line("RUL-10", side=""), "missing_side", "side"),
        Bad(line("RUL-11", side="credit"), "amount_sign", "amount"),
        Bad(line("RUL-12", "", amount="?", timestamp="?"), "invalid_amount", "amount"),
        line("RUL-13", "\\N", merchant="NULL"),
        line("\\.", "\\.", merchant="\\."),
        line("\u20ac\u2615", "=cmd|' /C calc'!A0", merchant="') DROP TABLE transactions --"),
    ),
    case("amounts", *_told("AMT-", "amount", AMOUNTS)),
    case("timestamps", *_told("TIM-", "timestamp", TIMES)),
    case(
        "cr",
        line("CR-1"),
        Bad(line("CR-2", amount="?"), "invalid_amount", "amount"),
        line("CR-3"),
        newline=b"\r",
    ),
    case(
        "crlf",
        line("CRLF-1"),
        Bad(line("CRLF-2", ""), "missing_description", "description"),
        newline=b"\r\n",
    ),
    Case(
        "newlines.csv",
        b"\r\n\r\n"
        + HEAD
        + b"\r"
        + line("NEW-1")
        + b"\n\r"
        + line("NEW-2")
        + b"\r\n\n\r\r"
        + line("NEW-3", side="?")
        + b"\r\n"
        + line("NEW-4"),
        (
            line("NEW-1"),
            line("NEW-2"),
            Bad(line("NEW-3", side="?"), "invalid_side", "side"),
            line("NEW-4"),
        ),
    ),
    case(
        "quoted",
        line("QUO-1", '"CORNER\nBAKERY"'),
        line("QUO-2", '"CORNER\r\n;""BAKERY"";\r"', merchant='"\n\\.\n"'),
        Bad(line("QUO-3", '"\n\n"', amount="?"), "invalid_amount", "amount"),
        Bad(line("QUO-4", '"CORNER" BAKERY'), "malformed_quotes"),
        Bad(line("QUO-5", '"a\nb" c'), "malformed_quotes"),
        line("QUO-6", 'CORNER "BAKERY"'),
        line('"QUO-7"', '"' + 'x""y;\n' * 100 + '"'),
        Bad(line("QUO-8", '"' + "\n" * 1_025 + 'x"', side="?"), "invalid_side", "side"),
        Bad(line("QUO-9", '"open'), "unclosed_quote"),
        line("QUO-10"),
    ),
    Case(
        "bom.csv",
        codecs.BOM_UTF8 + b"\n".join([HEAD, line("BOM-1", "CAF\u00c9"), line("BOM-2", amount="?")]),
        (line("BOM-1"), Bad(line("BOM-2", amount="?"), "invalid_amount", "amount")),
    ),
    case(
        "duplicates",
        line("DUP-1"),
        line("DUP-1"),
        Bad(line("DUP-1", "OTHER"), "conflicting_duplicate", "transaction_id"),
    ),
    case(
        "reordered",
        b";payment;debit;ORD-1;2024-01-02; CORNER BAKERY ;-1,00;x;y",
        Bad(b";payment;debit;ORD-2;2024-01-02;;-1,00;x;y", "missing_description", "description"),
        head=b'Merchant; OPERATION_type;side;ID;"timestamp";description ;amount;extra;extra',
    ),
    _wide("utf-16-le"),
    _wide("utf-16-be"),
    _wide("utf-32-le"),
    Case("empty.csv", b""),
    Case("newlines-only.csv", b"\n\r\r\n\n"),
    Case("bom-only.csv", codecs.BOM_UTF8),
    Case("header-only.csv", HEAD),
    Case("header-only-utf16.csv", (HEADER + "\n").encode("utf-16")),
    Case("empty.csv.gz", gzip.compress(b"")),
    Case(
        "two-members.csv.gz",
        gzip.compress(HEAD + b"\nMEM") + gzip.compress(line("-1")) + b"\0\0",
        (line("MEM-1"),),
    ),
    unreadable(
        "duplicated-header.csv",
        HEAD + b";amount\n" + line("HDR-1") + b";1",
        "amount could be any of",
    ),
    unreadable("missing-header.csv", _CUT.encode() + b"\n" + line("HDR-2"), "merchant is missing"),
    unreadable(
        "renamed-header.csv",
        HEAD.replace(b"description", b"text") + b"\n" + line("HDR-3"),
        "description is missing",
    ),
    unreadable("no-header.csv", line("HDR-4") + b"\n" + line("HDR-5"), "transaction_id is missing"),
    unreadable("quoted-header.csv", b'"' + HEAD + b"\n" + line("HDR-6"), "quotes do not match"),
    unreadable("binary-header.csv", b"\x89PNG" + bytes(range(128, 256)) * 20, "cannot be decoded"),
    unreadable("nul-header.csv", b"\0" * 60_000, "is missing"),
    unreadable("wide.csv", HEAD + b";x" * 200_000 + b"\n" + line("HDR-7"), "header is longer"),
    unreadable("many-headers.csv", b"column;" * 5_000 + b"\n" + line("HDR-9"), "4,993 more"),
    unreadable(
        "wrong-delimiter.csv", (HEAD + b"\n" + line("HDR-8")).replace(b";", b"\t"), "is missing"
    ),
    unreadable("utf16-without-mark.csv", HEADER.encode("utf-16-le"), "is missing"),
    unreadable("no-gzip.csv.gz", HEAD + b"\n" + line("GZP-1"), "damaged"),
    unreadable("empty-file.csv.gz", b"", "cut short"),
    unreadable("cut-at-once.csv.gz", _PACKED[:9], "cut short"),
    unreadable("no-zstd.csv.zst", HEAD, "damaged"),
    unreadable("[bold]markup[/nothing].csv", b"foo", "is missing"),
)
