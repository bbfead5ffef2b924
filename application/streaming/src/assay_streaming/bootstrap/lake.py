"""Composes the upkeep of the lake."""

from pydantic import Field

from assay_adapters.lake import upkeep
from assay_adapters.lake.config import LakeConfig
from assay_adapters.lake.upkeep import Compacted
from assay_adapters.s3.config import S3Config, object_store
from assay_streaming.bootstrap import LogSettings, read


class LakeSettings(LogSettings):
    """What it reads from the environment."""

    lake: LakeConfig
    s3: S3Config = Field(default_factory=S3Config)


def settings() -> LakeSettings:
    """Reads them.

    Raises:
        Fatal: they are wrong.
    """
    return read(LakeSettings)


def compact(settings: LakeSettings, *, date: str | None) -> Compacted:
    """As `assay_adapters.lake.upkeep` says."""
    return upkeep.compact(settings.lake, object_store(settings.s3), date=date)


def vacuum(settings: LakeSettings, *, dry_run: bool) -> list[str]:
    """As `assay_adapters.lake.upkeep` says."""
    return upkeep.vacuum(settings.lake, object_store(settings.s3), dry_run=dry_run)
