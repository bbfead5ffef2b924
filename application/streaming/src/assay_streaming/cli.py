"""The command line of the streaming services: what can be asked of them."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a service uses

from typing import Annotated, Literal, NoReturn

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


@app.command()
def consume(
    *,
    topic: Annotated[
        str | None, typer.Option(metavar="NAME", help="Not the one of ASSAY_STREAM__TOPIC.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Consumers of one group share the topic's partitions; unless given,"
            " ASSAY_STREAM__GROUP.",
        ),
    ] = None,
    instance_id: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A name that this consumer keeps when it is started again, so that a short"
            " absence moves no partition. Each consumer has its own.",
        ),
    ] = None,
    start: Annotated[
        Literal["earliest", "latest"] | None,
        typer.Option("--from", help="Where a topic begins that was never read."),
    ] = None,
    reject_limit: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="The share of the latest records that may be rejected, from 0 to 1. Beyond it the"
            " consumer stops, since something else than the records must be wrong. 1 accepts any.",
        ),
    ] = 0.5,
    until_idle: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="End once all is read and nothing has come for so long; unless given, never.",
        ),
    ] = None,
    status_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            metavar="PORT",
            help="Where /health/live, /health/ready and /metrics are told; 0 takes a free one.",
        ),
    ] = None,
) -> None:
    """Classify a topic's records and store transactions, predictions and rejects.

    Start as many as you like in one group, on as many machines: each record leaves
    through exactly one door, whoever is stopped, killed or cut off. Where reading
    goes on stands in PostgreSQL; Kafka's own offsets follow for lag monitors.

    SIGTERM and Ctrl-C end it: what was read by then is committed. A second one ends
    it at once, and loses nothing either.

    The last line on standard output is a summary in JSON.

    Exit codes: 0 stopped; 65 too many records were rejected; 75 PostgreSQL was away
    at the start; 78 settings, rights or tables are wrong, or records that were never
    read are gone from the topic.
    """
    from assay_streaming import command

    code = command.consume(
        overrides={
            "topic": topic,
            "group": group,
            "instance_id": instance_id,
            "start": start,
            "status_port": status_port,
        },
        reject_limit=reject_limit,
        until_idle=until_idle,
    )
    raise typer.Exit(code)


def main() -> NoReturn:
    """Runs the services by themselves, as in their image."""
    from assay_streaming import bootstrap

    bootstrap.run(app)
