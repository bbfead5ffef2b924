"""Composes what the publisher of files reads."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from assay.domain.errors import Fatal
from assay.ports.objects import Object, Objects
from assay_adapters.files.location import located as located_here
from assay_adapters.files.location import path_of
from assay_adapters.files.objects import LocalObjects
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_adapters.s3.objects import located as located_in_s3
from assay_streaming.bootstrap import KafkaSettings


class PublishSettings(KafkaSettings):
    """What the publisher of files reads from the environment."""

    s3: S3Config = Field(default_factory=S3Config)


def located(uri: str) -> str:
    """A file, folder or pattern, named as objects that lie there are; a folder ends in `/`.

    Raises:
        Fatal: it is the address of something else.
    """
    return located_in_s3(uri) if uri.startswith("s3://") else located_here(uri)


def local_files(items: Sequence[Object]) -> list[Path]:
    """Where those of them are that lie on this machine."""
    return [path_of(each.uri) for each in items if each.uri.startswith("file://")]


def objects_for(uris: Sequence[str], settings: PublishSettings) -> Objects:
    """Where files are that are located so.

    Raises:
        Fatal: some are in S3 and some on this machine.
    """
    kinds = {uri.startswith("s3://") for uri in uris}
    if len(kinds) > 1:
        raise Fatal("files are all in S3 or all on this machine: publish once for each")
    return S3Objects(s3_client(settings.s3)) if kinds == {True} else LocalObjects()
