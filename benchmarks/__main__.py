"""`python benchmarks batch …`: one command for each benchmark."""

import typer
from batch import batch
from latency import latency
from stream import stream

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command()(batch)
app.command()(stream)
app.command()(latency)


@app.callback()
def benchmarks() -> None:
    """Rates on real servers, and the same work done by peers."""


if __name__ == "__main__":
    app()
