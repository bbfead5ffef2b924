"""The command `assay model info`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from typing import Annotated

import typer

from assay_modelling.options import Json
from assay_modelling.output import show_facts


def info(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="A version or a file; unless given, the one that is served."
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Say what a model is, what it learnt from and how good it was found to be.

    Examples:
      assay model info 1-3f9a
      assay model info ./model.npz --json

    Exit codes: 0 done; 75 the registry is away; 78 there is no such model, it is
    damaged, or settings are wrong.
    """
    from assay_modelling.chosen import chosen

    found = chosen(model)
    artifact, taxonomy = found.artifact, found.artifact.taxonomy
    named = {"taxonomy": taxonomy.name, "taxonomy_version": taxonomy.version}
    if not as_json:  # a longer name would leave too little of a line to a digest
        named = {"taxonomy": f"{taxonomy.name}, version {taxonomy.version}"}
    facts = {
        "model": artifact.name,
        "version": artifact.version,
        **named,
        "categories": taxonomy.categories,
        "review_below": artifact.review_below,
        "temperatures": artifact.weights.temperatures.tolist(),
        "place": found.place,
        "bytes": found.size,
        "sha256": found.sha256,
    }
    # No note stands in the place of what is known of the file itself.
    show_facts(facts | (artifact.notes | facts), as_json=as_json)
