from decimal import Decimal
from pathlib import Path

import pytest

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.domain.errors import DATA, Unreadable
from assay_model.labels import Labelled, as_they_are, by_code, by_contract, plain

KINDS = as_they_are(("Food", "Home", "Transportation"))
CODES = by_code({"4121": "Transportation", "0742": "Home"})
CARDS = """
apiVersion: v3.2.0
kind: DataContract
id: cards
version: 1.0.0
status: active
servers: [{server: inbox, type: local, path: ./x.csv, format: csv, delimiter: ";"}]
schema:
  - name: cards
    logicalType: object
    properties:
      - name: transaction_id
        logicalType: string
        customProperties: [{property: derivation, value: {from: content}}]
      - {name: description, logicalType: string, physicalName: Payee}
      - {name: amount, logicalType: number, physicalName: Sum}
      - name: currency
        logicalType: string
        customProperties: [{property: default, value: GBP}]
      - name: timestamp
        physicalName: Day
        logicalType: timestamp
        logicalTypeOptions: {format: d/M/yyyy, timezone: false, defaultTimezone: Europe/London}
      - name: side
        logicalType: string
        customProperties: [{property: default, value: debit}]
      - name: operation_type
        logicalType: string
        customProperties: [{property: default, value: payment}]
      - {name: mcc, logicalType: string, physicalName: Code}
"""


@pytest.fixture(scope="session")
def cards() -> Contract:
    """An invented supplier's."""
    return parse(CARDS, "cards")


def read(tmp_path: Path, content: str, label: str = "category", **options: object) -> Labelled:
    file = tmp_path / "labels.csv"
    file.write_text(content)
    return plain(file, label, CODES if options else KINDS)


def supplied(contract: Contract, content: bytes, label: str, *, codes: bool = False) -> Labelled:
    # In blocks of seven bytes, which no record respects.
    blocks = (content[at : at + 7] for at in range(0, len(content), 7))
    return by_contract(contract, "x.csv", blocks, label, CODES if codes else KINDS)


def test_codes_get_back_their_leading_zeros(tmp_path: Path) -> None:
    """A spreadsheet takes them away, and the model would pass over such a code."""
    found = read(tmp_path, "description,category,mcc\nVET,Home, 742\nBUS,Transportation,4121\n")
    assert found.rows["mcc"].to_list() == ["0742", "4121"]


def test_plain_columns_become_transactions(tmp_path: Path) -> None:
    """Of the other columns those count that a transaction has, with their types."""
    found = read(
        tmp_path,
        "note,amount,category,description,mcc\nx,-3.50,Food,CORNER BAKERY,5462\ny,,Home,OAK,\n",
    )
    assert found.rows.to_dicts() == [
        {
            "description": "CORNER BAKERY",
            "amount": Decimal("-3.50"),
            "mcc": "5462",
            "category": "Food",
        },
        {"description": "OAK", "amount": None, "mcc": None, "category": "Home"},
    ]
    assert found.left_out == {}


def test_the_label_s_own_column_is_not_given_away(tmp_path: Path) -> None:
    """A model that is judged by the code does not see the code."""
    found = read(
        tmp_path,
        "description,mcc\nCITY TAXI,4121\nVET,742\nODD,9999\nNONE,\n",
        label="mcc",
        codes=True,
    )
    assert found.rows.rows() == [("CITY TAXI", "Transportation"), ("VET", "Home")]
    assert found.left_out == {"without a label": 1, "label without a category": 1}


def test_rows_need_no_labels(tmp_path: Path, cards: Contract) -> None:
    """Without the name of a column every row counts, whatever it says of its category."""
    file = tmp_path / "rows.csv"
    file.write_text("description,category,mcc\nCITY TAXI,Yachts,4121\nVET,,\n")
    found = plain(file, None, KINDS)
    assert found.rows.rows() == [("CITY TAXI", "4121"), ("VET", None)]
    assert found.left_out == {}
    content = b"Payee;Sum;Day;Code\nCITY TAXI;1.00;2/5/2024;4121\nVET;1.00;9/9;742\n"
    found = by_contract(cards, "x.csv", [content], None, KINDS)
    assert found.rows.select("description", "mcc").rows() == [("CITY TAXI", "4121")]
    assert "category" not in found.rows.columns
    assert found.left_out == {"rejected by the contract": 1}
    (tmp_path / "labels.csv").write_text("text\nVET\n")
    with pytest.raises(Unreadable, match=r"it must have description$"):
        plain(tmp_path / "labels.csv", None, KINDS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("text,category\nCITY TAXI,Food\n", "no column description; it must have"),
        ("", "cannot be read"),
        ("description,category\n", "no rows"),
        ("description,category\nCITY TAXI,Food\n,Food\n", "1 rows have no description"),
        ("description,category\nCITY TAXI,\n", "no row with a label"),
        ("description,category,category\nCITY TAXI,Food,Home\n", "has the column category twice"),
        ("category,description,description\nFood,A,CITY TAXI\n", "the column description twice"),
        ("description,category,amount\nCITY TAXI,Food,cheap\n", "amount is no number"),
        ("description,category\nA,Food\nB,Yachts\nC,Cars\n", "lacks: Cars, Yachts"),
    ],
)
def test_bad_labels_are_named(tmp_path: Path, content: str, reason: str) -> None:
    """What is wrong is said without a description."""
    with pytest.raises(Unreadable, match=reason) as refused:
        read(tmp_path, content)
    assert refused.value.exit_code == DATA
    assert "CITY TAXI" not in str(refused.value)


def test_the_description_is_no_label(tmp_path: Path, cards: Contract) -> None:
    """A model must read it, so that it would see what it is judged by."""
    with pytest.raises(Unreadable, match="the description is no label"):
        read(tmp_path, "description\nFood\nHome\n", "description")
    content = b"Payee;Sum;Day;Code\nFood;12.50;2/5/2024;4121\n"
    with pytest.raises(Unreadable, match="the description is no label"):
        supplied(cards, content, "payee")


def test_a_file_of_labels_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(Unreadable, match=r"nowhere\.csv"):
        plain(tmp_path / "nowhere.csv", "category", KINDS)


def test_a_supplier_s_file_is_read_as_a_run_reads_it(cards: Contract) -> None:
    """Rejected records and rows without a label are counted, the others keep theirs."""
    content = (
        b"Payee;Kind;Sum;Day;Code\r\n"
        b"CITY TAXI;Transportation;12.50;2/5/2024;4121\r\n"
        b"BAD DAY;Food;1.00;32/5/2024;5462\r\n"
        b"OAK;Home;99.00;3/5/2024;5712\r\n"
        b"TOO;FEW\r\n"
        b"UNKNOWN;;5.00;4/5/2024;\r\n"
        b"OAK;Home;99.00;3/5/2024;5712\r\n"
    )
    found = supplied(cards, content, "kind")
    assert found.rows.select("description", "amount", "currency", "mcc", "category").rows() == [
        ("CITY TAXI", Decimal("12.50"), "GBP", "4121", "Transportation"),
        ("OAK", Decimal("99.00"), "GBP", "5712", "Home"),
        ("OAK", Decimal("99.00"), "GBP", "5712", "Home"),
    ]
    assert found.left_out == {"rejected by the contract": 2, "without a label": 1}


def test_a_supplier_s_code_is_not_given_away(cards: Contract) -> None:
    """Where the label is read from the column of the code, the model does not get the code."""
    content = b"Payee;Sum;Day;Code\nCITY TAXI;12.50;2/5/2024; 4121\n"
    found = supplied(cards, content, "Code", codes=True)
    assert "mcc" not in found.rows.columns
    assert found.rows["category"].to_list() == ["Transportation"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "there is no header"),
        (b"Payee;Sum;Day;Code\nOAK;1;1/1/2024;1234\n", "must have one column 'Kind'"),
        (b"Payee;Kind;KIND;Sum;Day;Code\nOAK;Home;Home;1;1/1/2024;1\n", "must have one column"),
        (b"Payee;Kind;Sum;Day\nOAK;Home;1;1/1/2024\n", "mcc is missing"),
        (b"Payee;Kind;Sum;Day;Code\n", "no rows"),
    ],
)
def test_a_supplier_s_file_that_does_not_fit_is_refused(
    cards: Contract, content: bytes, reason: str
) -> None:
    """The header says what is missing."""
    with pytest.raises(Unreadable, match=reason):
        supplied(cards, content, "Kind")
