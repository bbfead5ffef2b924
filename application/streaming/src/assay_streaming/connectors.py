"""The connectors that come with Assay, as `assay connect --help` tells of them."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a service uses

from typing import Any, Final

from assay.ports.target import Connector, Target

_ROLL: Final = {
    "chunk_records": 250_000,
    "chunk_mib": 128,
    "linger": 60.0,
    "window_chunks": 1,
    "window_mib": 512,
}
"""What is written at a time becomes a file, or several: few large ones are better than many."""


def _open(name: str, *sections: Any) -> Target:
    from assay_streaming.bootstrap import targets

    return getattr(targets, name)(*sections)


ARCHIVE: Final = Connector(
    about="""Keep predictions of a topic as Parquet files in S3, by date.

    Files of a day are in ASSAY_ARCHIVE__URI, as s3://bucket/archive/, under
    date=YYYY-MM-DD/, where polars, DuckDB and Spark find the day by the
    folder's name. Each record is in exactly one of them. Files are written
    every minute, or every 250,000 records or 128 MiB of each process:
    ASSAY_STREAM__LINGER, __CHUNK_RECORDS and __CHUNK_MIB say otherwise.

    Examples:
      assay connect archive --instance-id archive-1 --status-port 9404
    """,
    sections=("archive", "s3"),
    open=lambda *sections: _open("archive", *sections),
    defaults=_ROLL,
)

LAKE: Final = Connector(
    about="""Keep predictions of a topic in a Delta table, by date.

    ASSAY_LAKE__URI names the table, as s3://bucket/lake or /srv/lake; it is
    made unless it is there. Each record is in it exactly once. It grows every
    minute, or every 250,000 records or 128 MiB of each process: see
    ASSAY_STREAM__LINGER, __CHUNK_RECORDS and __CHUNK_MIB. `assay lake compact`
    makes large files of small ones, `assay lake vacuum` deletes what no version
    needs any more.

    Examples:
      assay connect lake --instance-id lake-1 --status-port 9405
    """,
    sections=("lake", "s3"),
    open=lambda *sections: _open("lake", *sections),
    defaults=_ROLL,
)

SEARCH: Final = Connector(
    about="""Keep predictions of a topic as documents of Elasticsearch or OpenSearch.

    Each transaction is a document under its id; the index ASSAY_SEARCH__INDEX
    is made with its mapping unless it is there. A prediction that comes again
    changes nothing, and of two with one id the later one stands. What the index
    never takes becomes a dead letter; while the engine is away, or has no room,
    it is waited for.

    Examples:
      assay connect search --instance-id search-1 --status-port 9403
      assay connect search --from latest
    """,
    sections=("search",),
    open=lambda *sections: _open("search", *sections),
)

SERIES: Final = Connector(
    about="""Keep counts and sums of predictions in a time series database.

    By minute, category, currency and side: how many there were, the sum of
    their amounts and of the model's confidence, in the line protocol of
    InfluxDB, which QuestDB takes as well: see ASSAY_SERIES__URL. A record that
    comes late is added to its own minute, however late it is.

    Examples:
      assay connect series --instance-id series-1 --status-port 9406
    """,
    sections=("series",),
    open=lambda *sections: _open("series", *sections),
    defaults={"linger": 10.0, "window_chunks": 1},
)

WEBHOOK: Final = Connector(
    about="""Tell a webhook of some predictions of a topic, each by a signed request.

    ASSAY_WEBHOOK__CATEGORIES, __LEAST_CONFIDENCE and __MOST_CONFIDENCE say
    which; of the others nothing is told. Requests are those of Standard
    Webhooks, signed with ASSAY_WEBHOOK__SECRET. One that comes again, which it
    does after a crash, has the same webhook-id. While nobody takes them they
    wait; what is refused becomes a dead letter.

    Examples:
      assay connect webhook --instance-id webhook-1 --from latest
    """,
    sections=("webhook",),
    open=lambda *sections: _open("webhook", *sections),
)
