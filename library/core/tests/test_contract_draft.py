"""A contract drafted from a file reads that file."""

import csv
import io
from collections.abc import Sequence

import polars as pl
import pytest

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.contract.draft import draft, undecided
from assay.domain.errors import Unreadable
from assay.domain.transaction import split
from assay.wire.csv import Splitter, cells, dialect_of, header_cells

OURS = ("id", "description", "amount", "timestamp", "merchant", "operation_type", "side")


def written(rows: Sequence[Sequence[str]], delimiter: str = ";", encoding: str = "utf-8") -> bytes:
    """A file with these rows."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode(encoding)


def codes(contract: Contract, content: bytes) -> list[str]:
    """The codes of the rejects when a contract reads a file."""
    splitter = Splitter(contract.dialect)
    records = pl.concat([splitter.feed(content), splitter.close()]).with_row_index("row")
    header = splitter.header or b""
    dialect = dialect_of(header, contract.dialect)
    layout = contract.layout(header_cells(header, dialect))
    cut, undecoded = cells(records, layout.width, dialect)
    occurrence = cut["row"].alias("occurrence")
    candidates, unread = contract.convert(cut.with_columns(occurrence), layout)
    _, broken = split(candidates)
    return [code for each in (undecoded, unread, broken) for code in each["code"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_the_draft_of_a_file_like_ours_reads_it(encoding: str) -> None:
    """Delimiter, encoding, decimal comma, timestamp and columns are recognised."""
    content = written(
        [
            OURS,
            ("a1", "CAFÉ DU COIN", "-1234,50", "2024-02-29 10:11:12", "Café", "payment", "debit"),
            ("a2", "VIREMENT", "2000,00", "2024-03-01 00:00:00", "", "transfer", "credit"),
        ],
        encoding=encoding,
    )
    contract = parse(draft(content, "ours.csv"), "draft")
    assert codes(contract, content) == []
    assert contract.amount.decimal == ","


@pytest.mark.parametrize(
    ("header", "row", "delimiter"),
    [
        (("Référence", "Date opération", "Libellé de l'opération", "Montant", "Sens"),
         ("r1", "03/04/2024", "PRELEVEMENT", "1 234,50", "D"), ";"),
        (("Referenz", "Buchungstag", "Verwendungszweck", "Betrag (EUR)", "Soll/Haben", "Vorgang"),
         ("7", "03.04.2024", "Miete", "1.234,50", "S", "Lastschrift"), "\t"),
        (("Referencia", "Fecha de operación", "Concepto", "Importe", "Divisa"),
         ("9", "2024-04-03", "Compra", "-12,5", "EUR"), "|"),
        (("Transaction ID", "Transaction Date", "Merchant", "Amount", "Currency", "Card no."),
         ("9", "04/30/2024 10:00:00", "Shop, the", "$1,234.50", "USD", "x"), ","),
    ],
)  # fmt: skip
def test_headers_and_values_are_known_in_four_languages(
    header: tuple[str, ...], row: tuple[str, ...], delimiter: str
) -> None:
    """French, German, Spanish and English files are read by their draft, without any change."""
    content = written([header, row], delimiter=delimiter)
    assert codes(parse(draft(content, "Bank"), "draft"), content) == []


def test_what_the_file_cannot_say_is_marked() -> None:
    """Zone, currency, the direction of a sign, the order of day and month, unknown words."""
    content = written(
        [("date", "label", "amount", "type"), ("03/04/2024", "x", "-1.50", "zzz")], ","
    )
    text = draft(content, "bank")
    marked = [line for line in text.splitlines() if "# Decide:" in line]
    for word in ("zone", "M/d/yyyy", "currency", "negative", "words", "id"):
        assert any(word in line for line in marked), word


def test_a_column_that_is_not_recognised_is_asked_for() -> None:
    """The draft names what it could not find, and is refused until it is there."""
    text = draft(b"when,what\n2024-01-01,x\n", "bank")
    assert "no header was known for amount" in text
    with pytest.raises(Exception, match="no property is named `amount`"):
        parse(text, "draft")


@pytest.mark.parametrize("sample", [b"", b"\n\n", b"\xff\xfe"])
def test_a_file_without_a_header_has_no_draft(sample: bytes) -> None:
    """There is nothing to draft from."""
    with pytest.raises(Unreadable, match="empty"):
        draft(sample, "bank")


def test_a_sample_may_end_anywhere() -> None:
    """A record or character that the sample cuts does not count."""
    content = written(
        [OURS, *[("a1", "é", "-1,5", "2024-02-29 10:11:12", "é", "payment", "debit")] * 9]
    )
    for end in range(len(content) - 60, len(content)):
        assert parse(draft(content[:end], "ours"), "draft").amount.decimal == ","


def test_the_marks_of_a_draft_are_found_in_its_text() -> None:
    """Each with its line and what it asks, until it is taken out."""
    text = draft(b"date,label,amount\n2024-01-01,x,-1.50\n", "bank")
    marks = undecided(text)
    assert len(marks) == text.count("# Decide:") >= 4
    for line, asked in marks:
        assert text.splitlines()[line - 1].endswith(f"# Decide: {asked}")
    assert undecided(text.replace("# Decide:", "#")) == []
