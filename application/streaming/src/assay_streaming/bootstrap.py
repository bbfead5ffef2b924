"""Composes the streaming services: the one place that names their adapters."""

from collections.abc import Iterator
from typing import TypeVar

from pydantic import Field

from assay_adapters.console.run import complain, last_line, run
from assay_adapters.environment.settings import Settings, load
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.topics import Topics
from assay_adapters.log.config import LogConfig
from assay_adapters.log.configure import configure
from assay_streaming.config import StreamConfig

__all__ = ["complain", "last_line", "run"]


class KafkaSettings(Settings):
    """What every streaming service reads from the environment."""

    kafka: KafkaConfig
    stream: StreamConfig = Field(default_factory=StreamConfig)
    log: LogConfig = Field(default_factory=LogConfig)


AnySettings = TypeVar("AnySettings", bound=KafkaSettings)


def read(kind: type[AnySettings]) -> AnySettings:
    """Reads the settings, once, and sets up the log."""
    settings = load(kind)
    configure(settings.log.level)
    return settings


def make_topics(settings: KafkaSettings) -> Iterator[tuple[str, bool]]:
    """Makes the topics that are missing; yields each name and whether it is new."""
    topics = Topics(settings.kafka)
    stream = settings.stream
    for name in (stream.topic, stream.dead_letter_topic, stream.event_topic):
        yield (
            name,
            topics.make(name, partitions=stream.partitions, replication=stream.replication),
        )
