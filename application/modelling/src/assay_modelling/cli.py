"""The commands `assay model`."""

from typing import NoReturn

import typer

from assay_modelling.compare import compare
from assay_modelling.evaluate import evaluate
from assay_modelling.explain import explain
from assay_modelling.info import info
from assay_modelling.life_cycle import add, history, list_, promote, rollback, shadow
from assay_modelling.train import train

app = typer.Typer(
    help="Train, judge and describe models, and say which one is served.", no_args_is_help=True
)
app.command("list")(list_)
app.command()(add)
app.command()(promote)
app.command()(rollback)
app.command()(shadow)
app.command()(history)
app.command()(info)
app.command()(explain)
app.command()(evaluate)
app.command()(compare)
app.command()(train)


def main() -> NoReturn:
    """Runs the commands by themselves, where `assay` is not installed."""
    from assay_modelling import bootstrap  # noqa: PLC0415 - help does not wait for it

    bootstrap.run(app)
