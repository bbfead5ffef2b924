"""The command `assay model compare`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from assay.domain.errors import DATA, NOTHING_TO_DO, AssayError
from assay_modelling import bootstrap
from assay_modelling.given import given
from assay_modelling.options import Contract, Json
from assay_modelling.output import print_json, say

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from assay_model.predict import Model

_SLICE: Final = 50_000  # rows of a file that are asked together

_Before = Annotated[
    str,
    typer.Argument(metavar="BEFORE", help="A version or a file, or `served`."),
]
_After = Annotated[str, typer.Argument(metavar="AFTER", help="The same of the other one.")]


class TooMuch(AssayError):
    """More would change than the caller puts up with."""

    exit_code = DATA


@dataclass(frozen=True)
class _Data:
    """What the models are asked.

    Attributes:
        name: what it is, for people.
        records: how many, about.
        frames: of them; held in memory one at a time.
        left_out: rows that are not among them, by the reason.
    """

    name: str
    records: int
    frames: "Iterator[pl.DataFrame]"
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])


def compare(
    before: _Before,
    after: _After,
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Ask them these rows, a CSV; .gz and .zst too.", show_default=False
        ),
    ] = None,
    contract: Contract = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="FILE has the true category there: say who is right."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="So many stored transactions, those that were committed last.",
            show_default="all",
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many changes are shown, the largest.")
    ] = 20,
    examples: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="So many descriptors of each of them, the most frequent."
        ),
    ] = 0,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every descriptor whose category changes."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
    fail_above: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="SHARE", help="End with 65 if a greater share changes category."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what would change with another version, by category and amount.

    Both models are asked the same, here: the transactions in PostgreSQL
    (ASSAY_POSTGRES__URL), or a FILE with a column description, and merchant,
    amount and currency where it has them. Nothing is stored.

    Amounts are magnitudes. What people have corrected is left out of account. A
    descriptor is description and merchant as the model reads them, without
    reference numbers; people's names may be left in it. So none is shown unless
    --examples or --csv asks for it; that file is for its owner only.

    Examples:
      assay model compare served 2-8b1c
      assay model compare served 2-8b1c --limit 100000 --examples 3
      assay model compare 1-3f9a ./model.npz --data labels.csv --label category
      assay model compare served 2-8b1c --csv changes.csv --fail-above 0.05

    Exit codes: 0 done, whatever differs; 65 FILE cannot be used, or more changes
    than --fail-above allows; 75 the registry or PostgreSQL is away; 78 there is
    no such model, it is damaged, the CSV exists, a contract or settings are
    wrong, or `assay migrate` is due; 99 both are the same, or nothing is stored.
    """
    from assay_model.compare import Comparison, compared
    from assay_model.predict import Model
    from assay_modelling.chosen import chosen
    from assay_modelling.differences import document, show, write

    _require(data, contract=contract, label=label, limit=limit)
    found = chosen(before), chosen(after)
    if found[0].sha256 == found[1].sha256:
        _nothing(
            f"{before} and {after} are the same: {found[0].artifact.version}.", as_json=as_json
        )
    models = Model.of(found[0].artifact), Model.of(found[1].artifact)
    kept = bool(examples or csv)
    comparison = Comparison(groups=kept)
    # A file that cannot be written is found out before the work.
    with nullcontext() if csv is None else bootstrap.whole(csv, replace=force) as part:
        with _data(models, data, contract, label, limit) as asked, _shown(asked.records) as at:
            for rows in asked.frames:
                comparison.add(compared(*models, rows, descriptors=kept))
                at(rows.height)
        if comparison.cells.is_empty():
            _nothing("No transactions are stored.", as_json=as_json)
        told = document(
            found,
            comparison,
            name=asked.name,
            left_out=asked.left_out,
            judged=label is not None,
            examples=examples,
        )
        if part is not None:
            lines = write(part, comparison, judged=label is not None)
            told["csv"] = {"file": str(csv), "descriptors": lines, "let_go": comparison.let_go}
    if as_json:
        print_json(told)
    else:
        show(told, top=top)
    if fail_above is not None and told["changed_share"] > fail_above:
        raise TooMuch(
            f"{100 * told['changed_share']:.2f} % of the records change category, more than "
            f"--fail-above {fail_above:g} allows"
        )


def _require(
    data: Path | None, *, contract: Path | None, label: str | None, limit: int | None
) -> None:
    """Returns if these options go together."""
    for name, value in (("--contract", contract), ("--label", label)):
        if value is not None and data is None:
            raise typer.BadParameter("belongs to --data", param_hint=name)
    if limit is not None and data is not None:
        raise typer.BadParameter(
            "belongs to stored transactions, not to --data", param_hint="--limit"
        )


def _nothing(why: str, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"nothing": why})
    else:
        say(why)
    raise typer.Exit(NOTHING_TO_DO)


@contextmanager
def _data(
    models: "tuple[Model, Model]",
    file: Path | None,
    contract: Path | None,
    label: str | None,
    limit: int | None,
) -> Generator[_Data]:
    if file is None:
        with bootstrap.stored(limit) as (records, frames):
            yield _Data("stored transactions", records, frames)
        return
    from assay_model.labels import as_they_are

    known = dict.fromkeys(name for each in models for name in each.taxonomy.categories)
    labelled = given(file, contract, label, as_they_are(known))
    rows = labelled.rows
    yield _Data(f"rows of {file.name}", rows.height, rows.iter_slices(_SLICE), labelled.left_out)


@contextmanager
def _shown(records: int) -> "Generator[Callable[[int], None]]":
    """A bar on a terminal, which is told how many records more are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(
        *columns, console=console, expand=True, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=records)
        yield lambda more: bar.advance(task, more)
