"""The command `assay model explain`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column

from assay_modelling.output import Json, print_json, say, show, table


def explain(
    text: Annotated[str, typer.Argument(help="A description.")],
    merchant: Annotated[str | None, typer.Option(help="The merchant, where one is known.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A version or a file; unless given, the one that is served."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Say what a model answers for a description, and which of its words carried that.

    Examples:
      assay model explain "SQ *CORNER BAKERY"
      assay model explain "CARD 1234" --merchant "City Taxi" --model ./model.npz

    Exit codes: 0 done; 75 the registry is away; 78 there is no such model, it is
    damaged, or settings are wrong.
    """
    import polars as pl

    from assay_model.predict import Model
    from assay_modelling.chosen import chosen

    judge = Model.of(chosen(model).artifact)
    frame = pl.DataFrame(
        {"description": [text], "merchant": [merchant]},
        schema={"description": pl.String, "merchant": pl.String},
    )
    predictions = judge.predict(frame)
    (parts,) = judge.explain(frame, predictions["category"]).to_list()
    answer = predictions.row(0, named=True)
    if as_json:
        print_json({"model_version": judge.version, **answer, "explanation": parts})
        return
    review = ", needs review" if answer["needs_review"] else ""
    say(f"{answer['category']}, confidence {answer['confidence']:.2f}{review}")
    rows = table(Column("weight", justify="right"), "kind", "part")
    for part in parts:
        rows.add_row(f"{part['weight']:+.2f}", part["kind"], escape(part["part"]))
    show(rows)
