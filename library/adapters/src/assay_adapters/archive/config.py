"""Settings of the archive."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field


def _is_folder(uri: str) -> str:
    if re.fullmatch(r"s3://[^/*?\[]+/([^*?\[]*/)?", uri) is None:
        raise ValueError("must be a folder in S3 with / at its end, as s3://bucket/archive/ is")
    return uri


class ArchiveConfig(BaseModel, frozen=True):
    """The section `archive`.

    Attributes:
        uri: the folder that files are written to, `s3://bucket/folder/`.
        connections: files that are written at the same time.
    """

    uri: Annotated[str, AfterValidator(_is_folder)]
    connections: int = Field(default=8, ge=1, le=64)
