"""The command line of `assay rescore`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a run uses

from typing import Annotated

import typer

from assay_cli.letter_filter import MANY, duration


def rescore(
    *,
    model_version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="VERSION",
            help="Predict with this version, and wait for the model API to serve it; its whole name"
            " is needed. Without, with the one that the API serves just now.",
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Once all are predicted with this version, go through all of them once more:"
            " for those that were rejected, or whose predictions were deleted.",
        ),
    ] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Count what is to be predicted; write nothing.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MANY,
            metavar="N",
            help="Stop once this many are predicted; the chunk that reaches it is done whole.",
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.1, metavar="N", help="Transactions in a second, at most.")
    ] = None,
    reject_limit: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="The share of transactions that the model may reject, from 0 to 1. Beyond it the"
            " run ends, since something must be wrong with the model. 1 accepts any.",
        ),
    ] = 0.5,
    patience: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="How long a dependency may be away, or --version be waited for, before the run"
            " ends with 75: 90s, 15m, 2h.",
        ),
    ] = "15m",
) -> None:
    """Predict all stored transactions again, with another version of the model.

    Earlier predictions stay; the view latest_predictions has the newest of
    each transaction. What people have said of groups holds for them as well,
    also where this version names the groups anew. Whatever ends a run, the
    next one goes on where it stopped, and one that all is done for finds
    nothing to do. Transactions that are stored while it runs are left to the
    pipeline, whose version they have: where that was still an older one, run
    again.

    Examples:
      assay rescore --dry-run
      assay rescore --version 7 --rate 20000

    The last line on standard output is a summary in JSON.

    Exit codes: 0 done; 65 the model rejects too many; 75 something is away,
    the model API has come to serve another version, or another rescore with
    this one is at work: run again; 78 settings are wrong or `assay migrate` is
    due; 99 there is nothing to predict.
    """
    from assay_cli import rescore_run

    waits = duration(patience)
    if waits is None:
        raise typer.BadParameter(f"{patience} is no duration such as 90s, 15m or 2h")
    code = rescore_run.run(
        wanted=model_version,
        again=again,
        dry=dry,
        limit=limit,
        rate=rate,
        reject_limit=reject_limit,
        patience=waits.total_seconds(),
    )
    raise typer.Exit(code)
