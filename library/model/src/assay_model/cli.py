"""The command `assay model`."""

import hashlib
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import polars as pl
import typer
from rich.console import Console
from rich.table import Column, Table

from assay.domain.errors import AssayError, Fatal, Unreadable
from assay_model.artifact import SHIPPED, save
from assay_model.evaluate import evaluate as measured
from assay_model.predict import Model

app = typer.Typer(help="Train, evaluate and describe the model.", no_args_is_help=True)

_ModelFile = Annotated[
    Path, typer.Option("--model", help="A model file.", show_default="the shipped one")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="Folder of the training data.")],
    out: Annotated[Path, typer.Option(help="Where to write the model.")] = Path("model.npz"),
) -> None:
    """Train a model; the same data give the same bytes."""
    with _exit_codes():
        try:
            # The service that only predicts goes without scikit-learn.
            from assay_model import train as training  # noqa: PLC0415
        except ImportError as error:
            raise Fatal("training needs an extra: pip install 'assay-model[training]'") from error
        save(training.train(data, _progress), out)
        _progress(f"wrote {out}, {out.stat().st_size} bytes")


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="CSV (or .gz, .zst): description, category.")],
    model: _ModelFile = SHIPPED,
    *,
    as_json: _AsJson = False,
) -> None:
    """Measure the model on labelled descriptions."""
    with _exit_codes():
        judge = Model.load(model)
        rows = _labelled(file, judge.taxonomy.categories)
        _progress(f"judging {rows.height} rows")
        _show(
            {"model": judge.name, "version": judge.version} | asdict(measured(judge, rows)),
            as_json=as_json,
        )


@app.command()
def info(model: _ModelFile = SHIPPED, *, as_json: _AsJson = False) -> None:
    """Say what the model is, what it learnt from and how good it was found to be."""
    with _exit_codes():
        judge = Model.load(model)
        artifact = judge.artifact
        _show(
            {
                "model": judge.name,
                "version": judge.version,
                "taxonomy": judge.taxonomy.name,
                "taxonomy_version": judge.taxonomy.version,
                "categories": judge.taxonomy.categories,
                "review_below": artifact.review_below,
                "temperature": artifact.temperature,
                "bytes": model.stat().st_size,
                "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            }
            | artifact.notes,
            as_json=as_json,
        )


def _labelled(file: Path, categories: tuple[str, ...]) -> pl.DataFrame:
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


@contextmanager
def _exit_codes() -> Generator[None]:
    try:
        yield
    except AssayError as error:
        _progress(str(error))
        raise typer.Exit(error.exit_code) from error


def _progress(message: str) -> None:
    typer.echo(message, err=True)


def _show(facts: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(facts))
        return
    table = Table("", Column(overflow="fold"), box=None, show_header=False, pad_edge=False)
    for name, fact in facts.items():
        table.add_row(name, _text(fact))
    Console(highlight=False).print(table)


def _text(fact: object) -> str:
    if isinstance(fact, float):
        return f"{fact:.4f}"
    if isinstance(fact, tuple):
        return ", ".join(cast(tuple[str, ...], fact))
    return fact if isinstance(fact, str) else json.dumps(fact, indent=1)
