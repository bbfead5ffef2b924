"""Objects in a dictionary, under the scheme `memory:`."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from assay.domain.errors import Fatal, Replaced, Taken
from assay.domain.pattern import selector
from assay.memory.faults import Faults
from assay.ports.objects import Object

_BLOCK: Final = 1 << 20


@dataclass
class MemoryObjects:
    """The objects of some buckets, `memory://bucket/name`, for as long as the process lives.

    Attributes:
        buckets: those that exist.
        bodies: what each object holds, by its URI.
        faults: at `list`, `read` (before each block), `write`, `write.done`, `move` and
            `move.done`.
    """

    buckets: set[str] = field(default_factory=lambda: {"bucket"})
    bodies: dict[str, bytes] = field(default_factory=dict[str, bytes])
    faults: Faults = field(default_factory=Faults)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def list(self, uri: str) -> Iterator[Object]:
        """The objects under a URI, in order of their names."""
        self.faults.at("list")
        self._require(uri)
        selects = selector(uri)
        with self._lock:
            bodies = dict(self.bodies)
        for name in sorted(bodies, key=str.encode):
            if selects(name):
                yield _object(name, bodies[name])

    def read(self, item: Object, start: int = 0) -> Iterator[bytes]:
        """The bytes of exactly this version from an offset."""
        while True:
            self.faults.at("read")
            body = self._body(item)
            if start >= len(body):
                return
            yield body[start : start + _BLOCK]
            start += _BLOCK

    def write(self, uri: str, body: bytes, *, is_new: bool = False) -> Object:
        """Puts an object in place of any other, or where there is none."""
        self.faults.at("write")
        self._require_name(uri)
        with self._lock:
            if is_new and uri in self.bodies:
                raise Taken(f"{uri} is there already")
            self.bodies[uri] = body
        self.faults.at("write.done")
        return _object(uri, body)

    def move(self, item: Object, to: str) -> Object:
        """Moves exactly this version, to a name that is free."""
        self.faults.at("move")
        self._require_name(to)
        moved = Object(to, item.version, item.size)
        with self._lock:
            is_there = self._holds(item)
            if to in self.bodies and not self._holds(moved):
                raise Taken(f"{to} is another object already")
            if not is_there and to not in self.bodies:
                raise Replaced(f"{item.uri} has been replaced")
            if is_there and item.uri != to:
                self.bodies[to] = self.bodies.pop(item.uri)
        self.faults.at("move.done")
        return moved

    def _holds(self, item: Object) -> bool:
        body = self.bodies.get(item.uri)
        return body is not None and _object(item.uri, body) == item

    def _body(self, item: Object) -> bytes:
        with self._lock:
            if not self._holds(item):
                raise Replaced(f"{item.uri} has been replaced")
            return self.bodies[item.uri]

    def _require(self, uri: str) -> None:
        scheme, _, rest = uri.partition("://")
        if scheme != "memory" or rest.partition("/")[0] not in self.buckets:
            raise Fatal(f"there is no such bucket: {uri}")

    def _require_name(self, uri: str) -> None:
        self._require(uri)
        if uri.endswith("/"):
            raise Fatal(f"{uri} names no object but a prefix")


def _object(uri: str, body: bytes) -> Object:
    return Object(uri, sha256(body).hexdigest()[:16], len(body))
