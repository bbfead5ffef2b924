"""What services that read a topic do between their options and their exit codes."""

import gc
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from uuid import uuid4

from rich.console import Console

from assay.domain.dependencies import OF_STREAM, OF_TARGET, OF_TOPICS
from assay.domain.errors import DONE, NOTHING_TO_DO, TEMPORARY
from assay.domain.position import TOPICS
from assay.pipeline.pump import Policy
from assay.ports.target import Connector
from assay_streaming import bootstrap
from assay_streaming.bootstrap import fan_out
from assay_streaming.consume import CLASSIFY, Request, Result, Services
from assay_streaming.consume import consume as run_consumer
from assay_streaming.ending import overridden, to_the_end, until_its_end
from assay_streaming.gaps import Gaps, accept
from assay_streaming.progress import shown

_OF_PREDICTIONS: Final = {"chunk_mib": 40, "window_mib": 128, "queue_mib": 64}
"""A prediction holds its record, and is two or three times as long: chunks of as many records."""


def consume(*, overrides: Mapping[str, Any], reject_limit: float, until_idle: float | None) -> int:
    """Consumes as the options of `assay_streaming.cli` say; the summary is the last line.

    Returns:
        The exit code.

    Raises:
        Fatal: the settings are wrong.
    """
    settings = overridden(bootstrap.read(bootstrap.ConsumerSettings), overrides)
    request = _request(settings, reject_limit, until_idle)
    result = Result(request.run_id)
    services = bootstrap.consumer(request, settings, result)
    return to_the_end(partial(_consume, request, services, result, OF_STREAM), result)


def classify(*, overrides: Mapping[str, Any], reject_limit: float, until_idle: float | None) -> int:
    """Classifies from topic to topic; the rest is as for `consume`.

    Returns:
        The exit code.

    Raises:
        Fatal: the settings are wrong.
    """
    settings = _of_service(bootstrap.ClassifierSettings, CLASSIFY, overrides, {})
    request = replace(_request(settings, reject_limit, until_idle), pipeline=CLASSIFY)
    result = Result(request.run_id)
    services = fan_out.classifier(request, settings)
    return to_the_end(partial(_consume, request, services, result, OF_TOPICS), result)


def to_postgres(
    *, overrides: Mapping[str, Any], reject_limit: float, until_idle: float | None
) -> int:
    """Takes predictions to PostgreSQL; the rest is as for `consume`.

    Returns:
        The exit code.

    Raises:
        Fatal: the settings are wrong.
    """
    settings = _of_service(bootstrap.BookSettings, POSTGRES, overrides, _OF_PREDICTIONS)
    request = _of_connector(POSTGRES, settings, reject_limit, until_idle)
    result = Result(request.run_id)
    services = _to_postgres(request, settings, result)
    return to_the_end(partial(_consume, request, services, result, OF_STREAM), result)


def to_target(
    name: str,
    connector: Connector,
    *,
    overrides: Mapping[str, Any],
    reject_limit: float,
    until_idle: float | None,
) -> int:
    """Takes predictions to a target; the rest is as for `consume`.

    Args:
        name: of the connector.
        connector: opens the target.
        overrides: settings of the section `stream`.
        reject_limit: the share that may be rejected.
        until_idle: as `Request` has it.

    Returns:
        The exit code.

    Raises:
        Fatal: the settings are wrong.
    """
    settings = _of_service(fan_out.settings_of(connector), name, overrides, connector.defaults)
    request = _of_connector(name, settings, reject_limit, until_idle)
    result = Result(request.run_id)
    services = fan_out.to_target(request, settings, connector)
    return to_the_end(partial(_consume, request, services, result, OF_TARGET), result)


def _of_connector(
    name: str, settings: bootstrap.KafkaSettings, reject_limit: float, until_idle: float | None
) -> Request:
    return replace(
        _request(settings, reject_limit, until_idle),
        source=TOPICS + settings.stream.prediction_topic,
        pipeline=name,
    )


@contextmanager
def _to_postgres(
    request: Request, settings: bootstrap.BookSettings, result: Result
) -> Generator[Services]:
    with fan_out.to_postgres(request, settings, result) as (services, copying):
        yield services
        if request.until_idle is not None:
            copying.finish()


def _of_service(
    kind: type[bootstrap.AnySettings],
    service: str,
    overrides: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> bootstrap.AnySettings:
    """The settings of a service whose group is named after it, unless it is named otherwise.

    Its own defaults go before the usual ones, and after what is set.
    """
    read = bootstrap.read(kind)
    stream = read.stream
    group = overrides["group"]
    group = f"{stream.group}-{service}" if group is None else group
    own = {name: each for name, each in defaults.items() if name not in stream.model_fields_set}
    return overridden(read, {**own, **overrides, "group": group})


def _request(
    settings: bootstrap.KafkaSettings, reject_limit: float, until_idle: float | None
) -> Request:
    stream = settings.stream
    return Request(
        run_id=str(uuid4()),
        source=TOPICS + stream.topic,
        destination=f"kafka:{stream.dead_letter_topic}",
        group=stream.group,
        session=settings.kafka.session,
        policy=Policy(
            window_chunks=stream.window_chunks,
            window_bytes=stream.window_mib << 20,
            reject_limit=reject_limit,
            drain=stream.drain,
        ),
        until_idle=until_idle,
    )


def _consume(
    request: Request,
    composed: AbstractContextManager[Services],
    result: Result,
    names: Mapping[str, str],
) -> None:
    with (
        composed as services,
        until_its_end(result),
        shown(Console(stderr=True), names) as progress,
    ):
        # What was loaded by now stays: the collector need not look through it, which it would
        # for every few thousand messages.
        gc.freeze()
        run_consumer(request, services, result, progress)


POSTGRES: Final = "postgres"
"""What the connector to PostgreSQL is called."""


@dataclass
class Accepted:
    """What `accept-gap` has done so far.

    Attributes:
        status: `running`, then `done`, `dry_run`, `nothing_to_do`, `stopped` or `failed`.
        gaps: that were found.
    """

    run_id: str
    status: str = "running"
    exit_code: int = TEMPORARY  # where it is stopped before its end
    gaps: Gaps | None = None

    def summary(self) -> dict[str, Any]:
        """What the last line says."""
        facts = {} if self.gaps is None else self.gaps.facts
        return {"run_id": self.run_id, "status": self.status, **facts}


def accept_gap(*, topic: str | None, group: str | None, dry: bool) -> int:
    """Accepts gaps as the options of `assay_streaming.cli` say; the summary is the last line.

    Returns:
        The exit code.

    Raises:
        Fatal: the settings are wrong.
    """
    kind = bootstrap.BookSettings if group is None else bootstrap.KafkaSettings
    settings = overridden(bootstrap.read(kind), {"group": group})
    # No override: it may be the topic of predictions, which a connector reads.
    topic = topic or settings.stream.topic
    books = (
        bootstrap.books(settings, topic)
        if isinstance(settings, bootstrap.BookSettings)
        else fan_out.books_of(settings, topic)
    )
    result = Accepted(str(uuid4()))
    return to_the_end(partial(_accept_gap, books, TOPICS + topic, result, dry=dry), result)


def _accept_gap(
    composed: AbstractContextManager[bootstrap.Books], source: str, result: Accepted, *, dry: bool
) -> None:
    """Says what is gone, and enters it unless that is for show.

    Raises:
        Unavailable: PostgreSQL or Kafka is away.
        Fenced: a consumer has gone on meanwhile.
        Fatal: tables are wrong, or there are neither topic nor books of this name.
    """
    console = Console(stderr=True, highlight=False)
    with composed as books:
        gaps = result.gaps = books.gaps
        for each in gaps.deleted:
            console.print(
                f"partition {each.partition}: {each.next - each.first:,} offsets from "
                f"{each.first:,} on were deleted before they were read"
            )
        for partition, (first, after) in gaps.under_way.items():
            console.print(
                f"partition {partition}: offsets {first:,} to {after - 1:,} were being delivered"
                " when the connector ended: the target may have them, and what is left of them on"
                " the topic is delivered again"
            )
        for partition, stands in gaps.replaced.items():
            what = "the topic was made anew or cut" if partition in gaps.begins else "it is gone"
            console.print(
                f"partition {partition}: {what}; the books of the old one end at {stands:,}, and "
                "what it had after that was not read"
            )
        if not (gaps.deleted or gaps.replaced):
            console.print("no gap: the books can go on by themselves")
            result.status, result.exit_code = "nothing_to_do", NOTHING_TO_DO
        elif dry:
            console.print("this would be accepted; nothing was changed")
            result.status, result.exit_code = "dry_run", DONE
        else:
            with books.noted(result.run_id, gaps.facts):
                accept(gaps, source, result.run_id, books.store, books.retire)
            console.print(f"accepted: {_done(gaps)}")
            result.status, result.exit_code = "done", DONE


def _done(gaps: Gaps) -> str:
    """What was done to the books."""
    done: list[str] = []
    if gaps.deleted:
        done.append("what was deleted is in the books as ranges without records")
    if gaps.replaced:
        done.append("the old books are kept under another name")
    if gaps.begins:
        done.append("reading begins anew where the topic does")
    return "; ".join(done)
