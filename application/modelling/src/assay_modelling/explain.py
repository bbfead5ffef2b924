"""The command `assay model explain`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Column

from assay.domain.errors import Fatal
from assay_modelling.options import Json, ModelName
from assay_modelling.output import print_json, progress, say, show, table

if TYPE_CHECKING:
    from assay_model.corrections import Corrected
    from assay_model.predict import Model
    from assay_modelling.chosen import Chosen


def explain(
    text: Annotated[str, typer.Argument(help="A description.")],
    *,
    merchant: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The merchant, where one is known.")
    ] = None,
    mcc: Annotated[
        int | None,
        typer.Option(min=0, max=9999, metavar="CODE", help="The merchant category code."),
    ] = None,
    side: Annotated[
        Literal["debit", "credit"] | None,
        typer.Option(metavar="SIDE", help="debit or credit."),
    ] = None,
    operation_type: Annotated[
        Literal["payment", "direct_debit", "transfer", "refund"] | None,
        typer.Option(metavar="TYPE", help="payment, direct_debit, transfer or refund."),
    ] = None,
    model: ModelName = None,
    as_json: Json = False,
) -> None:
    """Say what a model answers for a description, and which of its words carried that.

    Of description and merchant the first 1,024 characters each are read, and 256
    each count once they are normalised. A version of the registry answers with
    the corrections that are published there (ASSAY_MODELS__REGISTRY), as the
    model API does; a file answers by itself.

    Examples:
      assay model explain "SQ *CORNER BAKERY" --mcc 5462
      assay model explain "CARD 1234" --merchant "City Taxi" --model ./model.npz

    Exit codes: 0 done; 75 the registry is away; 78 there is no such model, it is
    damaged, or settings are wrong.
    """
    import polars as pl

    from assay_model.corrections import Corrected
    from assay_modelling.chosen import chosen

    found = chosen(model)
    judge = _as_corrected(found)
    given = {
        "description": text,
        "merchant": merchant,
        "mcc": None if mcc is None else f"{mcc:04}",
        "side": side,
        "operation_type": operation_type,
    }
    frame = pl.DataFrame([given], schema=dict.fromkeys(given, pl.String))
    predictions = judge.predict(frame)
    (parts,) = judge.explain(frame, predictions["category"]).to_list()
    answer = predictions.row(0, named=True)
    if as_json:
        print_json({"model_version": judge.version, **answer, "explanation": parts})
        return
    review = ", needs review" if answer["needs_review"] else ""
    say(f"{answer['category']}, confidence {answer['confidence']:.2f}{review}")
    if answer["needs_review"] and answer["confidence"] >= found.artifact.review_below:
        say("Not one of its words is known, which always needs review.")
    if isinstance(judge, Corrected) and parts[0]["kind"] == "correction":
        by_itself = judge.model.predict(frame).row(0, named=True)
        say(
            "People have said so: a correction decides. By itself the model answers"
            f" {by_itself['category']}, confidence {by_itself['confidence']:.2f}."
        )
    rows = table(Column("weight", justify="right"), "kind", "part")
    for part in parts:
        rows.add_row(f"{part['weight']:+.2f}", part["kind"], escape(part["part"]))
    show(rows)


def _as_corrected(found: "Chosen") -> "Model | Corrected":
    """The model, with the corrections of the registry that it is of; without those it cannot use.

    Raises:
        Unavailable: the registry is away.
    """
    from assay_model.corrections import corrected
    from assay_model.predict import Model

    model = Model.of(found.artifact)
    item = None if found.registry is None else found.registry.said()
    if found.registry is None or item is None:
        return model
    try:
        return corrected(model, found.registry.corrections(item))
    except Fatal as error:
        progress(f"no corrections are in force: {error}")
        return model
