"""Opens the targets that `assay_streaming.connectors` tells of."""

from assay_adapters.archive.config import ArchiveConfig
from assay_adapters.archive.target import ArchiveTarget
from assay_adapters.lake.config import LakeConfig
from assay_adapters.lake.target import LakeTarget
from assay_adapters.s3.config import S3Config, object_store, s3_client
from assay_adapters.s3.objects import S3Objects, require_bucket
from assay_adapters.search.config import SearchConfig
from assay_adapters.search.target import SearchTarget
from assay_adapters.series.config import SeriesConfig
from assay_adapters.series.target import SeriesTarget
from assay_adapters.webhook.config import WebhookConfig
from assay_adapters.webhook.target import WebhookTarget


def archive(config: ArchiveConfig, s3: S3Config) -> ArchiveTarget:
    """Parquet files in S3."""
    client = s3_client(s3)
    require_bucket(client, config.uri)
    return ArchiveTarget(S3Objects(client), config.uri, config.connections)


def lake(config: LakeConfig, s3: S3Config) -> LakeTarget:
    """A Delta table."""
    if config.uri.startswith("s3://"):
        require_bucket(s3_client(s3), config.uri)
    return LakeTarget(config, object_store(s3))


def search(config: SearchConfig) -> SearchTarget:
    """An index of Elasticsearch or OpenSearch."""
    return SearchTarget(config)


def series(config: SeriesConfig) -> SeriesTarget:
    """A time series database."""
    return SeriesTarget(config)


def webhook(config: WebhookConfig) -> WebhookTarget:
    """A webhook."""
    return WebhookTarget(config)
