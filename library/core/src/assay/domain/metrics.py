"""The one registry of metrics: names and labels in Prometheus' conventions.

https://prometheus.io/docs/practices/naming/
"""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Metric:
    """A metric's name, kind and meaning, and the labels that each value must carry."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


RECORDS: Final = Metric(
    "assay_records_total", "counter", "Records that left, by door.", ("pipeline", "door")
)
COMMIT_SECONDS: Final = Metric(
    "assay_commit_seconds", "histogram", "Seconds that a commit took.", ("pipeline",)
)
CLASSIFY_SECONDS: Final = Metric(
    "assay_classify_seconds",
    "histogram",
    "Seconds that one attempt at classifying took.",
    ("pipeline",),
)
WINDOW_CHUNKS: Final = Metric(
    "assay_window_chunks", "gauge", "Chunks read and not committed yet.", ("pipeline",)
)
WINDOW_BYTES: Final = Metric(
    "assay_window_bytes", "gauge", "Bytes of the chunks in the window.", ("pipeline",)
)
CHUNK_RECORDS_LIMIT: Final = Metric(
    "assay_chunk_records_limit",
    "gauge",
    "Records of a chunk, at most: less than the setting where a stage was slow.",
    ("pipeline",),
)
CALL_RECORDS_LIMIT: Final = Metric(
    "assay_call_records_limit",
    "gauge",
    "Records of a call to the classifier, at most: the same.",
    ("pipeline",),
)
CALLS_LIMIT: Final = Metric(
    "assay_classifier_calls_limit",
    "gauge",
    "Calls to the classifier that may be under way at once.",
    ("pipeline",),
)
CALLS: Final = Metric(
    "assay_classifier_calls", "gauge", "Calls to the classifier under way.", ("pipeline",)
)
BREAKER_OPEN: Final = Metric(
    "assay_breaker_open",
    "gauge",
    "1 while calls to a dependency are held back since it is away, else 0.",
    ("pipeline", "dependency"),
)
ATTEMPTS: Final = Metric(
    "assay_attempts_total",
    "counter",
    "Calls to classifier and store, by result: ok, unavailable, refused or fenced.",
    ("pipeline", "dependency", "result"),
)
LAG: Final = Metric(
    "assay_lag_records",
    "gauge",
    "Offsets of a partition that are not committed yet; 0 where it belongs to another consumer.",
    ("pipeline", "partition"),
)
POSITION: Final = Metric(
    "assay_position",
    "gauge",
    "Offset after the last record of a partition that this process has committed.",
    ("pipeline", "partition"),
)
LAST_COMMIT: Final = Metric(
    "assay_last_commit_timestamp_seconds",
    "gauge",
    "When the last commit was, in seconds since 1970.",
    ("pipeline",),
)
DATABASE_CONNECTIONS: Final = Metric(
    "assay_database_connections",
    "gauge",
    "Connections to PostgreSQL that are in use.",
    ("pipeline",),
)
LETTERS_PUBLISHED: Final = Metric(
    "assay_letters_published_total",
    "counter",
    "Dead letters that were published, by destination.",
    ("destination",),
)
LETTERS_WAITING: Final = Metric(
    "assay_letters_waiting",
    "gauge",
    "Dead letters in the database that wait to be published on a topic, by destination.",
    ("destination",),
)
LETTERS_OPEN: Final = Metric(
    "assay_letters_open",
    "gauge",
    "Open dead letters in the database, by code; those of rare codes together as `other`.",
    ("code",),
)
LETTERS_RETRIED: Final = Metric(
    "assay_letters_retried_total",
    "counter",
    "Dead letters that were tried again by themselves, by result: closed, failed or stuck.",
    ("result",),
)
EVENTS_DROPPED: Final = Metric(
    "assay_events_dropped_total",
    "counter",
    "Events that did not reach the event topic.",
    ("pipeline",),
)
RUN_END: Final = Metric(
    "assay_run_end_timestamp_seconds",
    "gauge",
    "When a run of a kind has last ended with a status, in seconds since 1970.",
    ("kind", "status"),
)

OF_TABLES: Final = (LETTERS_PUBLISHED, LETTERS_WAITING, LETTERS_OPEN, LETTERS_RETRIED, RUN_END)
"""What the dead-letter service alone tells, from the tables."""

METRICS: Final = (
    RECORDS,
    COMMIT_SECONDS,
    CLASSIFY_SECONDS,
    WINDOW_CHUNKS,
    WINDOW_BYTES,
    CHUNK_RECORDS_LIMIT,
    CALL_RECORDS_LIMIT,
    CALLS_LIMIT,
    CALLS,
    BREAKER_OPEN,
    ATTEMPTS,
    LAG,
    POSITION,
    LAST_COMMIT,
    DATABASE_CONNECTIONS,
    *OF_TABLES,
    EVENTS_DROPPED,
)
