"""Objects in local folders."""

import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import Final

from assay.domain.errors import Denied, Fatal, Replaced, Taken, Unavailable
from assay.domain.pattern import is_pattern, selector
from assay.ports.objects import Object
from assay_adapters.files.errors import translated
from assay_adapters.files.location import parted, path_of, pattern_of

BLOCK: Final = 1 << 20
"""Bytes of a block that is read, at most."""

# Two changes within one tick of a file system's clock leave the same time behind, so a time is
# trusted only once it has passed. FAT has the longest tick.
_TICK: Final = 2_000_000_000
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class LocalObjects:
    """The files below local folders as objects (`assay.ports.objects`).

    A place is a path as it is, relative ones too, or a `file:///` URI with percent-encoding, which
    can name every file, those whose names are no UTF-8 included; objects are named by such URIs,
    with links resolved. Patterns are described at `assay.domain.pattern.selector`.

    The version is the size and the sha256, so that a file is read once more to find it. It is
    remembered as long as the file's size and times stay as they are.

    Names that begin with a dot are passed over in folders, as are links to folders there. A write
    that was killed leaves a file `.<16 digits>.assay` behind, which may be deleted.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def list(self, uri: str) -> Iterator[Object]:
        """The files that a place selects, in the order of their resolved paths' bytes, each once.

        A folder may be named without a `/` at its end. A file that may not be read is listed in a
        version that lasts until its rights change.

        Raises:
            Unavailable: a file is being written just now, or the disk or share is away.
            Fatal: access to the folder is denied, or it does not exist.
        """
        with translated(uri):
            for path in sorted(self._paths(uri), key=os.fsencode):
                try:
                    found = self._find(path)
                except Replaced as error:
                    raise Unavailable(
                        f"{path.as_uri()} is being written; run again when it is complete"
                    ) from error
                except PermissionError:
                    found = _unread(path)
                if found is not None:
                    yield found

    def read(self, item: Object, start: int = 0) -> Iterator[bytes]:
        """The bytes of exactly this version, in blocks of at most `BLOCK` bytes.

        A file that another one is put in place of is read to its end; of one that is changed
        where it is, nothing is handed out after the change.

        Raises:
            Replaced: this version is no longer there, or changes while it is read.
            Unavailable: the disk or share is away.
            Fatal: access is denied.
        """
        with translated(item.uri), _opened(item) as file:
            before = os.fstat(file.fileno())
            self._require(item, file)
            file.seek(start)
            while block := file.read(BLOCK):
                _require_unchanged(file, before, item.uri)
                yield block
            # A file that was cut short in the meantime ends as well.
            _require_unchanged(file, before, item.uri)

    def write(self, uri: str, body: bytes, *, is_new: bool = False) -> Object:
        """Puts a file in place of any other, all at once; on disk when this returns.

        Folders that are missing are made. On a disk without hard links a name that must be new is
        taken by an empty file just before.

        Raises:
            Taken: with `is_new`, a file is there.
            Unavailable: the disk is full, or the disk or share is away.
            Fatal: access is denied, or a folder has the name.
        """
        with translated(uri):
            path = _named(uri)
            with _replacing(path, _link if is_new else Path.replace) as file:
                file.write(body)
            return Object(
                path.as_uri(), _version(len(body), hashlib.sha256(body).hexdigest()), len(body)
            )

    def move(self, item: Object, to: str) -> Object:
        """Gives exactly this version another name; to another file system by copy and deletion.

        Folders that are missing are made. A file that takes the name in the instant between the
        look at the version and the move goes with it. The new name is taken by an empty file just
        before the move; a crash between the two leaves that file, and the version in its place.

        Raises:
            Taken: another file is at `to`.
            Replaced: this version is no longer there and not at `to` either.
            Unavailable: the disk is full, or the disk or share is away.
            Fatal: access is denied, or a folder has the name.
        """
        with translated(item.uri):
            source, target = path_of(item.uri), _named(to)
            if source == target:
                return item
            moved = Object(target.as_uri(), item.version, item.size)
            if self._find(target) == moved:
                if self._find(source) == item:
                    source.unlink()
            else:
                try:
                    self._rename(item, source, target)
                except (Replaced, Taken, FileNotFoundError):
                    if self._find(target) != moved:  # by another one who moves it
                        raise
                _sync(target.parent)
            _sync(source.parent)
            return moved

    def _rename(self, item: Object, source: Path, target: Path) -> None:
        with _opened(item) as file:
            self._require(item, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                _put(source, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _copy(file, item, target)
                source.unlink(missing_ok=True)

    def _paths(self, uri: str) -> set[Path]:
        pattern = pattern_of(uri)
        if not is_pattern(pattern) and not pattern.endswith("/"):
            path = path_of(uri)
            if not path.is_dir():
                if not path.parent.is_dir():
                    raise Fatal(f"there is no folder {path.parent.as_uri()}")
                return {path}
            pattern += "/"
        base, rest = parted(pattern)
        selects = selector(rest)
        return {(base / name).resolve() for name in _names(base, _depth(rest)) if selects(name)}

    def _find(self, path: Path) -> Object | None:
        """What is there now, None for nothing and for what is no file; `Replaced` while written."""
        with suppress(FileNotFoundError):
            if path.is_file():
                with path.open("rb", buffering=0) as file:
                    size = os.fstat(file.fileno()).st_size
                    return Object(path.as_uri(), self._version(file, path.as_uri()), size)
        return None

    def _require(self, item: Object, file: FileIO) -> None:
        if self._version(file, item.uri) != item.version:
            raise Replaced(f"{item.uri} is not there any more in this version")

    def _version(self, file: FileIO, uri: str) -> str:
        now = time.time_ns()
        status = os.fstat(file.fileno())
        identity = (
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        version = self._known.get(identity)
        if version is None:
            file.seek(0)
            version = _version(status.st_size, hashlib.file_digest(file, "sha256").hexdigest())
            _require_unchanged(file, status, uri)
            if status.st_mtime_ns < now - _TICK:
                self._known[identity] = version
        return version


def _unread(path: Path) -> Object:
    status = path.stat()
    return Object(path.as_uri(), f"unread-{status.st_ctime_ns}", status.st_size)


def _named(uri: str) -> Path:
    if uri.endswith("/"):
        raise Fatal(f"{uri} names a folder, no file")
    return path_of(uri)


def _version(size: int, sha256: str) -> str:
    return f"{size}-{sha256}"


def _depth(rest: str) -> float:
    """How many folders deep names may lie that are selected by what follows the base."""
    return float("inf") if not rest or rest.endswith("/") or "**" in rest else rest.count("/")


def _names(base: Path, depth: float) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(base, onerror=refuse):
        inside = Path(folder).relative_to(base).parts
        folders[:] = (
            [each for each in folders if not each.startswith(".")] if len(inside) < depth else []
        )
        for name in names:
            if not name.startswith("."):
                yield "/".join((*inside, name))


@contextmanager
def _opened(item: Object) -> Generator[FileIO]:
    try:
        file = path_of(item.uri).open("rb", buffering=0)
    except FileNotFoundError as error:
        raise Replaced(f"{item.uri} is not there any more") from error
    except PermissionError as error:
        raise Denied(f"{item.uri} may not be read by this process: {error.strerror}") from error
    with file:
        yield file


def _require_unchanged(file: FileIO, before: os.stat_result, uri: str) -> None:
    now = os.fstat(file.fileno())
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise Replaced(f"{uri} has changed while it was read")


def _put(file: Path, target: Path) -> None:
    """Gives a file a name that is free. No system call does both everywhere, so it is taken first.

    Raises:
        Taken: it is not.
    """
    try:
        target.open("xb").close()
    except FileExistsError:
        if target.is_file():
            raise Taken(f"{target.as_uri()} is another file already") from None
        raise
    try:
        file.replace(target)
    except OSError:
        target.unlink()
        raise


def _link(file: Path, target: Path) -> None:
    """Gives a file a name that is free, at once where the disk has hard links.

    Raises:
        Taken: it is not.
    """
    try:
        os.link(file, target)
    except FileExistsError:
        if target.is_file():
            raise Taken(f"{target.as_uri()} is there already") from None
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _put(file, target)
    else:
        file.unlink()


@contextmanager
def _replacing(
    path: Path, put: Callable[[Path, Path], object] = Path.replace
) -> Generator[BufferedWriter]:
    """A file that takes its name when it is complete and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.assay")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        put(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _copy(file: FileIO, item: Object, target: Path) -> None:
    digest = hashlib.sha256()
    file.seek(0)
    with _replacing(target, _put) as copy:
        os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        while block := file.read(BLOCK):
            digest.update(block)
            copy.write(block)
        if _version(copy.tell(), digest.hexdigest()) != item.version:
            raise Replaced(f"{item.uri} has changed while it was copied")


def _sync(folder: Path) -> None:
    """Puts a folder's names on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
