"""Composes what reads or writes predictions on topics."""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Final, NoReturn
from uuid import uuid4

import structlog
from sqlalchemy import Engine

from assay.domain.chunk import Chunk, Decoded
from assay.domain.errors import Fatal, Unavailable
from assay.domain.position import TOPICS, Partition, Positions
from assay.domain.reject import RAW_LIMIT
from assay.domain.wording import counted
from assay.pipeline.pace import Pace
from assay.ports.target import Connector, Target
from assay.wire import messages, predictions
from assay.wire.framed import Frame, as_json
from assay.wire.predictions import LARGEST
from assay_adapters.clock.system import SystemClock
from assay_adapters.console.signals import on_signal
from assay_adapters.environment.sections import GROUP, installed
from assay_adapters.environment.settings import made_of
from assay_adapters.http.classifier import HttpClassifier
from assay_adapters.kafka.atomic import Outsider
from assay_adapters.kafka.books import KafkaBooks, Published, newest_entries
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.letters import PREFIX
from assay_adapters.kafka.store import KafkaStore
from assay_adapters.kafka.topics import Topics
from assay_adapters.openlineage.job import topic_at
from assay_adapters.otel.start import Tracing, tracing
from assay_adapters.postgres.begin import begin
from assay_adapters.postgres.published import copied, keep, require_own_books
from assay_adapters.postgres.store import COMMITTING, PostgresStore
from assay_streaming.bootstrap import (
    Books,
    BookSettings,
    ClassifierSettings,
    KafkaSettings,
    connections_of,
    engine_of,
    events_of,
    frame_of,
    health_of,
    lineage_of,
    noted_by,
    pace_of,
    registry_of,
    served_by,
    source_of,
    stream_meter,
    tables_of,
    unframe_of,
    workers,
)
from assay_streaming.config import StreamConfig
from assay_streaming.consume import Request, Result, Services
from assay_streaming.copying import Copying
from assay_streaming.gaps import find
from assay_streaming.readers import Reader

_COMMITTING: Final = {"messaging.system": "kafka"}
_MOMENT: Final = 0.2  # seconds
_log: Any = structlog.get_logger(__name__)


def settings_of(connector: Connector) -> type[KafkaSettings]:
    """What a connector reads from the environment.

    Raises:
        Fatal: it names a section that nobody has registered.
    """
    sections = installed()
    if missing := [each for each in connector.sections if each not in sections]:
        raise Fatal(f"no package has an entry point of {GROUP} named {' or '.join(missing)}")
    return made_of({each: sections[each] for each in connector.sections}, KafkaSettings)


@contextmanager
def classifier(request: Request, settings: ClassifierSettings) -> Generator[Services]:
    """All that a classifier from topic to topic is composed of, closed at the end of the block.

    Raises:
        Fatal: settings are wrong, or the status address cannot be listened on.
    """
    stream = settings.stream
    with ExitStack() as stack:
        traced = stack.enter_context(tracing(settings.otel, "assay-classify", _COMMITTING))
        classifier = HttpClassifier(settings.api, trace=traced.headers)
        stack.callback(classifier.close)
        registry = registry_of(stack, settings)
        services = _on_topics(
            stack,
            request,
            settings,
            pace_of(stream, settings.api),
            traced,
            topic=stream.topic,
            predictions=stream.prediction_topic,
            frame=frame_of(registry, stream, "prediction", stream.prediction_topic),
        )
        decode = partial(messages.decode, unframe=unframe_of(registry))
        made = topic_at(settings.kafka.bootstrap_servers, stream.prediction_topic)
        told = lineage_of(stack, request, settings, [made])
        yield replace(services, classifier=classifier, decode=decode, lineage=told)


@contextmanager
def to_target(
    request: Request, settings: KafkaSettings, connector: Connector
) -> Generator[Services]:
    """All that takes predictions to a target, closed at the end of the block.

    Args:
        request: what is asked.
        settings: as `settings_of` has made them.
        connector: opens the target.

    Raises:
        Fatal: as above.
    """
    stream = settings.stream
    with ExitStack() as stack:
        target = connector.open(*(getattr(settings, name) for name in connector.sections))
        stack.callback(target.close)
        pace = Pace(stream.chunk_records, chunks=stream.window_chunks)
        service = f"assay-connect-{request.pipeline}"
        traced = stack.enter_context(tracing(settings.otel, service, _COMMITTING))
        services = _on_topics(
            stack, request, settings, pace, traced, topic=stream.prediction_topic, target=target
        )
        yield replace(services, decode=_decode(stack, settings))


def _decode(stack: ExitStack, settings: KafkaSettings) -> Callable[[Chunk], Decoded]:
    """Reads predictions, until the stack is closed."""
    registry = registry_of(stack, settings)
    return partial(predictions.decode, unframe=_wanted if registry is None else registry.unframe)


def _wanted(values: Sequence[bytes]) -> NoReturn:
    """Of predictions that only a registry can read none is refused: they are Assay's own.

    Raises:
        Fatal: always.
    """
    raise Fatal(
        f"{counted(len(values), 'prediction is', 'predictions are')} written for a schema registry:"
        " set ASSAY_SCHEMA_REGISTRY__URL"
    )


def _on_topics(
    stack: ExitStack,
    request: Request,
    settings: KafkaSettings,
    pace: Pace,
    traced: Tracing,
    *,
    topic: str,
    predictions: str | None = None,
    target: Target | None = None,
    frame: Frame = as_json,
) -> Services:
    """A service whose positions and ledger are on topics, until the stack is closed."""
    stream = settings.stream
    meter, clock = stream_meter(), SystemClock()
    health = health_of(stream, clock)

    def begins(where: Positions) -> None:
        store.begin(request.source, where)

    limit = RAW_LIMIT if target is None else LARGEST
    source = source_of(settings, topic, pace, begins, record_bytes=limit, follow=False)
    store = KafkaStore(
        settings.kafka,
        group=stream.group,
        name=stream.instance_id or request.run_id,
        member=source,
        entries=stream.ledger_topic,
        predictions=predictions,
        target=target,
        frame=frame,
        sending=traced.sending,
    )
    served_by(stack, stream, health, meter)
    events = events_of(stack, settings, meter, request.pipeline)
    stack.callback(store.close)
    stack.callback(source.close)
    return Services(
        source=source,
        classifier=None,
        store=store,
        executor=workers(stack, stream),
        clock=clock,
        meter=meter,
        pace=pace,
        tracer=traced.tracer,
        health=health,
        events=events,
        connections=lambda: 0,
        on_signal=on_signal,
    )


@contextmanager
def books_of(settings: KafkaSettings, name: str) -> Generator[Books]:
    """A topic beside the books that a group keeps on topics, for as long as the block lasts.

    Raises:
        Unavailable: Kafka is away, or the group has members.
        Fatal: settings are wrong, there is no such topic, or the group has never read it.
    """
    stream = settings.stream
    topics = Topics(settings.kafka)
    topic = topics.named(name)
    bounds = {str(each): bound for each, bound in topics.bounds(topic).items()}
    stand = topics.committed(stream.group, topic.name, list(bounds))
    if not stand:
        raise Fatal(
            f"the group {stream.group} has no books of the topic {topic.name}: name with --topic"
            f" what it reads, as {stream.prediction_topic} for a connector"
        )
    # Brokers would move the offsets of an outsider all the same.
    if members := topics.groups().get(stream.group):
        raise Unavailable(
            f"the group {stream.group} has {counted(members, 'member', 'members')}: stop them"
            " first; one that was killed is missed when its session is over, after 45 s"
        )
    with ExitStack() as stack:
        member = Outsider(settings.kafka, stream.group, list(bounds))
        stack.callback(member.close)
        store = KafkaStore(
            settings.kafka,
            group=stream.group,
            name="accept-gap",
            member=member,
            entries=stream.ledger_topic,
            predictions=stream.prediction_topic if topic.name != stream.prediction_topic else None,
        )
        stack.callback(store.close)

        def begin_anew(
            source: str, gone: Collection[Partition], begins: Positions, run_id: str
        ) -> None:
            del gone, run_id  # entries say which topic they are of
            store.move(source, begins)

        def noted(_: str, __: dict[str, Any]) -> AbstractContextManager[None]:
            return nullcontext()  # runs are noted in PostgreSQL alone

        yield Books(find(stand, bounds, topic.id), store, begin_anew, noted)


def readers_of(settings: KafkaSettings) -> list[Reader]:
    """Who has read the topic of predictions, by the names of the groups.

    Raises:
        Unavailable: Kafka is away.
        Fatal: there is no such topic, or this user may not see groups.
    """
    stream = settings.stream
    topics = Topics(settings.kafka)
    topic = topics.named(stream.prediction_topic)
    bounds = {str(each): bound for each, bound in topics.bounds(topic).items()}
    source = TOPICS + topic.name
    committed: dict[str, datetime] = {}
    for entry, at in newest_entries(settings.kafka, stream.ledger_topic):
        if entry.source == source:
            committed.setdefault(entry.group, at)
    found: list[Reader] = []
    for group, members in sorted(topics.groups().items()):
        stand = topics.committed(group, topic.name, list(bounds), settled=False)
        if stand:
            # What was deleted before it was read is not to come any more.
            lag = {
                each: max(0, after - max(first, stand[each].next if each in stand else 0))
                for each, (first, after) in bounds.items()
            }
            nexts = {each: position.next for each, position in stand.items()}
            gone = sum(max(0, bounds[each][0] - at) for each, at in nexts.items())
            found.append(Reader(group, members, nexts, lag, gone, committed.get(group)))
    return found


@contextmanager
def to_postgres(
    request: Request, settings: BookSettings, result: Result
) -> Generator[tuple[Services, Copying]]:
    """All that takes predictions to PostgreSQL, with the books of those who made them.

    Noted as a run, and closed at the end of the block.

    Raises:
        Unavailable: PostgreSQL or Kafka is away.
        Fatal: settings or tables are wrong, or the status address cannot be listened on.
    """
    stream = settings.stream
    with ExitStack() as stack:
        engine = engine_of(stack, settings.postgres)
        require_own_books(engine, TOPICS + stream.topic, are_published=True)
        meter, clock = stream_meter(), SystemClock()
        health, pace = (
            health_of(stream, clock),
            Pace(stream.chunk_records, chunks=stream.window_chunks),
        )
        source = source_of(
            settings,
            stream.prediction_topic,
            pace,
            partial(begin, engine, request.source, run_id=str(uuid4()), version=version("assay")),
            record_bytes=LARGEST,
        )
        traced = stack.enter_context(tracing(settings.otel, "assay-connect-postgres", COMMITTING))
        url = served_by(stack, stream, health, meter)
        noted_by(stack, engine, result, kind="connect", source=request.source, url=url)
        told = lineage_of(stack, request, settings, tables_of(settings.postgres))
        events = events_of(stack, settings, meter, request.pipeline)
        copying = Copying(_Books(settings.kafka, engine, stream))
        stack.callback(copying.stop)
        stack.callback(source.close)
        services = Services(
            source=source,
            classifier=None,
            store=PostgresStore(engine, processing_type="stream"),
            executor=workers(stack, stream),
            clock=clock,
            meter=meter,
            pace=pace,
            tracer=traced.tracer,
            health=health,
            events=events,
            connections=connections_of(engine),
            on_signal=on_signal,
            decode=_decode(stack, settings),
            look=copying.look,
            lineage=told,
        )
        yield services, copying


@dataclass
class _Books:
    """Ledger entries and letters of the classifiers of a topic, copied into PostgreSQL."""

    kafka: KafkaConfig
    engine: Engine
    stream: StreamConfig
    topics: KafkaBooks | None = None  # until Kafka has answered
    taken: Published | None = None  # and not kept yet

    @property
    def is_at_end(self) -> bool:
        """Whether all there is was copied, as far as is known."""
        return self.taken is None and self.topics is not None and self.topics.is_at_end

    def copy(self) -> None:
        """Copies what comes within a moment, after what could not be copied before."""
        stream = self.stream
        if self.topics is None:
            self.topics = KafkaBooks(
                self.kafka,
                f"{stream.group}-books",
                TOPICS + stream.topic,
                entries=stream.ledger_topic,
                letters=stream.dead_letter_topic,
                stand=copied(self.engine),
            )
        if self.taken is None:
            self.taken = self.topics.take(_MOMENT)
        if self.taken is None:
            return
        for each in self.taken.faults:  # what is missing after that, `reconcile` names
            _log.warning("this is passed over in the books of classifiers", fault=each)
        found, place = self.taken, PREFIX + stream.dead_letter_topic
        keep(self.engine, found.letters, found.entries, found.after, place=place)
        self.taken = None

    def close(self) -> None:
        """Closes the connections."""
        if self.topics is not None:
            self.topics.close()
