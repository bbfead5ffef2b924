"""The command line of the streaming services: what can be asked of them."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a service uses

from typing import NoReturn

import typer

app = typer.Typer(
    help="Classify the transactions on a Kafka topic, for as long as they come.",
    no_args_is_help=True,
)


@app.callback()
def stream() -> None:
    """Keeps a single command a command of its own."""


@app.command()
def topics() -> None:
    """Make the topics that are missing.

    Their names, partitions and replication are settings: see ASSAY_STREAM__TOPIC and
    its neighbours. Topics that are there stay as they are.

    Exit codes: 0 done, 75 Kafka is away, 78 settings or rights are wrong.
    """
    from assay_streaming import bootstrap

    for name, is_new in bootstrap.make_topics(bootstrap.read(bootstrap.KafkaSettings)):
        typer.echo(f"{name}: {'made' if is_new else 'is there'}")


def main() -> NoReturn:
    """Runs the services by themselves, as in their image."""
    from assay_streaming import bootstrap

    bootstrap.run(app)
