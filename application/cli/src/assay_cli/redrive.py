"""The command line of `assay dead-letters redrive`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a run uses

from pathlib import Path
from typing import Annotated

import typer

from assay.domain.choice import Filter
from assay_cli import bootstrap
from assay_cli.letter_filter import ATTEMPTS, MANY, By, duration, filtered


@filtered("states", "max_attempts", must_choose=True)
def redrive(
    *,
    contract: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="How records from files are written, an ODCS document; the one with the id in"
            " their source. May be repeated.",
        ),
    ] = None,
    edit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Put a value in place of what every record says: timestamp as"
            " 2024-05-31T18:03:09Z, amount as 1234.50, side as debit. Checked before anything is"
            " claimed. The letters keep their own bytes. May be repeated.",
        ),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Read and validate only; claim and write nothing.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=MANY, metavar="N", help="Try this many at most, oldest first."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.1, metavar="N", help="Records in a second, at most.")
    ] = None,
    max_attempts: Annotated[
        int,
        typer.Option(
            min=2,
            max=ATTEMPTS,
            metavar="N",
            help="Leave out what has been tried so often already.",
        ),
    ] = 5,
    patience: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="How long a dependency may be away before the run ends with 75: 90s, 15m, 2h.",
        ),
    ] = "15m",
    by: By = None,
    chosen: Filter,
) -> None:
    """Try open dead letters again, through the same pipeline.

    What succeeds, or is known already, is closed; what fails again stays open
    with its new reason and one attempt more, and is published again. What one
    redrive is at, no other takes.

    Examples:
      assay dead-letters redrive --code classifier_gave_up
      assay dead-letters redrive --run RUN_ID --contract cards.odcs.yaml
      assay dead-letters redrive --id 7 --edit side=debit --contract c.odcs.yaml

    The last line on standard output is a summary in JSON.

    Exit codes: 0 done, also where some failed again; 75 something is away or
    another redrive holds these letters: run again; 78 nothing says which
    letters, a contract is missing, or settings are wrong; 99 there are none.
    """
    from assay_cli import redrive_run

    waits = duration(patience)
    if waits is None:
        raise typer.BadParameter(f"{patience} is no duration such as 90s, 15m or 2h")
    code = redrive_run.run(
        chosen,
        contracts=contract or (),
        edits=edit or (),
        dry=dry,
        limit=limit,
        rate=rate,
        max_attempts=max_attempts,
        patience=waits.total_seconds(),
        by=by or bootstrap.user(),
    )
    raise typer.Exit(code)
