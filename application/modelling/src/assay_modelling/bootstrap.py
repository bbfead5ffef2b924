"""Composes what the commands need: the one place that names adapters."""

# ruff: noqa: PLC0415 - a command waits for the libraries that it uses, and for no others

from collections.abc import Generator
from contextlib import contextmanager
from getpass import getuser
from typing import TYPE_CHECKING

from assay.domain.errors import Fatal, Unreadable
from assay_adapters.console.run import complain, run
from assay_adapters.files.whole import whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

    from assay.ports.objects import Objects
    from assay_model.registry import Registry

__all__ = ["complain", "run", "whole"]


def user() -> str:
    """Who is logged in, as the system says."""
    try:
        return getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        return "unknown"


def registry_named() -> "Registry | None":
    """The registry that the settings name; None where they name none.

    Raises:
        Fatal: the settings are wrong.
    """
    from assay_adapters.environment.models import ModelsConfig
    from assay_adapters.environment.settings import load_section
    from assay_model.registry import Registry

    root = load_section("models", ModelsConfig).registry
    return None if root is None else Registry(_objects(root), _located(root))


def registry(*, make: bool = False) -> "Registry":
    """The registry.

    Args:
        make: whether a local folder that does not exist is made.

    Raises:
        Fatal: the settings are wrong, or name none.
    """
    found = registry_named()
    if found is None:
        raise Fatal(
            "no registry of models is named: set ASSAY_MODELS__REGISTRY to a folder, "
            "s3://bucket/prefix/ or file:///folder/. Without one there is but the model that comes "
            "with Assay, which is used where no other is named"
        )
    if make and not found.root.startswith("s3://"):
        from assay_adapters.files.errors import translated
        from assay_adapters.files.location import path_of

        with translated(found.root):
            path_of(found.root).mkdir(parents=True, exist_ok=True)
    return found


@contextmanager
def stored(limit: int | None) -> "Generator[tuple[int, Iterator[pl.DataFrame]]]":
    """How many transactions PostgreSQL has, and these: see `assay_adapters.postgres.transactions`.

    Args:
        limit: how many are wanted, the latest.

    Raises:
        Unavailable: it is away.
        Fatal: the settings are wrong, or `assay migrate` has not been run.
    """
    from assay_adapters.environment.settings import load_section
    from assay_adapters.postgres.config import PostgresConfig
    from assay_adapters.postgres.connection import engine_for
    from assay_adapters.postgres.transactions import latest, to_come
    from assay_adapters.postgres.version import check

    engine = engine_for(load_section("postgres", PostgresConfig))
    try:
        check(engine)
        there = to_come(engine, None)
        yield there if limit is None else min(there, limit), latest(engine, limit)
    finally:
        engine.dispose()


def blocks(file: "Path") -> "Iterator[bytes]":
    """The content of a file from its beginning, unpacked by its name's suffix.

    Raises:
        Unreadable: there is no such file, it may not be read, or it is damaged.
    """
    from assay_adapters.compression.decompress import decompress

    return decompress(str(file), _content(file))


def _content(file: "Path") -> "Iterator[bytes]":
    try:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                yield block
    except OSError as error:
        raise Unreadable(f"{file} cannot be read: {error.strerror}") from error


def _located(root: str) -> str:
    from assay_adapters.files.location import located as located_here
    from assay_adapters.s3.objects import located as located_in_s3

    return located_in_s3(root) if root.startswith("s3://") else located_here(root)


def _objects(root: str) -> "Objects":
    if root.startswith("s3://"):
        from assay_adapters.environment.settings import load_section
        from assay_adapters.s3.config import S3Config, s3_client
        from assay_adapters.s3.objects import S3Objects

        return S3Objects(s3_client(load_section("s3", S3Config)))
    from assay_adapters.files.objects import LocalObjects

    return LocalObjects()
