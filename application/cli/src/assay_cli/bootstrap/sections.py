"""The settings of each section, and the tables that they lead to.

Variables that nobody knows are a fault, unless a section is read without `strict`.
"""

# ruff: noqa: PLC0415 - a command waits for the libraries that it uses, and for no others

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from assay_adapters.environment.models import ModelsConfig
    from assay_adapters.http.config import ApiConfig
    from assay_adapters.kafka.config import KafkaConfig
    from assay_adapters.openlineage.config import OpenLineageConfig
    from assay_adapters.otel.config import OtelConfig
    from assay_adapters.postgres.config import PostgresConfig
    from assay_adapters.s3.config import S3Config
    from assay_adapters.schema_registry.config import SchemaRegistryConfig

CONNECT: Final = 3
ANSWER: Final = 5
"""Seconds that who only looks waits for a connection, and for an answer."""


def postgres_section(*, strict: bool = True) -> "PostgresConfig":
    """How PostgreSQL is reached."""
    from assay_adapters.environment.settings import load_section
    from assay_adapters.postgres.config import PostgresConfig

    return load_section("postgres", PostgresConfig, strict=strict)


def s3_section(*, strict: bool = True) -> "S3Config":
    """How S3 is reached."""
    from assay_adapters.environment.settings import load_section
    from assay_adapters.s3.config import S3Config

    return load_section("s3", S3Config, strict=strict)


def api_section(*, strict: bool = True) -> "ApiConfig":
    """How the model API is reached."""
    from assay_adapters.environment.settings import load_section
    from assay_adapters.http.config import ApiConfig

    return load_section("api", ApiConfig, strict=strict)


def kafka_section(*, strict: bool = True) -> "KafkaConfig":
    """How Kafka is reached."""
    from assay_adapters.environment.settings import load_section
    from assay_adapters.kafka.config import KafkaConfig

    return load_section("kafka", KafkaConfig, strict=strict)


def schema_registry_section(*, strict: bool = True) -> "SchemaRegistryConfig":
    """How the schema registry is reached."""
    from assay_adapters.environment.settings import load_section
    from assay_adapters.schema_registry.config import SchemaRegistryConfig

    return load_section("schema_registry", SchemaRegistryConfig, strict=strict)


def models_section(*, strict: bool = True) -> "ModelsConfig":
    """Where the models' registry is."""
    from assay_adapters.environment.models import ModelsConfig
    from assay_adapters.environment.settings import load_section

    return load_section("models", ModelsConfig, strict=strict)


def openlineage_section(*, strict: bool = True) -> "OpenLineageConfig":
    """Whether runs are told of."""
    from assay_adapters.environment.settings import load_section
    from assay_adapters.openlineage.config import OpenLineageConfig

    return load_section("openlineage", OpenLineageConfig, strict=strict)


def otel_section(*, strict: bool = True) -> "OtelConfig":
    """Whether there are traces."""
    from assay_adapters.environment.settings import load_section
    from assay_adapters.otel.config import OtelConfig

    return load_section("otel", OtelConfig, strict=strict)


@contextmanager
def tables(config: "PostgresConfig | None" = None) -> "Generator[Engine]":
    """PostgreSQL with tables of this version, for as long as the block lasts.

    Args:
        config: other than what the settings say.

    Raises:
        Unavailable: it is away.
        Fatal: the settings are wrong, or `assay migrate` has not been run.
    """
    from assay_adapters.postgres.connection import engine_for
    from assay_adapters.postgres.version import check

    engine = engine_for(config or postgres_section())
    try:
        check(engine)
        yield engine
    finally:
        engine.dispose()
