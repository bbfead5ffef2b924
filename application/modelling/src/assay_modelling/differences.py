"""A comparison of two models as JSON, as CSV, and as a terminal shows it in 80 columns."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.markup import escape
from rich.table import Column, Table

from assay.domain.taxonomy import Taxonomy
from assay.domain.wording import counted
from assay_model.compare import MOVES, Comparison, categories, changes, moves
from assay_model.markdown import percent
from assay_modelling.chosen import Chosen
from assay_modelling.output import say, table
from assay_modelling.output import show as print_table

_CURRENCIES: Final = 5  # of the moves
_AMOUNTS: Final = 3  # currencies in one cell
_RIGHT: Final = ("right_before", "right_after")


def document(
    models: tuple[Chosen, Chosen],
    comparison: Comparison,
    *,
    name: str,
    left_out: Mapping[str, int],
    judged: bool,
    examples: int,
) -> dict[str, Any]:
    """All that is told of a comparison, for JSON; amounts are text, by currency (or ``).

    Args:
        models: before and after.
        comparison: of these.
        name: what they were asked.
        left_out: what they were not asked, by the reason.
        judged: whether the truth is known.
        examples: descriptors of each change.
    """
    cells = comparison.cells
    taxonomies = [each.artifact.taxonomy for each in models]
    names = list(dict.fromkeys(each for one in taxonomies for each in one.categories))
    moved = moves(cells)
    every = {move: int(moved.filter(pl.col("move") == move)["records"].sum()) for move in MOVES}
    records, changed = every["all"], every["another category"]
    without = () if judged else _RIGHT
    found = [_plain(row) for row in changes(cells).drop(without).to_dicts()]
    if examples:
        grouped = changes(comparison.groups, by_group=True).drop(without)
        some = grouped.group_by("before", "after", maintain_order=True).head(examples)
        by_change: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in some.to_dicts():
            by_change.setdefault((row.pop("before"), row.pop("after")), []).append(_plain(row))
        for each in found:
            each["examples"] = by_change.get((each["before"], each["after"]), [])
    right = {side: int(cells[side].sum()) for side in _RIGHT}
    return {
        "before": _described(models[0]),
        "after": _described(models[1]),
        "taxonomies": _taxonomies(*taxonomies),
        "data": name,
        "left_out": dict(left_out),
        "records": records,
        "changed": changed,
        "changed_share": changed / records,
        "into_review": every["into review"],
        "out_of_review": every["out of review"],
        "right": right if judged else None,
        "moves": [row | {"amount": _text(row["amount"])} for row in moved.to_dicts()],
        "changes": found,
        "categories": [_category(row) for row in categories(cells, names).to_dicts()],
    }


def write(file: Path, comparison: Comparison, *, judged: bool) -> int:
    """Writes a line for each descriptor whose category changes, and returns how many.

    In a descriptor there are letters, digits, `#` and blanks only, so that no spreadsheet takes it
    for a formula.
    """
    each = pl.element().struct
    amount = pl.format("{} {}", each["amount"].cast(pl.String), each["currency"].fill_null(""))
    lines = (
        changes(comparison.groups, by_group=True)
        .with_columns(
            pl.col("amounts").list.eval(amount.str.strip_chars()).list.join(", "),
            pl.col("confidence_before", "confidence_after").round(4),
        )
        .select(
            "group",
            "descriptor",
            "before",
            "after",
            "records",
            "amounts",
            "confidence_before",
            "confidence_after",
            "review_before",
            "review_after",
            *(_RIGHT if judged else ()),
        )
    )
    lines.write_csv(file, include_bom=True)
    return lines.height


def show(told: Mapping[str, Any], *, top: int) -> None:
    """Prints what `document` has made.

    Args:
        told: that.
        top: how many changes, at most.
    """
    for side in ("before", "after"):
        say(f"{side:<7} {told[side]['model']} {told[side]['version']}")
    say(f"on      {told['records']:,} {told['data']}")
    for reason, count in told["left_out"].items():
        say(f"        {counted(count, 'row', 'rows')} left out: {reason}")
    _show_taxonomies(told["taxonomies"])
    say("")
    _show_moves(told)
    if told["right"] is not None:
        _show_right(told)
    found = told["changes"]
    if not found:
        say("\nNo record changes its category.")
        return
    _show_changes(found[:top], len(found))
    if told["right"] is not None and top:
        _show_judged(found[:top])
    _show_categories(told["categories"])
    for change in found[:top]:
        if change.get("examples"):
            _show_examples(change)
    if "csv" in told:
        _show_file(**told["csv"])


def _described(chosen: Chosen) -> dict[str, Any]:
    artifact = chosen.artifact
    return {
        "model": artifact.name,
        "version": artifact.version,
        "place": chosen.place,
        "taxonomy": artifact.taxonomy.name,
        "taxonomy_version": artifact.taxonomy.version,
    }


def _taxonomies(before: Taxonomy, after: Taxonomy) -> dict[str, Any]:
    same = (before.name, before.version) == (after.name, after.version)
    return {
        "same": same and set(before.categories) == set(after.categories),
        "only_before": [each for each in before.categories if each not in after.categories],
        "only_after": [each for each in after.categories if each not in before.categories],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 4)
        if isinstance(value, float)
        else {each["currency"] or "": _text(each["amount"]) for each in value}
        if name == "amounts"
        else value
        for name, value in row.items()
    }


def _category(row: dict[str, Any]) -> dict[str, Any]:
    amounts = {
        each["currency"] or "": {
            "before": _text(each["before"]),
            "after": _text(each["after"]),
            "difference": _text(each["after"] - each["before"]),
        }
        for each in row.pop("amounts")
    }
    return row | {"difference": row["after"] - row["before"], "amounts": amounts}


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


# ---------------------------------------------------------------- what is shown


def _show_taxonomies(told: Mapping[str, Any]) -> None:
    if told["same"]:
        return
    lacking = ((side, told[f"only_{side}"]) for side in ("before", "after"))
    only = (f" Only {side}: {', '.join(names)}." for side, names in lacking if names)
    say(f"\nThe taxonomies differ; categories are compared by name.{''.join(only)}")


def _show_moves(told: Mapping[str, Any]) -> None:
    rows = _numbers(("", ""), "records", "%", "amount", "%")
    by_currency = [list(block) for _, block in groupby(told["moves"], lambda row: row["currency"])]
    if len(by_currency) > 1:
        for place, move in enumerate(row["move"] for row in by_currency[0]):
            count = sum(block[place]["records"] for block in by_currency)
            share = _share(count, told["records"]) if place else ""
            rows.add_row("", move, f"{count:,}", share, "", "")
    for block in by_currency[:_CURRENCIES]:
        every = block[0]
        for row in block:
            is_all = row is every
            rows.add_row(
                (row["currency"] or "") if is_all else "",
                row["move"],
                f"{row['records']:,}",
                "" if is_all else _share(row["records"], every["records"]),
                _amount(row["amount"]),
                "" if is_all else _share(row["amount"], every["amount"]),
            )
    print_table(rows)
    if (more := len(by_currency) - _CURRENCIES) > 0:
        say(f"\n{counted(more, 'currency', 'currencies')} more; --json has all of them.")


def _show_right(told: Mapping[str, Any]) -> None:
    right, records = told["right"], told["records"]
    before, after = (right[side] / records for side in _RIGHT)
    say(
        f"\nRight: {percent(before)} before, {percent(after)} after "
        f"({right['right_after'] - right['right_before']:+,} records)."
    )


def _show_changes(found: list[dict[str, Any]], every: int) -> None:
    rows = _numbers(("from", "to"), "records", "amount", "conf.\nbefore", "\nafter")
    for each in found:
        rows.add_row(
            escape(each["before"]),
            escape(each["after"]),
            f"{each['records']:,}",
            _amounts(each["amounts"]),
            f"{each['confidence_before']:.2f}",
            f"{each['confidence_after']:.2f}",
        )
    if found:
        say("")
        print_table(rows)
    if more := every - len(found):
        say(f"\n{counted(more, 'change', 'changes')} more from one category to another (--top).")


def _show_judged(found: list[dict[str, Any]]) -> None:
    rows = _numbers(("from", "to"), "records", "right\nbefore", "right\nafter", "neither")
    for each in found:
        neither = each["records"] - each["right_before"] - each["right_after"]
        counts = (each["records"], each["right_before"], each["right_after"], neither)
        rows.add_row(escape(each["before"]), escape(each["after"]), *(f"{one:,}" for one in counts))
    say("")
    print_table(rows)


def _show_categories(found: list[dict[str, Any]]) -> None:
    rows = _numbers(("category",), "before", "after", "difference", "in amount")
    for each in found:
        differences = {
            currency: amounts["difference"]
            for currency, amounts in each["amounts"].items()
            if Decimal(amounts["difference"])
        }
        rows.add_row(
            escape(each["category"]),
            f"{each['before']:,}",
            f"{each['after']:,}",
            f"{each['difference']:+,}" if each["difference"] else "",
            _amounts(differences, sign="+"),
        )
    say("")
    print_table(rows)


def _show_examples(change: Mapping[str, Any]) -> None:
    say(f"\n{change['before']} → {change['after']}")
    rows = table(
        Column("records", justify="right"),
        Column("amount", justify="right", no_wrap=True),
        Column("descriptor", no_wrap=True, overflow="ellipsis"),
    )
    for each in change["examples"]:
        amounts = _amounts(each["amounts"])
        rows.add_row(f"{each['records']:,}", amounts, escape(each["descriptor"]))
    print_table(rows)


def _show_file(file: str, descriptors: int, let_go: int) -> None:
    say(f"\nWrote {counted(descriptors, 'descriptor', 'descriptors')} to {file}.")
    if let_go:
        say(f"Those of the fewest records are not among them: {let_go:,} records.")


def _numbers(names: tuple[str, ...], *numbers: str) -> Table:
    """A table of words and, to the right of them, numbers."""
    columns = (Column(each, justify="right", no_wrap=True) for each in numbers)
    return table(*names, *columns)


def _amounts(amounts: Mapping[str, str], *, sign: str = "") -> str:
    """A few amounts, one a line."""
    lines = [f"{_amount(each, sign)} {currency}".rstrip() for currency, each in amounts.items()]
    more = [f"and {len(lines) - _AMOUNTS} more"] if len(lines) > _AMOUNTS else []
    return "\n".join(lines[:_AMOUNTS] + more)


def _amount(amount: str | None, sign: str = "") -> str:
    return "" if amount is None else f"{Decimal(amount):{sign},.2f}"


def _share(part: str | int | None, whole: str | int | None) -> str:
    if part is None or not whole or not Decimal(whole):
        return ""
    return f"{100 * Decimal(part) / Decimal(whole):.1f}"
