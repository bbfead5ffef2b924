"""Options that several commands have, with one meaning."""

from pathlib import Path
from typing import Annotated

import typer

ModelName = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL", help="A version or a file; unless given, the one that is served."
    ),
]
Contract = Annotated[
    Path | None,
    typer.Option(metavar="CONTRACT", help="Read FILE by this contract, as a run would."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
