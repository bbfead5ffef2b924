"""How a supplier's cells become the canonical transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.contract.amounts import Writing, canonical
from assay.contract.contract import ByColumn, BySign, Column, Contract
from assay.contract.timestamps import moment, parse_format
from assay.domain.dialect import Dialect
from assay.domain.errors import Unreadable
from assay.domain.rules import COLUMNS
from assay.domain.transaction import split

HEADER = ("id", "description", "amount", "timestamp", "merchant", "operation_type", "side")
GOOD = ("a1", "Corner shop", "-12,34", "2024-06-01 10:00:00", "", "payment", "debit")
CONTRACT = Contract(
    id="shop",
    version="1.0.0",
    status="active",
    dialect=Dialect(),
    derives_id=False,
    timezone="Europe/Paris",
    columns=(
        Column("transaction_id", ("id",)),
        *(Column(name, (name,)) for name in HEADER[1:]),
        Column("currency", default="EUR"),
    ),
    amount=Writing(","),
    formats=(parse_format("yyyy-MM-dd HH:mm:ss"),),
)


def frame(rows: Sequence[Sequence[str]], occurrence: int | None = 0) -> pl.DataFrame:
    """Cells as `assay.wire.csv.cells` cuts them, with their occurrence."""
    columns = {str(number): list(cells) for number, cells in enumerate(zip(*rows, strict=True))}
    return pl.DataFrame(columns).select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
        pl.lit(occurrence, pl.UInt32).alias("occurrence"),
        *columns,
    )


def with_column(column: Column) -> Contract:
    """The contract with another say on one column."""
    others = (each for each in CONTRACT.columns if each.name != column.name)
    return replace(CONTRACT, columns=(*others, column))


def one(contract: Contract, **cells: str) -> Mapping[str, object]:
    """The candidate of a good record in which some cells are different."""
    row = [cells.get(name, good) for name, good in zip(HEADER, GOOD, strict=True)]
    candidates, rejects = contract.convert(frame([row]), contract.layout(HEADER))
    assert rejects.is_empty()
    return candidates.row(0, named=True)


def fault(contract: Contract, **cells: str) -> tuple[object, ...]:
    """The reject of a good record in which some cells are different."""
    row = [cells.get(name, good) for name, good in zip(HEADER, GOOD, strict=True)]
    candidates, rejects = contract.convert(frame([row]), contract.layout(HEADER))
    assert candidates.is_empty()
    return rejects.select("transaction_id", "stage", "code", "field").row(0)


def test_a_good_record_becomes_a_transaction() -> None:
    """Every column stands where it belongs, in the canonical writing."""
    layout = CONTRACT.layout(HEADER)
    candidates, _ = CONTRACT.convert(frame([GOOD]), layout)
    good, rejects = split(candidates)
    assert rejects.is_empty()
    assert candidates.columns == ["row", *COLUMNS]
    assert good.drop("amount").row(0) == (
        0,
        "a1",
        "Corner shop",
        "EUR",
        datetime(2024, 6, 1, 8, tzinfo=UTC),
        None,
        "payment",
        "debit",
        None,
    )


def test_headers_are_found_in_any_order_case_and_spacing() -> None:
    """Reordered, differently written and further headers make no difference."""
    header = (
        "SIDE",
        "other",
        " Operation_Type",
        "Amount",
        "ID",
        "description",
        "timestamp ",
        "merchant",
    )
    assert CONTRACT.layout(header).cells == {
        "transaction_id": 4,
        "description": 5,
        "amount": 3,
        "timestamp": 6,
        "merchant": 7,
        "operation_type": 2,
        "side": 0,
    }


def test_missing_and_doubled_headers_are_all_named() -> None:
    """The message says what is missing, what stands twice, what was found and what to do."""
    with pytest.raises(Unreadable) as error:
        CONTRACT.layout(("id", "ID", "description", "timestamp", "merchant", "side", "type"))
    message = str(error.value)
    assert "transaction_id could be any of 'id', 'ID'" in message
    assert "amount is missing: no header is 'amount';" in message
    assert "operation_type is missing" in message
    assert "and 'type'" in message or "'type'." in message
    assert "synonyms" in message


def test_a_header_that_is_near_is_pointed_at() -> None:
    """One that no other column is read from; of many columns the first are explained."""
    with pytest.raises(Unreadable, match="no header is 'amount', but 'Amnount' is near"):
        CONTRACT.layout([each.replace("amount", "Amnount") for each in HEADER])
    with pytest.raises(Unreadable) as error:
        CONTRACT.layout(("foo", "bar"))
    assert str(error.value) == (
        "transaction_id is missing: no header is 'id'; description is missing: no header is "
        "'description'; amount is missing: no header is 'amount'; and so on for timestamp, "
        "merchant, operation_type, side. The file has 'foo', 'bar'. To do: add the right header "
        "to its synonyms in the contract"
    )


def test_what_is_no_header_is_told_in_brief() -> None:
    """A message does not repeat a whole record, or a file that is no text."""
    with pytest.raises(Unreadable) as error:
        CONTRACT.layout(["\0" * 1_000] * 1_000)
    assert "and 992 more" in str(error.value)
    assert len(str(error.value)) < 2_000


def test_a_column_may_be_absent_only_where_the_contract_says_so() -> None:
    """A file without it is read, with nothing or the default in its place."""
    contract = with_column(Column("merchant", ("shop",), may_be_absent=True, default="unknown"))
    assert one(contract)["merchant"] == "unknown"
    with pytest.raises(Unreadable, match="merchant is missing"):
        with_column(Column("merchant", ("shop",))).layout(HEADER)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.234,50", "1234.50"),
        ("1234,50", "1234.50"),
        ("-1.234.567,5", "-1234567.5"),
        ("12", "12"),
        (",5", ".5"),
        ("+3,00", "3,00".replace(",", ".")),
        ("12-", "-12"),
        ("12,00 -", "-12.00"),
        ("(12,00)", "-12.00"),
        ("( 1.000,00 )", "-1000.00"),
        ("− 7,10", "-7.10"),  # noqa: RUF001 - the minus of typographers
        ("€ 7,10", "7.10"),
        ("-€7,10", "-7.10"),
        ("€-7,10", "-7.10"),
        ("7,10\u00a0€", "7.10"),
        ("(7,10 €)", "-7.10"),
        ("7,123", "7.123"),
        ("007,10", "007.10"),
    ],
)
def test_amounts_are_read_as_the_contract_says(text: str, expected: str) -> None:
    """Separators, signs at either end, parentheses, blanks and the currency's sign."""
    writing = Writing(",", ".", "€")
    assert pl.select(canonical(pl.lit(text), writing)).item() == expected


@pytest.mark.parametrize(
    "text",
    [
        "NaN", "inf", "1e400", "0x1F", "1_000", "1.23,50", "12.34", "1,2,3", "1.2345,00",
        "--5", "-5-", "(-5)", "(5", "5)", "5,", ",", "-", "€", "", "1 000", "5 5", "£5", "٣",
        "1..000", "€5€", "1234.567,00", "1.23", "1234.5",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_not_made_one(text: str) -> None:
    """Exponents, hexadecimals, groups not of three, two signs, and other currencies are refused."""
    assert pl.select(canonical(pl.lit(text), Writing(",", ".", "€"))).item() is None


def test_a_space_between_thousands_may_be_any_blank() -> None:
    """No-break and narrow no-break spaces group digits as the common one does."""
    writing = Writing(",", " ")
    for text in ("1 234,5", "1\u00a0234,5", "1\u202f234,5"):
        assert pl.select(canonical(pl.lit(text), writing)).item() == "1234.5"


def test_an_amount_in_the_wrong_writing_is_a_reject_and_a_third_decimal_is_not_ours() -> None:
    """`12.34` under a decimal comma is no number; three decimals are for the rule to judge."""
    assert fault(CONTRACT, amount="12.34") == ("a1", "decode", "invalid_amount", "amount")
    candidates, _ = CONTRACT.convert(
        frame([(*GOOD[:2], "1,234", *GOOD[3:])]), CONTRACT.layout(HEADER)
    )
    assert split(candidates)[1]["code"].to_list() == ["amount_precision"]


@given(
    st.decimals(-(10**12), 10**12, places=2), st.sampled_from([(".", None), (",", "."), (".", ",")])
)
def test_a_written_amount_is_read_back(value: object, separators: tuple[str, str | None]) -> None:
    """Whatever is written with a contract's separators comes back exactly."""
    decimal, thousands = separators
    text = f"{value:,.2f}".translate({ord(","): thousands or "", ord("."): decimal})
    read = pl.select(canonical(pl.lit(text), Writing(decimal, thousands))).item()
    assert read == f"{value:.2f}"


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("dd/MM/yyyy", "03/04/2024", (2024, 4, 3)),
        ("d/M/yyyy", "3/4/2024", (2024, 4, 3)),
        ("d/M/yyyy", "03/12/2024", (2024, 12, 3)),
        ("dd.MM.yy", "03.04.99", (2099, 4, 3)),
        ("d-MMM-yyyy", "3-Apr-2024", (2024, 4, 3)),
        ("dd MMM yy", "03 APR 24", (2024, 4, 3)),
        ("yyyyMMdd", "20240403", (2024, 4, 3)),
        ("yyyyMMddHHmmss", "20240403101112", (2024, 4, 3, 10, 11, 12)),
        ("yyyy-MM-dd'T'HH:mm", "2024-04-03T10:11", (2024, 4, 3, 10, 11)),
        ("d/M/yyyy H:mm:ss", "3/4/2024 9:08:07", (2024, 4, 3, 9, 8, 7)),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2024-04-03 10:11:12.345", (2024, 4, 3, 10, 11, 12, 345_000)),
        ("yyyyMMddHHmmss,SSSSSS", "20240403101112,345678", (2024, 4, 3, 10, 11, 12, 345_678)),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "2024-04-03T10:11:12+02:00", (2024, 4, 3, 8, 11, 12)),
        ("ISO_OFFSET_DATE_TIME", "2024-04-03T10:11:12.5Z", (2024, 4, 3, 10, 11, 12, 500_000)),
        ("'on' dd''MM%yyyy", "on 03'04%2024", (2024, 4, 3)),
    ],
)  # fmt: skip
def test_timestamps_are_read_in_the_pattern(
    pattern: str, text: str, expected: tuple[int, ...]
) -> None:
    """Patterns of the JDK, padded or not, with names, fractions, offsets and quoted text."""
    read = pl.select(moment(pl.lit(text), [parse_format(pattern)], "UTC")).item()
    assert read == datetime(*expected, tzinfo=UTC)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("dd/MM/yyyy", "3/4/2024"),
        ("d/M/yyyy", "31/02/2024"),
        ("d/M/yyyy", "13/13/2024"),
        ("dd/MM/yyyy", "03/04/24"),
        ("dd/MM/yyyy", "03/04/2024 10:00"),
        ("yyyy-MM-dd HH:mm:ss", "2024-04-03 24:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "2024-04-03 23:59:60"),
        ("yyyy-MM-dd", "0000-01-01"),
        ("ISO_OFFSET_DATE_TIME", "2024-04-03T10:11:12"),
        ("dd/MM/yyyy", "٠٣/٠٤/٢٠٢٤"),
    ],
)
def test_what_a_pattern_does_not_say_is_no_timestamp(pattern: str, text: str) -> None:
    """Other paddings, days that do not exist, and offsets left out are refused."""
    assert pl.select(moment(pl.lit(text), [parse_format(pattern)], "UTC")).item() is None


def test_formats_are_tried_in_order() -> None:
    """The first that reads the text counts; what none reads is a reject."""
    contract = replace(
        CONTRACT, formats=tuple(map(parse_format, ("d/M/yyyy", "M/d/yyyy", "yyyy-MM-dd")))
    )
    assert one(contract, timestamp="3/4/2024")["timestamp"] == datetime(2024, 4, 2, 22, tzinfo=UTC)
    assert one(contract, timestamp="3/14/2024")["timestamp"] == datetime(
        2024, 3, 13, 23, tzinfo=UTC
    )
    assert fault(contract, timestamp="14/14/2024") == (
        "a1", "decode", "invalid_timestamp", "timestamp",
    )  # fmt: skip


def test_times_are_read_in_the_zone() -> None:
    """A time that the clocks skip is none; one that comes twice is the earlier."""
    assert fault(CONTRACT, timestamp="2024-03-31 02:30:00")[2] == "invalid_timestamp"
    twice = one(CONTRACT, timestamp="2024-10-27 02:30:00")["timestamp"]
    assert twice == datetime(2024, 10, 27, 0, 30, tzinfo=UTC)


def test_a_moment_outside_of_the_years_1_to_9999_in_utc_is_none() -> None:
    """The zone may push a date over the edge."""
    formats = [parse_format("yyyy-MM-dd HH:mm")]
    last = pl.select(moment(pl.lit("9999-12-31 23:00"), formats, "America/New_York")).item()
    first = pl.select(moment(pl.lit("0001-01-01 00:00"), formats, "Asia/Tokyo")).item()
    assert (first, last) == (None, None)


@pytest.mark.parametrize(
    "pattern",
    ["YYYY-MM-dd", "dd/MM", "dd/MM/yyyy 'at", "d/M/yyyy XXX", "dd/MM[/yyyy]z", "dd dd MM yyyy"],
)
def test_a_pattern_that_is_not_read_says_so(pattern: str) -> None:
    """Letters of other calendars, days left out, and quotes left open."""
    with pytest.raises(ValueError, match=r"date pattern"):
        parse_format(pattern)


def test_values_are_mapped_and_empty_cells_are_missing() -> None:
    """`D` is a debit, blanks are nothing, and a default stands in for nothing."""
    contract = with_column(Column("side", ("side",), values={"D": "debit"}, default="credit"))
    assert one(contract, side=" D ")["side"] == "debit"
    assert one(contract, side=" \u00a0 ")["side"] == "credit"
    assert one(contract, side="X")["side"] == "X"
    assert one(CONTRACT, description="   ")["description"] is None


def test_what_the_contract_requires_beyond_the_rules_is_a_reject() -> None:
    """A merchant may be missing unless the contract says that it must be there."""
    contract = with_column(Column("merchant", ("merchant",), required=True))
    assert fault(contract) == ("a1", "decode", "missing_merchant", "merchant")


def test_side_and_operation_come_from_the_sign_and_the_amount_loses_it() -> None:
    """A derived side takes the sign along, so that the magnitude stays."""
    contract = replace(
        CONTRACT,
        columns=(
            *(each for each in CONTRACT.columns if each.name not in {"side", "operation_type"}),
            Column("side", by_sign=BySign("debit", "debit", "credit")),
            Column("operation_type", by_sign=BySign("payment", "payment", "refund")),
        ),
    )
    for amount, expected in {
        "5,00": ("5.00", "payment", "debit"),
        "0,00": ("0.00", "payment", "debit"),
        "-0,00": ("0.00", "payment", "debit"),
        "(5,00)": ("5.00", "refund", "credit"),
    }.items():
        row = one(contract, amount=amount)
        assert (row["amount"], row["operation_type"], row["side"]) == expected
    assert one(contract, amount="")["side"] is None


def test_ids_are_derived_from_all_cells_and_the_occurrence() -> None:
    """Equal records differ by their occurrence; where nobody counts, there is no id."""
    columns = tuple(each for each in CONTRACT.columns if each.name != "transaction_id")
    contract = replace(CONTRACT, derives_id=True, columns=columns)
    layout = contract.layout(HEADER)
    first = frame([GOOD, ("a2", *GOOD[1:])])
    second = frame([GOOD], occurrence=1)
    ids = [*contract.convert(first, layout)[0]["transaction_id"]]
    assert ids == [*contract.convert(first, layout)[0]["transaction_id"]]
    ids += contract.convert(second, layout)[0]["transaction_id"].to_list()
    assert len(set(ids)) == 3
    mixed = first.with_columns(pl.Series("occurrence", [None, 0], dtype=pl.UInt32))
    assert contract.convert(mixed, layout)[0]["transaction_id"].to_list() == [None, ids[1]]


cell = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(GOOD)


@given(st.lists(st.tuples(*[cell] * len(HEADER)), min_size=1, max_size=8))
def test_each_row_leaves_once(rows: list[tuple[str, ...]]) -> None:
    """Whatever stands in the cells: candidates and rejects together hold each row once."""
    candidates, rejects = CONTRACT.convert(frame(rows), CONTRACT.layout(HEADER))
    assert sorted([*candidates["row"], *rejects["row"]]) == list(range(len(rows)))
    good, broken = split(candidates)
    assert good.height + broken.height == candidates.height


TWO_HEADER = ("id", "out", "in", *HEADER[1:2], *HEADER[3:6])
TWO_COLUMNS = replace(
    CONTRACT,
    columns=(
        *(each for each in CONTRACT.columns if each.name not in {"amount", "side"}),
        Column("amount", by_column=ByColumn(("out", "debit"), ("in", "credit"))),
        Column("side", by_sign=BySign("credit", "debit", "debit")),
    ),
    amount=Writing(",", "."),
)


def two(contract: Contract, *pairs: tuple[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Transactions and rejects of good records with these debits and credits."""
    rows = [("a", *pair, GOOD[1], *GOOD[3:6]) for pair in pairs]
    candidates, unread = contract.convert(frame(rows), contract.layout(TWO_HEADER))
    good, broken = split(candidates)
    return good, pl.concat([unread, broken])


@pytest.mark.parametrize(
    ("debit", "credit", "amount", "side"),
    [
        ("12,50", "", "12.50", "debit"),
        ("-12,50", "", "12.50", "debit"),
        ("12,50", "0,00", "12.50", "debit"),
        ("(1.012,50)", " ", "1012.50", "debit"),
        ("", "12,50", "12.50", "credit"),
        ("0", "+12,50", "12.50", "credit"),
        ("-0,00", "12,50", "12.50", "credit"),
        ("0,00", "0,00", "0.00", "debit"),
        ("", "0", "0.00", "debit"),
        ("0", "", "0.00", "debit"),
    ],
)
def test_a_debit_and_a_credit_column_make_one_amount(
    debit: str, credit: str, amount: str, side: str
) -> None:
    """The column says the direction; a zero beside an amount is nothing, alone it is a debit."""
    good, rejects = two(TWO_COLUMNS, (debit, credit))
    assert rejects.is_empty()
    assert [tuple(map(str, row)) for row in good.select("amount", "side").rows()] == [
        (amount, side)
    ]


@pytest.mark.parametrize(
    ("debit", "credit", "code", "said"),
    [
        ("12,50", "12,50", "invalid_amount", "both a debit and a credit"),
        ("-12,50", "12,50", "invalid_amount", "both a debit and a credit"),
        ("", "-12,50", "invalid_amount", "the credit is negative"),
        ("0", "12,50-", "invalid_amount", "the credit is negative"),
        ("12.50", "", "invalid_amount", "the debit is not a number"),
        ("12,50", "x", "invalid_amount", "the credit is not a number"),
        ("x", "12,50", "invalid_amount", "the debit is not a number"),
        ("", " ", "missing_amount", "missing"),
        ("1,234", "", "amount_precision", "decimals"),
    ],
)
def test_a_direction_is_never_guessed(debit: str, credit: str, code: str, said: str) -> None:
    """What two columns do not say clearly is a reject that says why."""
    good, rejects = two(TWO_COLUMNS, (debit, credit))
    assert good.is_empty()
    ((found, field, message),) = rejects.select("code", "field", "message").rows()
    assert (found, field) == (code, "amount")
    assert said in message


def test_a_given_side_must_agree_with_the_column() -> None:
    """A credit is no debit because a default says so, nor the other way round."""
    for side, (debit, credit) in {"debit": ("", "5,00"), "credit": ("5,00", "")}.items():
        columns = (each for each in TWO_COLUMNS.columns if each.name != "side")
        contract = replace(TWO_COLUMNS, columns=(*columns, Column("side", default=side)))
        assert two(contract, (debit, credit))[1]["field"].to_list() == ["amount"]
        assert two(contract, (credit, debit))[0]["side"].to_list() == [side]


def test_both_columns_are_looked_for() -> None:
    """By any of their headers; each that a file lacks is named, unless it may be absent."""
    assert TWO_COLUMNS.layout((*TWO_HEADER[:2], "CREDIT", *TWO_HEADER[3:])).cells["credit"] == 2
    with pytest.raises(Unreadable, match="debit is missing"):
        TWO_COLUMNS.layout(("id", "in", *TWO_HEADER[3:]))
    columns = tuple(
        replace(each, may_be_absent=True) if each.by_column else each
        for each in TWO_COLUMNS.columns
    )
    contract = replace(TWO_COLUMNS, columns=columns)
    assert "debit" not in contract.layout(("id", "in", *TWO_HEADER[3:])).cells


amounts = st.decimals(0, 10**9, places=2)


@given(st.lists(st.tuples(amounts, st.sampled_from([-1, 0, 1]), st.booleans()), min_size=1))
def test_a_signed_amount_in_two_columns_is_read_back(rows: list[tuple[object, int, bool]]) -> None:
    """Written as a debit or a credit, with the other cell empty or zero, it keeps its direction."""
    texts = [(f"{amount:.2f}".replace(".", ","), *rest) for amount, *rest in rows]
    pairs = [
        (text if sign < 0 else filler, filler if sign < 0 else text)
        for text, sign, zero in texts
        for filler in ["0,00" if zero else ""]
    ]
    good, rejects = two(TWO_COLUMNS, *pairs)
    assert rejects.is_empty()
    assert [f"{each:.2f}".replace(".", ",") for each in good["amount"]] == [t for t, *_ in texts]
    assert good["side"].to_list() == [
        "debit" if sign < 0 or not set(text) & set("123456789") else "credit"
        for text, sign, _ in texts
    ]


@given(st.lists(st.tuples(cell | amounts.map(str), cell | amounts.map(str)), min_size=1))
def test_each_row_of_two_columns_leaves_once(pairs: list[tuple[str, str]]) -> None:
    """Whatever stands in the two cells: each row is a transaction or a reject, once."""
    good, rejects = two(TWO_COLUMNS, *pairs)
    assert sorted([*good["row"], *rejects["row"]]) == list(range(len(pairs)))
