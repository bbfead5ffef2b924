"""Composes the streaming services: the one place that names their adapters."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import Field

from assay.domain.errors import Fatal
from assay.ports.objects import Objects
from assay_adapters.compression.decompress import decompress
from assay_adapters.console.run import complain, last_line, run
from assay_adapters.environment.settings import Settings, load
from assay_adapters.files.location import located as located_here
from assay_adapters.files.objects import LocalObjects
from assay_adapters.files.text import read_text
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.producer import KafkaProducer
from assay_adapters.kafka.topics import Topics
from assay_adapters.log.config import LogConfig
from assay_adapters.log.configure import configure
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_adapters.s3.objects import located as located_in_s3
from assay_streaming.config import StreamConfig
from assay_streaming.outlet import Outlet

__all__ = ["complain", "decompress", "last_line", "read_text", "run"]


class KafkaSettings(Settings):
    """What every streaming service reads from the environment."""

    kafka: KafkaConfig
    stream: StreamConfig = Field(default_factory=StreamConfig)
    log: LogConfig = Field(default_factory=LogConfig)


class PublishSettings(KafkaSettings):
    """What the publisher of files reads from the environment."""

    s3: S3Config = Field(default_factory=S3Config)


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


def outlet_for(settings: KafkaSettings, topic: str | None) -> Outlet:
    """A producer for a topic that exists: the one that is given, or that of the settings.

    Raises:
        Fatal: there is no such topic.
        Unavailable: Kafka is away.
    """
    name = topic or settings.stream.topic
    Topics(settings.kafka).named(name)
    return KafkaProducer(settings.kafka, name)


def located(uri: str) -> str:
    """A file, folder or pattern, named as objects that lie there are; a folder ends in `/`.

    Raises:
        Fatal: it is the address of something else.
    """
    return located_in_s3(uri) if uri.startswith("s3://") else located_here(uri)


def objects_for(uris: Sequence[str], settings: PublishSettings) -> Objects:
    """Where files are that are located so.

    Raises:
        Fatal: some are in S3 and some on this machine.
    """
    kinds = {uri.startswith("s3://") for uri in uris}
    if len(kinds) > 1:
        raise Fatal("files are all in S3 or all on this machine: publish once for each")
    return S3Objects(s3_client(settings.s3)) if kinds == {True} else LocalObjects()
