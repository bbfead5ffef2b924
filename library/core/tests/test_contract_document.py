"""What a contract's document may say, and how it is told what is wrong with it."""

from pathlib import Path

import pytest

from assay.contract.document import parse
from assay.contract.problems import ContractError
from assay.domain.dialect import Dialect
from assay.domain.errors import CONFIGURATION

CONTRACTS = Path(__file__).parents[3] / "contracts"
OURS = (CONTRACTS / "transactions.odcs.yaml").read_text("utf-8")
DEVON = (CONTRACTS / "devon_pcard.odcs.yaml").read_text("utf-8")


def problems(text: str) -> list[tuple[int, str, str]]:
    """What is found wrong with a document."""
    with pytest.raises(ContractError) as error:
        parse(text, "ours.odcs.yaml")
    return list(error.value.problems)


def changed(old: str, new: str, text: str = OURS) -> tuple[str, int]:
    """The document with one thing changed, and the line where it stands."""
    assert text.count(old) >= 1
    return text.replace(old, new, 1), text[: text.index(old)].count("\n") + 1


def test_our_contracts_compile() -> None:
    """The contracts of the repository can be used, and say what their files are like."""
    ours = parse(OURS, "transactions.odcs.yaml")
    assert (ours.id, ours.version, ours.timezone) == ("transactions", "1.0.0", "Europe/Paris")
    assert ours.dialect == Dialect(delimiter=";")
    assert ours.amount.decimal == ","
    assert not ours.derives_id
    devon = parse(DEVON, "devon_pcard.odcs.yaml")
    assert devon.dialect.fallback_encodings == ("cp1252",)
    assert devon.derives_id


@pytest.mark.parametrize(
    ("old", "new", "path", "said"),
    [
        ("version: 1.0.0", "version: 1.0", "version", "quotes"),
        ("version: 1.0.0\n", "", "", "`version` is missing"),
        ("status: active", "status: active\nstatuss: x", "statuss", "write `status`"),
        ("status: active", "status: actve", "status", "write one of proposed, draft, active"),
        ("required: true", "requird: true", "schema[0].properties[0].requird", "write `required`"),
        (
            "          timezone: false",
            "          timezon: false",
            "schema[0].properties[4].logicalTypeOptions.timezon",
            "write `timezone`",
        ),
        (
            "logicalType: number",
            "logicalType: numbr",
            "schema[0].properties[2].logicalType",
            "one of string",
        ),
        (
            "        logicalType: number\n",
            "",
            "schema[0].properties[2]",
            "`logicalType` is missing",
        ),
        ("name: merchant", "name: shop", "schema[0].properties[5].name", "no column `shop`"),
        ("name: merchant", "name: side", "schema[0].properties[7].name", "stands twice"),
        ("name: side", "name: mcc", "schema[0].properties", "named `side`"),
        (
            "yyyy-MM-dd HH",
            "YYYY-MM-dd HH",
            "schema[0].properties[4].logicalTypeOptions.format",
            "`YYYY`",
        ),
        (
            "          format: yyyy-MM-dd HH:mm:ss\n",
            "",
            "schema[0].properties[4]",
            "how times are written",
        ),
        (
            "Europe/Paris",
            "Europe/Pariss",
            "schema[0].properties[4].logicalTypeOptions.defaultTimezone",
            "no time zone",
        ),
        (
            "          defaultTimezone: Europe/Paris\n",
            "",
            "schema[0].properties[4]",
            "name their zone",
        ),
        (
            "logicalType: timestamp",
            "logicalType: string",
            "schema[0].properties[4].logicalType",
            "must be timestamp",
        ),
        ("encoding: utf-8", "encoding: utf-9", "servers[0].encoding", "`utf-9` cannot be read"),
        ("encoding: utf-8", "encoding: shift_jis", "servers[0].encoding", "cannot be read"),
        ("encoding: utf-8", "encoding: cp037", "servers[0].encoding", "cannot be read"),
        ('delimiter: ";"', 'delimiter: "ab"', "servers[0].delimiter", "one character"),
        ("format: csv", "format: json", "servers", "format: csv"),
        (
            "value: EUR",
            "value: EURO",
            "schema[0].properties[3]",
            "`EURO` cannot stand in `currency`",
        ),
        (
            "decimalSeparator",
            "decimalSeperator",
            "schema[0].properties[2].customProperties[0]",
            "decimalSeparator",
        ),
        (
            'value: ","',
            "value: 5",
            "schema[0].properties[2].customProperties[0]",
            "decimalSeparator",
        ),
        ("furtherFormats", "default", "schema[0].properties[4].customProperties[0]", "`default`"),
    ],
)
def test_each_mistake_is_named(old: str, new: str, path: str, said: str) -> None:
    """The problem says where it is and what to write."""
    text, _ = changed(old, new)
    found = problems(text)
    assert [each for each in found if each[1] == path and said in each[2]], found


def test_all_mistakes_are_found_at_once() -> None:
    """One look at a document tells everything that is wrong with it, in the order of lines."""
    text, first = changed("encoding: utf-8", "encoding: utf-9")
    text, second = changed("name: merchant", "name: shop", text)
    text, third = changed("name: side", "name: operation_type", text)
    found = problems(text)
    assert [line for line, _, _ in found] == sorted(line for line, _, _ in found)
    assert {first, second, third} <= {line for line, _, _ in found}


@pytest.mark.parametrize(
    ("status", "in_force"),
    [
        ("active", True),
        ("deprecated", True),
        ("draft", False),
        ("proposed", False),
        ("retired", False),
    ],
)
def test_a_contract_is_in_force_once_it_is_decided(status: str, in_force: bool) -> None:  # noqa: FBT001 - a case
    """A draft, a proposal and what is withdrawn are read, and are not for runs."""
    text, _ = changed("status: active", f"status: {status}")
    assert parse(text, "ours").in_force == in_force
    text, _ = changed("status: active\n", "")
    assert parse(text, "ours").status == "active"


def test_values_that_a_contract_gives_keep_the_rules() -> None:
    """Value maps and derivations may only lead to canonical values."""
    text, _ = changed("negative: refund", "negative: payback", DEVON)
    assert "`payback` cannot stand in `operation_type`" in problems(text)[0][2]
    custom = "customProperties: [{property: valueMap, value: {D: dbit}}]"
    mapped = f"{OURS}        {custom}\n"
    assert "`dbit` cannot stand in `side`" in problems(mapped)[0][2]
    found = problems(mapped.replace("dbit", "debit").replace("{D", "{1"))
    assert "valueMap" in found[0][2]
    compiled = parse(mapped.replace("dbit", "debit"), "ours")
    assert next(each for each in compiled.columns if each.name == "side").values == {"D": "debit"}


def test_settings_stand_where_they_mean_something() -> None:
    """A separator on a merchant, an id derived from a sign, a header for what is derived."""
    text, _ = changed("value: { from: content }", "value: { from: amountSign }", DEVON)
    assert "derivation" in problems(text)[0][2]
    text, _ = changed(
        "name: transaction_id", "name: transaction_id\n        physicalName: id", DEVON
    )
    assert "keep one" in problems(text)[0][2]
    text, _ = changed("property: decimalSeparator", "property: furtherFormats")
    assert "valid list" in problems(text)[0][2]
    text, _ = changed('value: ","', 'value: "."', DEVON)
    assert "same separator" in problems(text)[0][2]
    sign = (
        "property: currencySign\n            value: '5'\n          - property: thousandsSeparator"
    )
    text, _ = changed("property: thousandsSeparator", sign, DEVON)
    assert "a currency sign cannot hold digits" in problems(text)[0][2]


TWO_COLUMNS = """      - name: amount
        logicalType: number
        customProperties:
          - property: derivation
            value:
              from: debitAndCredit
              debit: Paid out
              credit: [Paid in, Credits]
"""
SIDE = """      - name: side
        logicalType: string
        customProperties:
          - property: derivation
            value: { from: amountSign, positive: credit, zero: debit, negative: debit }
"""
LEDGER = (
    OURS[: OURS.index("      - name: amount")]
    + TWO_COLUMNS
    + OURS[OURS.index("      - name: currency") : OURS.index("      - name: side")]
    + SIDE
)


def test_an_amount_may_stand_in_two_columns() -> None:
    """Each with one header or a list of them."""
    amount = next(each for each in parse(LEDGER, "ledger").columns if each.name == "amount")
    assert amount.cells == {"debit": ("Paid out",), "credit": ("Paid in", "Credits")}


@pytest.mark.parametrize(
    ("old", "new", "path", "said"),
    [
        ("debit: Paid out", "debt: Paid out", "customProperties[0].value.debt", "not permitted"),
        ("              debit: Paid out\n", "", "customProperties[0].value.debit", "required"),
        ("debit: Paid out", "debit: 5", "customProperties[0].value.debit", "valid list"),
        ("debit: Paid out", 'debit: ""', "customProperties[0].value.debit[0]", "at least 1"),
        ("[Paid in, Credits]", "[]", "customProperties[0].value.credit", "at least 1"),
        ("[Paid in, Credits]", "paid  OUT", "", "cannot have the same header"),
        ("name: amount\n", "name: amount\n        physicalName: Sum\n", "", "keep one"),
        (
            "name: amount\n",
            "name: amount\n        synonyms: [{synonym: Sum}]\n",
            "",
            "keep one",
        ),
    ],
)
def test_each_mistake_in_two_columns_is_named(old: str, new: str, path: str, said: str) -> None:
    """With the line of the key where there is one."""
    text, line = changed(old, new, LEDGER)
    at = f"schema[0].properties[2]{path and '.'}{path}"
    found = problems(text)
    lines = [number for number, where, message in found if where == at and said in message]
    assert lines, found
    if path and new:
        assert lines == [line]


def test_a_side_is_given_or_derived_and_does_not_turn_round_the_columns() -> None:
    """Two columns say the direction; without a side, or against them, nothing is guessed."""
    found = problems(LEDGER.replace(SIDE, ""))
    assert "named `side`" in found[0][2]
    text, _ = changed("positive: credit", "positive: debit", LEDGER)
    found = problems(text)
    assert "positive: credit, negative: debit" in found[0][2]
    text, _ = changed("from: content", "from: debitAndCredit, debit: a, credit: b", DEVON)
    assert "cannot be derived from debitAndCredit" in problems(text)[0][2]


def test_custom_properties_of_others_are_theirs() -> None:
    """What names another vendor is not read."""
    text, _ = changed(
        "value: EUR",
        "value: EUR\n          - property: mask\n            value: 1\n            vendor: other",
    )
    assert parse(text, "ours").id == "transactions"


def test_keys_that_stand_twice_are_found() -> None:
    """YAML would keep the last in silence."""
    text, line = changed("    encoding: utf-8", "    encoding: utf-8\n    encoding: cp1252")
    assert problems(text) == [
        (line + 1, "servers[0].encoding", "`encoding` stands twice; keep one")
    ]


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b", "a: [1,", "a: b: c", "\t"])
def test_what_is_no_document_says_so(text: str) -> None:
    """No YAML, or YAML of something else, with a line."""
    assert problems(text)[0][0] >= 1


def test_a_contract_that_cannot_be_used_ends_a_command_with_78() -> None:
    """The message names the contract and every problem."""
    with pytest.raises(ContractError, match="the contract ours cannot be used") as error:
        parse("kind: DataContract", "ours")
    assert error.value.exit_code == CONFIGURATION
    assert "`apiVersion` is missing" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + "[" * 5_000 + "]" * 5_000, "nested too deeply"),
        ("a: &a [x, x]\n" + "".join(f"k{n}: &k{n} [*a, *a]\n" for n in range(3)), "aliases"),
    ],
    ids=["deep", "aliases"],
)
def test_a_document_that_would_take_all_memory_is_refused(text: str, said: str) -> None:
    """Before anything is made of it."""
    with pytest.raises(ContractError, match=said):
        parse(text, "c.yaml")
