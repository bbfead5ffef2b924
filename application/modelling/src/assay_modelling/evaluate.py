"""The command `assay model evaluate`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.domain.errors import Unreadable
from assay_modelling.output import Json, progress, show_facts

if TYPE_CHECKING:
    import polars as pl


def evaluate(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV (or .gz, .zst) with description and category."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="A version or a file; unless given, the one that is served."
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Measure a model on labelled descriptions.

    Example:
      assay model evaluate labels.csv --model 1-3f9a

    Exit codes: 0 done; 65 the labels cannot be used; 75 the registry is away;
    78 there is no such model, it is damaged, or settings are wrong.
    """
    from assay_model.evaluate import evaluate as measured
    from assay_model.predict import Model
    from assay_modelling.chosen import chosen

    judge = Model.of(chosen(model).artifact)
    rows = _labelled(file, judge.taxonomy.categories)
    progress(f"judging {rows.height} rows")
    show_facts(
        {"model": judge.name, "version": judge.version} | asdict(measured(judge, rows)),
        as_json=as_json,
    )


def _labelled(file: Path, categories: tuple[str, ...]) -> "pl.DataFrame":
    import polars as pl

    try:
        rows = pl.read_csv(file, columns=["description", "category"], infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Unreadable(
            f"{file} cannot be read as CSV with columns description and category"
        ) from error
    if rows.is_empty():
        raise Unreadable(f"{file} has no rows")
    if empty := rows.filter(pl.any_horizontal(pl.all().is_null())).height:
        raise Unreadable(f"{file}: {empty} rows have no description or no category")
    unknown = rows.filter(~pl.col("category").is_in(categories))["category"].unique().sort()
    if unknown.len():
        raise Unreadable(f"{file} has categories that the model lacks: {', '.join(unknown)}")
    return rows
