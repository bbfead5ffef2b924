"""Named objects in a bucket or a folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from assay.domain.position import Partition


@dataclass(frozen=True)
class Object:
    """One version of one object.

    Attributes:
        uri: `s3://bucket/key`, or `file:///path` with links resolved.
        version: what tells this version from another one of the same name (S3 version id or
            ETag; size and sha256 of a local file).
        size: bytes.
    """

    uri: str
    version: str
    size: int

    @property
    def partition(self) -> Partition:
        """Its name as a partition of a source: URI and version."""
        return f"{self.uri}#{self.version}"


class Objects(Protocol):
    """Reads, writes and moves objects.

    All methods may raise `Unavailable`, and `Fatal` where access is denied or the bucket or
    folder does not exist. Safe to use from several threads.
    """

    def list(self, uri: str) -> Iterator[Object]:
        """The objects under a URI, in order of their names, each version-stamped.

        Args:
            uri: one object, a prefix that ends in `/`, or a pattern (`*`, `?`, `[…]`, where `*`
                does not cross a `/` and `**` does).
        """
        ...

    def read(self, item: Object, start: int = 0) -> Iterator[bytes]:
        """The bytes of exactly this version from offset `start`, in blocks of bounded size.

        A connection that breaks is resumed where it broke.

        Raises:
            Replaced: this version is no longer there.
            Denied: this object may not be read, whatever holds of others.
        """
        ...

    def write(self, uri: str, body: bytes, *, is_new: bool = False) -> Object:
        """Puts an object in place of any other, all at once: nobody reads half of it.

        With `is_new` only where nothing has the name: of several at once one succeeds.

        Raises:
            Taken: with `is_new`, an object is there; it may be one that this very call has put.
        """
        ...

    def move(self, item: Object, to: str) -> Object:
        """Moves exactly this version; repeated after a crash it ends in the same state.

        Nothing is put in the place of another object.

        Raises:
            Taken: another object is at `to`; both stay as they are.
            Replaced: this version is no longer there and not at `to` either.
        """
        ...
