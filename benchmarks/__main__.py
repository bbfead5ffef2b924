"""`python benchmarks batch …`: one command for each benchmark; without one, the whole of it."""

import typer
from batch import batch
from duplicates import duplicates
from fan_out import fan_out
from guard import guard
from latency import latency
from limits import limits
from report import document, plan, report
from scaling import scaling
from stream import stream
from tables import tables
from warm import warm

app = typer.Typer(add_completion=False)
app.command()(report)
app.command()(batch)
app.command()(stream)
app.command()(scaling)
app.command()(tables)
app.command()(latency)
app.command()(duplicates)
app.command()(warm)
app.command()(fan_out)
app.command()(limits)
app.command()(guard)
app.command()(document)
app.command()(plan)


@app.callback(invoke_without_command=True)
def benchmarks(context: typer.Context) -> None:
    """Rates on real servers, and the same work done by peers.

    Without a command: the product and a plain loop on all jobs in turns, and the limits.
    """
    if context.invoked_subcommand is None:
        report()


if __name__ == "__main__":
    app(prog_name="poe bench")
