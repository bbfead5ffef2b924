"""The command line of the streaming services: what can be asked of them."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a service uses

from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from assay_streaming.schedule import PresetName

app = typer.Typer(
    help="Classify the transactions on a Kafka topic, for as long as they come.",
    no_args_is_help=True,
)


_STANDINGS = {
    "registered": "is registered now",
    "is there": "is there",
    "another's": "is not Assay's, and stays as it is",
    "another format": "is not registered: its subject has Assay's in another format, and keeps it",
}


@app.callback()
def stream() -> None:
    """Keeps a single command a command of its own."""


@app.command()
def topics() -> None:
    """Make the topics that are missing, and register the schemas of their values.

    Their names, partitions and replication are settings: see
    ASSAY_STREAM__TOPIC and its neighbours. Topics that are there stay as they
    are.

    Where ASSAY_STREAM__FORMAT is avro or protobuf, the schema registry gets
    Assay's newest schema of transactions and of predictions, unless somebody
    else's describe that topic already. It refuses one that does not go with
    those before.

    Exit codes: 0 done, 75 Kafka or the registry is away, 78 settings or rights
    are wrong, or the registry refuses a schema.
    """
    from assay_streaming import bootstrap

    settings = bootstrap.read(bootstrap.KafkaSettings)
    for name, is_new in bootstrap.make_topics(settings):
        typer.echo(f"{name}: {'made' if is_new else 'is there'}")
    for name, standing in bootstrap.make_schemas(settings):
        typer.echo(f"{name}: its {settings.stream.format} schema {_STANDINGS[standing]}")


_Topic = Annotated[
    str | None, typer.Option(metavar="NAME", help="Another topic than ASSAY_STREAM__TOPIC names.")
]
StatusPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65_535,
        metavar="PORT",
        help="Where /health/live, /health/ready and /metrics are told; 0 takes a free one. Unless"
        " given, ASSAY_STREAM__STATUS_PORT.",
    ),
]


@app.command()
def produce(
    *,
    preset: Annotated[
        PresetName | None,
        typer.Option(
            metavar="trickle|gusts",
            help="At which pace, by chance: trickle, 1 to 10 records every half second, or gusts,"
            " 5 to 20 records every second. Unless given, trickle.",
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="So many records a second instead, or max: as many as Kafka takes."
        ),
    ] = None,
    records: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after so many records.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, metavar="N", help="Stop after so many seconds.")
    ] = None,
    faults: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="The share of broken messages, from 0 to 1: JSON that is cut or doubled, wrong"
            " types, missing names, NaN, too long, no UTF-8, tombstones, repeated and conflicting"
            " ids.",
        ),
    ] = 0.0,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Chooses what is sent; by chance unless given. Ids differ with every start.",
        ),
    ] = None,
    topic: _Topic = None,
) -> None:
    """Put invented transactions on the topic, until it is stopped.

    Ctrl-C or SIGTERM stops it: what is under way is delivered first.

    Examples:
      assay stream produce
      assay stream produce --rate 500 --seconds 60 --faults 0.01
      assay stream produce --rate max --records 1000000

    The last line on standard output is a summary in JSON: of the messages
    produced, those delivered and those undelivered. Under failed stands why, by
    error; what is left of the latter had no answer by the end.

    Exit codes: 0 all were delivered; 65 Kafka never takes some messages; 75
    some were not delivered, or Kafka is away; 78 settings are wrong, or there
    is no such topic.
    """
    from assay_streaming import producers

    code = producers.produce(
        preset=preset,
        rate=rate,
        records=records,
        seconds=seconds,
        seed=seed,
        faults=faults,
        topic=topic,
    )
    raise typer.Exit(code)


@app.command()
def publish(
    uris: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="A local path or s3://bucket/key, a folder that ends in /, or a pattern with * or"
            " ?; .gz and .zst are unpacked. May be repeated.",
        ),
    ],
    contract: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="How the files are written, an ODCS document; `assay contract new` drafts one.",
        ),
    ],
    *,
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep records that make no message there, as a batch run does under errors/:"
            " `assay dead-letters import` takes them in.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --rejects.")] = False,
    topic: _Topic = None,
) -> None:
    """Put the records of files on the topic, with the ids of a batch run.

    What breaks a rule is published as well: the consumer rejects it. Records
    that cannot be read by the contract at all make no message; they are counted
    by code.

    Publishing a file again puts it on the topic again; the consumer finds that
    its records are duplicates.

    Example:
      assay stream publish cards-2024-05.csv.gz --contract cards.odcs.yaml

    The last line on standard output is a summary in JSON; its status is done,
    some_rejected where all else is on the topic, or incomplete. Its counts of
    messages are those of `assay stream produce`.

    Exit codes: 0 all were delivered; 65 a file is missing or cannot be read, or
    some records make no message, the rest being published; 75 some were not
    delivered, or Kafka or S3 is away, or it was stopped: publish again; 78
    settings or the contract are wrong, or there is no such topic.
    """
    from assay_streaming import producers

    raise typer.Exit(producers.publish(uris, contract, topic=topic, rejects=rejects, replace=force))


_Group = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Consumers of one group share the topic's partitions; unless given,"
        " ASSAY_STREAM__GROUP.",
    ),
]
InstanceId = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A name that this consumer keeps when it is started again, so that a short absence"
        " moves no partition. Each consumer has its own. Unless given,"
        " ASSAY_STREAM__INSTANCE_ID.",
    ),
]
Start = Annotated[
    Literal["earliest", "latest"] | None,
    typer.Option(
        "--from",
        metavar="earliest|latest",
        help="Where a topic begins that was never read; unless given, ASSAY_STREAM__START.",
    ),
]
RejectLimit = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="SHARE",
        help="The share of the latest records that may be rejected, from 0 to 1. Beyond it the"
        " consumer stops, since something else than the records must be wrong. 1 accepts any.",
    ),
]
UntilIdle = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="End once all is read and nothing has come for so long; unless given, never."
        " Without partitions it ends once others have committed all there is; until then it"
        " waits, since they may die. While anything is away it waits, and for a file that is not"
        " full ASSAY_STREAM__LINGER.",
    ),
]


@app.command()
def consume(
    *,
    topic: _Topic = None,
    group: _Group = None,
    instance_id: InstanceId = None,
    start: Start = None,
    reject_limit: RejectLimit = 0.5,
    until_idle: UntilIdle = None,
    status_port: StatusPort = None,
) -> None:
    """Classify a topic's records and store transactions, predictions and rejects.

    Start as many as you like in one group, on as many machines: each record
    leaves through exactly one door, whoever is stopped, killed or cut off.
    Where reading goes on stands in PostgreSQL; Kafka's own offsets follow for
    lag monitors.

    SIGTERM and Ctrl-C end it: what was read by then is committed. A second one
    ends it at once, and loses nothing either.

    Examples:
      assay stream consume --instance-id consumer-1 --status-port 9400
      assay stream consume --topic cards --group cards --until-idle 10

    The last line on standard output is a summary in JSON.

    Exit codes: 0 stopped; 65 too many records were rejected; 75 PostgreSQL was
    away at the start; 78 settings, rights or tables are wrong, or records that
    were never read are gone from the topic.
    """
    from assay_streaming import consumer

    code = consumer.consume(
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


@app.command()
def classify(
    *,
    topic: _Topic = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Consumers of one group share the topic's partitions; unless given,"
            " ASSAY_STREAM__GROUP and -classify.",
        ),
    ] = None,
    instance_id: InstanceId = None,
    start: Start = None,
    reject_limit: RejectLimit = 0.5,
    until_idle: UntilIdle = None,
    status_port: StatusPort = None,
) -> None:
    """Classify a topic's records and put the predictions on another topic.

    For many who want them: each reads ASSAY_STREAM__PREDICTION_TOPIC in its own
    time, see `assay connect`. Needs no database. Start as many as you like in
    one group.

    Predictions, dead letters, an entry in the ledger (on topics as well) and
    the group's offsets are one transaction of Kafka: whoever reads committed
    messages finds each record once. Which ids came before is not known here;
    that is judged where there is a database.

    SIGTERM and Ctrl-C end it: what was read by then is committed. A second one
    ends it at once, and loses nothing either.

    Examples:
      assay stream classify --instance-id classifier-1 --status-port 9401
      assay stream classify --topic cards --group cards --until-idle 10

    The last line on standard output is a summary in JSON.

    Exit codes: 0 stopped; 65 too many records were rejected; 78 settings,
    rights or topics are wrong, or records that were never read are gone from
    the topic.
    """
    from assay_streaming import consumer

    code = consumer.classify(
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


@app.command()
def accept_gap(
    *,
    topic: _Topic = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a classifier or a connector that keeps its books on topics, as `assay connect"
            " status` shows it; unless given, the books in PostgreSQL.",
        ),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be accepted; change nothing.")
    ] = False,
) -> None:
    """Let the books go on where a topic has lost records before they were read.

    A consumer that finds such a loss stops and names this command. What
    retention has deleted is entered as a range without records, which `assay
    reconcile` shows. A topic that was made anew is read from its beginning; the
    books of the old one are kept under another name. So are those of partitions
    that the topic has no longer, and of a topic that is gone: of these nothing
    more is read.

    Stop the consumers of the topic first. `assay stream classify` and connectors
    but postgres have books of their own, by their groups: the range is entered
    on the topic of the ledger. What a connector had begun to deliver of a
    deleted stretch is named; the target may have it. The last line is a summary
    in JSON.

    Exit codes: 0 accepted; 75 PostgreSQL or Kafka is away, a consumer or
    another of these went on meanwhile, or it was stopped; 78 settings are
    wrong; 99 there is no gap.
    """
    from assay_streaming import consumer

    raise typer.Exit(consumer.accept_gap(topic=topic, group=group, dry=dry))


@app.command("dead-letters")
def dead_letters(
    *,
    no_retry: Annotated[
        bool, typer.Option("--no-retry", help="Publish only; try no letters again.")
    ] = False,
    max_attempts: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=32_767,
            metavar="N",
            help="Leave letters to people that were tried so often; unless given,"
            " ASSAY_STREAM__MAX_ATTEMPTS.",
        ),
    ] = None,
    retry_delay: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Until a letter is tried again, doubled with each attempt; unless given,"
            " ASSAY_STREAM__RETRY_DELAY.",
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Publish what waits, try what is due, and end.")
    ] = False,
    instance_id: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A name that this instance keeps when it is started again. Each has its own."
            " Unless given, ASSAY_STREAM__INSTANCE_ID.",
        ),
    ] = None,
    status_port: StatusPort = None,
) -> None:
    """Publish the dead letters of streams, and try retriable ones again.

    Letters wait in PostgreSQL until they are on the topic that
    ASSAY_STREAM__DEAD_LETTER_TOPIC names, whatever is away meanwhile. Start as
    many as you like. SIGTERM and Ctrl-C end it; a second one ends it at once.

    Examples:
      assay stream dead-letters
      assay stream dead-letters --once --no-retry

    The last line on standard output is a summary in JSON.

    Exit codes: 0 stopped or, once, done; 75 something was away at the start or,
    once, at all, or letters wait that others have claimed; 78 settings, rights
    or tables are wrong; 99 once, and there was nothing to do.
    """
    from assay_streaming import dead_letter_command

    code = dead_letter_command.dead_letters(
        overrides={
            "max_attempts": max_attempts,
            "retry_delay": retry_delay,
            "instance_id": instance_id,
            "status_port": status_port,
        },
        retry=not no_retry,
        once=once,
    )
    raise typer.Exit(code)


def main() -> NoReturn:
    """Runs the services by themselves, as in their image."""
    from assay_streaming import bootstrap

    bootstrap.run(app)
