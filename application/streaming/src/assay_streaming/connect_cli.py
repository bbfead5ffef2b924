"""The command line of the connectors: who gets what was classified on topics."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a service uses

from importlib.metadata import EntryPoint, entry_points
from inspect import cleandoc
from typing import Annotated, Final

import typer

from assay.domain.errors import Fatal
from assay.ports.target import Connector
from assay_streaming.cli import InstanceId, RejectLimit, Start, StatusPort, UntilIdle

GROUP: Final = "assay.connectors"

_ANYTHING: Final = {"allow_extra_args": True, "ignore_unknown_options": True}
_ENDING: Final = """

SIGTERM and Ctrl-C end it: what it is delivering by then is delivered, what it
has only read is read again. A second one ends it at once, and loses nothing
either.

The last line on standard output is a summary in JSON.

Exit codes: 0 stopped; 65 too many records were refused; 78 settings or rights
are wrong, or records that were never read are gone from the topic.
"""

app = typer.Typer(
    help="Take what `assay stream classify` has put on topics to whoever wants it.",
    no_args_is_help=True,
)


@app.callback()
def connect() -> None:
    """Keeps a single command a command of its own."""


_Group = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Connectors of one group share the topic's partitions; another one reads it from its"
        " beginning. Unless given, ASSAY_STREAM__GROUP and the connector's name: assay-postgres.",
    ),
]


@app.command()
def postgres(
    *,
    group: _Group = None,
    instance_id: InstanceId = None,
    start: Start = None,
    reject_limit: RejectLimit = 0.5,
    until_idle: UntilIdle = None,
    status_port: StatusPort = None,
) -> None:
    """Store predictions of a topic in PostgreSQL, with the books of who made them.

    The tables are those of `assay stream consume`, and so are the guarantees:
    each prediction leaves through exactly one door. Here is judged which ids
    came before; what differs under a known id becomes a dead letter with the
    record that was classified. The ledger and the dead letters that classifiers
    keep on topics are copied beside it, so that `assay reconcile` proves the
    whole way from the topic of transactions to the rows.

    SIGTERM and Ctrl-C end it: what was read by then is committed. A second one
    ends it at once, and loses nothing either.

    Examples:
      assay connect postgres --instance-id postgres-1 --status-port 9402
      assay connect postgres --until-idle 10

    The last line on standard output is a summary in JSON.

    Exit codes: 0 stopped; 65 too many records were rejected; 75 PostgreSQL was
    away at the start; 78 settings, rights or tables are wrong, or records that
    were never read are gone from the topic.
    """
    from assay_streaming import consumer

    code = consumer.to_postgres(
        overrides={
            "group": group,
            "instance_id": instance_id,
            "start": start,
            "status_port": status_port,
        },
        reject_limit=reject_limit,
        until_idle=until_idle,
    )
    raise typer.Exit(code)


@app.command()
def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show who reads the predictions: how far, how far behind, and the last commit.

    All groups that have read the topic are shown, Assay's or not, running or not.
    A last commit is known of those that enter it on the topic of the ledger,
    while it is among the latest there; `assay connect postgres` has its own in
    its tables.

    Exit codes: 0 shown; 75 Kafka is away; 78 settings or rights are wrong, or
    there is no such topic.
    """
    from assay_streaming import bootstrap, readers
    from assay_streaming.bootstrap import fan_out

    settings = bootstrap.read(bootstrap.KafkaSettings)
    found = fan_out.readers_of(settings)
    readers.show(settings.stream.prediction_topic, found, as_json=as_json)


def _add(name: str, connector: Connector) -> None:
    """A command for a connector."""

    def to_target(
        *,
        group: _Group = None,
        instance_id: InstanceId = None,
        start: Start = None,
        reject_limit: RejectLimit = 0.5,
        until_idle: UntilIdle = None,
        status_port: StatusPort = None,
    ) -> None:
        from assay_streaming import consumer

        code = consumer.to_target(
            name,
            connector,
            overrides={
                "group": group,
                "instance_id": instance_id,
                "start": start,
                "status_port": status_port,
            },
            reject_limit=reject_limit,
            until_idle=until_idle,
        )
        raise typer.Exit(code)

    app.command(name, help=cleandoc(connector.about).rstrip() + _ENDING)(to_target)


def _stand_in(name: str, message: str) -> None:
    """A command that says why there is none; the others do not suffer from it."""

    def unavailable() -> None:
        raise Fatal(message)

    app.command(name, help=message, context_settings=_ANYTHING, add_help_option=False)(unavailable)


def _add_all(found: list[EntryPoint]) -> None:
    for entry in found:
        try:
            connector = entry.load()
        except ImportError as error:
            _stand_in(entry.name, f"not available: {entry.value} cannot be imported: {error}")
            continue
        if isinstance(connector, Connector):
            _add(entry.name, connector)
        else:
            _stand_in(
                entry.name, f"not available: {entry.value} is no assay.ports.target.Connector"
            )


_add_all(sorted(entry_points(group=GROUP), key=lambda entry: entry.name))
