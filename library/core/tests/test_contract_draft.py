"""A contract drafted from a file reads that file."""

import csv
import io
import re
from collections.abc import Sequence

import polars as pl
import pytest

from assay.contract.columns import meant
from assay.contract.contract import ByColumn, BySign, Contract
from assay.contract.document import parse
from assay.contract.draft import draft, undecided
from assay.contract.head import read_head
from assay.domain.errors import DATA, Unreadable
from assay.domain.transaction import split
from assay.wire.csv import cells, dialect_of, header_cells
from assay.wire.splitter import Splitter

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


def uncommented(text: str, *, alternative: bool = False) -> str:
    """A draft whose holes are filled: without the # before what is commented out."""
    lines = text.splitlines()
    other = next(at for at, line in enumerate(lines) if "two columns, take these" in line)
    ends = next(at for at in range(other + 1, len(lines)) if "      # " not in lines[at])
    begins = max(at for at, line in enumerate(lines[:other]) if "known for amount" in line)
    leave = range(begins + 1, other) if alternative else range(other + 1, ends)
    return "\n".join(
        line if at in leave else re.sub("^      # (?=  |- )", "      ", line)
        for at, line in enumerate(lines)
    )


def test_a_hole_is_right_once_it_is_uncommented() -> None:
    """With the headers written it reads the file, in one column or in two."""
    content = written(
        [("when", "what", "minus", "plus"), ("2024-01-01", "x", "", "1,003.20")], delimiter="|"
    )
    text = draft(content, "bank")
    names = {"timestamp": "when", "description": "what", "amount": "plus"}
    for alternative in (False, True):
        filled = uncommented(text, alternative=alternative)
        for column, header in names.items():
            filled = filled.replace(
                f'- name: "{column}"\n        physicalName: "HEADER"',
                f'- name: "{column}"\n        physicalName: "{header}"',
            )
        filled = filled.replace("DEBIT HEADER", "minus").replace("CREDIT HEADER", "plus")
        contract = parse(filled, "draft")
        assert codes(contract, content) == []
        amount = next(each for each in contract.columns if each.name == "amount")
        assert (amount.by_column is not None) == alternative


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("Transaction ID,Date,Type,Name,Amount,Currency,Description,Money Out,Money In",
         "t1,01/02/2024,Card payment,Shop,-3.20,GBP,SHOP,-3.20,",
         {"amount": "Amount", "merchant": "Name", "description": "Description"}),
        ("Date,Counter Party,Reference,Type,Amount (GBP),Notes", "01/02/2024,Shop,,FPI,-3.20,n",
         {"merchant": "Counter Party", "amount": "Amount (GBP)", "description": "Notes"}),
        ("Transaction Date,Transaction Type,Transaction Description,Debit Amount,Credit Amount",
         "01/02/2024,DEB,SHOP,3.20,", {"debit": "Debit Amount", "credit": "Credit Amount"}),
        ("Date,Transaction type,Description,Paid out,Paid in", "01 Feb 2024,Visa,SHOP,£3.20,",
         {"debit": "Paid out", "credit": "Paid in", "operation_type": "Transaction type"}),
        ("Type,Started Date,Completed Date,Description,Amount",
         "TRANSFER,2024-01-01 10:00:00,2024-01-02 10:00:00,Shop,-3.20",
         {"timestamp": "Started Date"}),
        ("Details,Posting Date,Description,Amount,Type", "DEBIT,01/31/2024,SHOP,-3.20,ACH",
         {"timestamp": "Posting Date", "description": "Description", "side": "Details"}),
        ("Value Date,Post Date,Transaction Date,Description,Debit,Credit",
         "2024-01-31,2024-02-01,2024-01-30,SHOP,3.20,",
         {"timestamp": "Transaction Date", "debit": "Debit"}),
        ("Value Date,Posting Date,Memo,Amount", "2024-01-31,2024-02-01,SHOP,3.20",
         {"timestamp": "Posting Date", "description": "Memo"}),
        ("Posted Date,Date,Name,Memo,Withdrawals,Deposits", "2024-01-31,2024-02-01,S,m,$3.20,",
         {"timestamp": "Date", "description": "Name", "credit": "Deposits"}),
        ("Transaction Description,Transaction Date,Transaction Type,Transaction Amount",
         "SHOP,01/31/24,Debit,3.20", {"side": "Transaction Type"}),
        ("Transaction #,Posted Date,Merchant,Merchant Category,Transaction Amount",
         "1,01/31/2024,SHOP,Restaurants,3.20",
         {"transaction_id": "Transaction #", "description": "Merchant"}),
        ("Txn ID,Posted Date,Merchant,Merchant Category,Amount", "1,01/31/2024,SHOP,5812,3.20",
         {"transaction_id": "Txn ID", "mcc": "Merchant Category"}),
        ("Buchungstag;Wert;Verwendungszweck;Soll;Haben;Währung", "31.01.24;31.01.24;S;-3,20;;EUR",
         {"debit": "Soll", "credit": "Haben", "timestamp": "Buchungstag", "currency": "Währung"}),
        ("Valutadatum;Buchungstext;Verwendungszweck;Beguenstigter/Zahlungspflichtiger;Betrag",
         "31.01.24;KARTENZAHLUNG;SHOP;Shop;-3,20",
         {"description": "Verwendungszweck", "merchant": "Beguenstigter/Zahlungspflichtiger"}),
        ("Date de comptabilisation;Libelle operation;Debit;Credit;Date operation;Date de valeur",
         "31/01/2024;CB SHOP;-3,20;;30/01/2024;31/01/2024",
         {"timestamp": "Date operation", "debit": "Debit"}),
        ("Date;Libellé;Débit euros;Crédit euros", "31/01/2024;SHOP;3,20;",
         {"debit": "Débit euros", "credit": "Crédit euros"}),
        ("FECHA OPERACIÓN;FECHA VALOR;CONCEPTO;IMPORTE EUR", "31/01/2024;31/01/2024;SHOP;-3,20",
         {"timestamp": "FECHA OPERACIÓN", "amount": "IMPORTE EUR"}),
        ("Fecha;Concepto;Cargo;Abono", "31/01/2024;SHOP;3,20;", {"debit": "Cargo"}),
        ("Datum;Naam / Omschrijving;Code;Af Bij;Bedrag (EUR);Mutatiesoort",
         "20240131;SHOP;BA;Af;3,20;Betaalautomaat",
         {"side": "Af Bij", "operation_type": "Mutatiesoort", "amount": "Bedrag (EUR)"}),
        ("Munt,Datum,Rentedatum,Bedrag,Naam tegenpartij,Omschrijving-1",
         'EUR,2024-01-31,2024-01-31,"-3,20",Shop,SHOP',
         {"currency": "Munt", "timestamp": "Datum", "merchant": "Naam tegenpartij"}),
        ("Data_Operazione;Data_Valuta;Entrate;Uscite;Descrizione", "31/01/2024;31/01/2024;;-3,20;S",
         {"debit": "Uscite", "credit": "Entrate", "timestamp": "Data_Operazione"}),
        ("Data,Dettagli,Valuta,Importo", "2024-01-31,SHOP,EUR,-3.20", {"currency": "Valuta"}),
        ("Valuta;Buchungstext;Betrag", "31.01.2024;SHOP;-3,20", {"timestamp": "Valuta"}),
    ],
)  # fmt: skip
def test_headers_of_well_known_exports_are_recognised(
    header: str, row: str, expected: dict[str, str]
) -> None:
    """Of several that could be a column the most specific, unless the cells speak against it."""
    content = f"{header}\n{row}\n".encode()
    head = read_head(content)
    found = {column: head.header[number] for column, number in meant(head).items()}
    assert expected.items() <= found.items(), found
    assert ("mcc" in found) == ("mcc" in expected)
    assert not {"amount", "debit"} <= found.keys()
    rejects = codes(parse(draft(content, "bank"), "draft"), content)
    assert set(rejects) <= {"invalid_operation_type"}


def test_two_columns_are_drafted_with_the_side_in_their_sign() -> None:
    """A debit is negative, and nobody is asked what the sign means."""
    content = written(
        [
            ("Date", "Details", "Paid out (£)", "Paid in (£)"),
            ("01/02/2024", "SHOP", "£3.20", ""),
            ("02/02/2024", "JOB", "", "£1,003.20"),
        ]
    )
    text = draft(content, "bank")
    contract = parse(text, "draft")
    assert codes(contract, content) == []
    columns = {each.name: each for each in contract.columns}
    assert columns["amount"].by_column == ByColumn(("Paid out (£)",), ("Paid in (£)",))
    assert columns["side"].by_sign == BySign("credit", "debit", "debit")
    assert columns["currency"].default == "GBP"
    assert not [mark for mark in undecided(text) if "negative" in mark.text]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cards-2024-05", "cards"),
        ("Statement_20240501_20240531", "statement"),
        ("Umsätze 1. Mai bis 2024-05-31", "umsatze-1-mai-bis"),
        ("Cards May 2024", "cards"),
        ("cards202405", "cards"),
        ("export_2024-01-01_to_2024-02-01", "export"),
        ("transactions (1)", "transactions"),
        ("account1", "account1"),
        ("cards-may", "cards-may"),
        ("2024-05", "supplier"),
        ("交易", "supplier"),
    ],
)
def test_an_id_has_no_date_in_it(name: str, expected: str) -> None:
    """The file's name without what changes with each file; it is for a person to decide."""
    text = draft(b"date,label,amount\n2024-01-01,x,-1.50\n", name)
    assert f'\nid: "{expected}"\n' in text
    assert any("id for this supplier" in mark.text for mark in undecided(text))


def test_a_reference_is_an_id_only_where_it_tells_transactions_apart() -> None:
    """One that repeats or is missing is none; one that does not is asked about."""
    rows = [(f"0{day}/02/2024", "x", f"-{day}.00") for day in range(1, 7)]
    for references, is_id in {("a", "b", "c", "d", "e", "f"): True, ("a",) * 6: False}.items():
        lines = [(*row, each) for row, each in zip(rows, references, strict=True)]
        content = written([("Date", "Details", "Amount", "Reference"), *lines])
        text = draft(content, "bank")
        assert parse(text, "draft").derives_id != is_id
        assert codes(parse(text, "draft"), content) == []
        assert any("each transaction" in mark.text for mark in undecided(text)) == is_id
        why = '"Reference" looks like an id, but of its first 6 cells 0 are empty and 5 repeat'
        assert any(why in mark.text.replace("\\", "") for mark in undecided(text)) != is_id


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


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (b"# Assay\n\nAssay reads bank, card\n", "this is no table"),
        (b"Dear Sir, thank you\n\nfor it.\nYours\n", "does not begin with its header"),
        (b"Account:,123\n\ndate,what,amount\n1,2,3\n1,2,3\n", "take out what stands above"),
        (b"amount\n1\n2\n", "this is no table"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0,\0\0", "this is no table"),
        (b"a\0b,\x01c\n1,2\n", "this is no table"),
        (b"PK\x03\x04\x14\0\x06\0", "Excel file or an archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "old Excel file"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x1f\x8b\x08\0", "compressed"),
        (b'{"id": 1, "amount": 2}\n{"id": 2, "amount": 3}\n', "JSON"),
        (b'[\n {"id": 1}]', "JSON"),
        (b"<html>,<body>\n", "HTML"),
        (b"01/02/2024,-3.20,*,SHOP\n02/02/2024,-3.20,*,SHOP\n", "looks like a record"),
    ],
)
def test_what_is_no_table_has_no_draft(sample: bytes, said: str) -> None:
    """It ends with 65, and says what the file is or lacks."""
    with pytest.raises(Unreadable, match=said) as error:
        draft(sample, "bank")
    assert error.value.exit_code == DATA


@pytest.mark.parametrize(
    "sample",
    [
        b"date,details,amount",
        b"date;details;amount\r\n1;2;3\r\nbroken\r\n",
        b"[Date],[Details],[Amount]\n01/02/2024,SHOP,-3.20\n",
        "date\tdetails\tamount\n1\t2\t3\n".encode("utf-16"),
    ],
)
def test_a_table_of_any_kind_has_a_draft(sample: bytes) -> None:
    """A header alone, some broken lines, brackets, UTF-16."""
    assert parse(draft(sample, "bank"), "draft").columns
