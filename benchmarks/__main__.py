"""`python benchmarks batch …`: one command for each benchmark."""

import typer
from batch import batch

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command()(batch)


@app.callback()
def benchmarks() -> None:
    """Rates on real servers, and the same work done by peers."""


if __name__ == "__main__":
    app()
