"""Settings of the lake."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field


def _is_place(uri: str) -> str:
    if not uri.startswith(("s3://", "/")) or uri.endswith("/"):
        raise ValueError(
            "must be s3://bucket/table or a folder's absolute path, without / at its end"
        )
    return uri


class LakeConfig(BaseModel, frozen=True):
    """The section `lake`.

    Attributes:
        uri: of the Delta table, `s3://bucket/table` or a folder's absolute path; made unless it is
            there.
        file_mib: that files should have once they are compacted.
        keep_hours: for which files are kept that no version needs any more, so that whoever reads
            an older version, or writes just now, finds them.
    """

    uri: Annotated[str, AfterValidator(_is_place)]
    file_mib: int = Field(default=256, ge=1, le=10_000)
    keep_hours: int = Field(default=168, ge=1)
