"""Local folders keep the promises of the port, and some of their own."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.domain.errors import Denied, Fatal, Replaced, Taken, Unavailable
from assay.ports.objects import Object
from assay.testing.objects import ObjectsSuite
from assay_adapters.files import objects as files
from assay_adapters.files.location import located
from assay_adapters.files.objects import BLOCK, LocalObjects


class TestLocalObjects(ObjectsSuite):
    """The port suite over a folder, named by a path."""

    @pytest.fixture
    def objects(self) -> LocalObjects:
        """Made without settings."""
        return LocalObjects()

    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        """A path, in which nothing is encoded."""
        return f"{tmp_path}/"

    @pytest.fixture
    def nowhere(self, tmp_path: Path) -> str:
        """A folder that was never made."""
        return f"{tmp_path}/nowhere/"


OLD = 1_000_000_000
"""Seconds since 1970, long enough ago that a file's times are trusted."""


@pytest.fixture
def objects() -> LocalObjects:
    return LocalObjects()


def test_a_place_may_be_named_in_many_ways(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute, relative, through a link, as a URI: it is one object, so one partition."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a b#1.csv").write_bytes(b"content")
    (tmp_path / "link.csv").symlink_to("in/a b#1.csv")
    (tmp_path / "linked").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    (item,) = objects.list(f"{tmp_path}/in/a b#1.csv")
    assert item.uri == f"file://{tmp_path}/in/a%20b%231.csv"
    for place in (
        "in/a b#1.csv",
        "./linked/../in/a b#1.csv",
        "link.csv",
        "*.csv",
        "linked/a b#1.csv",
        "linked/*.csv",
        "linked/",
        "in",
        item.uri,
        item.uri.replace("file:///", "file://localhost/"),
        f"file://{tmp_path}/in/",
        f"file://{tmp_path}/in/a%20b*.csv",
    ):
        assert list(objects.list(place)) == [item], place


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("in", "in/"),
        ("linked/", "in/"),
        ("./linked/../in/", "in/"),
        ("nowhere", "nowhere"),
        ("nowhere/", "nowhere/"),
        ("linked/a b#1.csv", "in/a%20b%231.csv"),
        ("link.csv", "in/a%20b%231.csv"),
        ("linked/a ?#*.csv", "in/a%20?%23*.csv"),
        ("linked/[!z]*.csv", "in/[!z]*.csv"),
        ("**/x y/*.csv", "**/x%20y/*.csv"),
        ("file://localhost{}/linked/*.csv", "in/*.csv"),
        ("file://{}/in/a%2A.csv", "in/a%2A.csv"),
        ("file://{}/in/a%2A*.csv", "in/a[*]*.csv"),
    ],
)
def test_a_place_is_located_as_its_objects_are(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    """Absolute, links resolved, encoded; the same is listed under both names."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a b#1.csv").write_bytes(b"content")
    (tmp_path / "in/a*.csv").write_bytes(b"content")
    (tmp_path / "link.csv").symlink_to("in/a b#1.csv")
    (tmp_path / "linked").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    place = place.format(tmp_path)
    assert located(place) == f"file://{tmp_path}/{name}"
    if not name.startswith("nowhere"):
        assert list(objects.list(located(place))) == list(objects.list(place))


def test_an_encoded_special_character_is_a_character(objects: LocalObjects, tmp_path: Path) -> None:
    """`%2A` is an asterisk, not a pattern; so each listed URI names its file alone."""
    for name in ("a*.csv", "ab.csv", "a?.csv", "a[b].csv", "a%2A.csv"):
        item = objects.write(f"{tmp_path}/{name}", name.encode())
        assert list(objects.list(item.uri)) == [item]


def test_a_name_that_is_no_text_works(objects: LocalObjects, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are encoded in the URI, which is plain ASCII."""
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")).write_bytes(b"content")
    (item,) = objects.list(f"{tmp_path}/")
    assert item.uri == f"file://{tmp_path}/caf%E9.csv"
    assert list(objects.list(item.uri)) == [item]
    assert b"".join(objects.read(item)) == b"content"
    moved = objects.move(item, item.uri.replace("caf%E9", "th%E9"))
    assert b"".join(objects.read(moved)) == b"content"


def test_an_error_about_a_name_that_is_no_text_can_be_shown(
    objects: LocalObjects, tmp_path: Path
) -> None:
    """The message is text that any log takes."""
    with pytest.raises(Fatal) as caught:
        list(objects.list(os.fsdecode(b"%s/nowhere\xe9/" % os.fsencode(tmp_path))))
    assert str(caught.value).encode()


def test_only_files_are_objects(objects: LocalObjects, tmp_path: Path) -> None:
    """No folder, socket, pipe, broken link, nor anything whose name begins with a dot."""
    item = objects.write(f"{tmp_path}/file.csv", b"content")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / ".hidden.csv").write_bytes(b"hidden")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden/file.csv").write_bytes(b"hidden")
    (tmp_path / "broken.csv").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tmp_path / "s.csv"))
        assert list(objects.list(f"{tmp_path}/")) == [item]
        assert list(objects.list(f"{tmp_path}/*.csv")) == [item]
        assert list(objects.list(f"{tmp_path}/s.csv")) == []
    assert [each.size for each in objects.list(f"{tmp_path}/.hidden.csv")] == [6]


def test_a_pattern_looks_no_deeper_than_it_must(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`*.csv` does not walk through the folders below."""
    (tmp_path / "deep/er").mkdir(parents=True)
    item = objects.write(f"{tmp_path}/file.csv", b"content")
    scanned: list[Path] = []
    scandir = os.scandir

    def scan(folder: str) -> object:
        scanned.append(Path(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    assert list(objects.list(f"{tmp_path}/*.csv")) == [item]
    assert scanned == [tmp_path]


def test_a_write_leaves_nothing_else_behind(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails neither; the old content stays."""
    item = objects.write(f"{tmp_path}/file.csv", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space"):
        objects.write(f"{tmp_path}/file.csv", b"new")
    assert b"".join(objects.read(item)) == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file.csv"]


def test_a_write_goes_where_a_link_points(objects: LocalObjects, tmp_path: Path) -> None:
    """The link stays a link."""
    (tmp_path / "link.csv").symlink_to("file.csv")
    item = objects.write(f"{tmp_path}/link.csv", b"content")
    assert item.uri == f"file://{tmp_path}/file.csv"
    assert (tmp_path / "link.csv").is_symlink()


@pytest.mark.parametrize("change", ["overwritten", "appended", "truncated"])
def test_a_file_that_changes_where_it_is_is_replaced(
    objects: LocalObjects, tmp_path: Path, change: str
) -> None:
    """Nothing is handed out after the change, which is seen by size and time."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"o" * (5 << 20))
    os.utime(path, (OLD, OLD))
    (item,) = objects.list(f"{path}")
    reading = objects.read(item)
    assert next(reading) == b"o" * (1 << 20)
    with path.open("r+b") as file:
        if change == "truncated":
            file.truncate(3 << 20)
        else:
            file.seek(0, os.SEEK_END if change == "appended" else os.SEEK_SET)
            file.write(b"n")
    with pytest.raises(Replaced):
        next(reading)
    with pytest.raises(Replaced):
        next(objects.read(item))


def test_a_file_that_is_cut_short_does_not_just_end(objects: LocalObjects, tmp_path: Path) -> None:
    """Its end would count as the file's end, and what stood behind as read."""
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(3 * BLOCK))
    (item,) = objects.list(f"{path}")
    reading = objects.read(item)
    next(reading)
    os.truncate(path, BLOCK)
    with pytest.raises(Replaced):
        list(reading)


def test_a_change_that_hides_is_seen_before_reading(objects: LocalObjects, tmp_path: Path) -> None:
    """Same size, same time: the content decides."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    os.utime(path, (OLD, OLD))
    (item,) = objects.list(f"{path}")
    path.write_bytes(b"new")
    os.utime(path, (OLD, OLD))
    with pytest.raises(Replaced):
        next(objects.read(item))


def test_a_time_that_has_not_passed_is_not_trusted(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two changes within one tick of the file system's clock look the same."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    frozen = path.stat()

    def same(_: int) -> os.stat_result:
        return frozen

    monkeypatch.setattr(os, "fstat", same)
    (item,) = objects.list(f"{path}")
    path.write_bytes(b"new")
    with pytest.raises(Replaced):
        next(objects.read(item))


def test_a_touched_file_is_the_same_version(objects: LocalObjects, tmp_path: Path) -> None:
    """Times are no part of the version: a copy of a backup is read on."""
    item = objects.write(f"{tmp_path}/file.csv", b"content")
    os.utime(tmp_path / "file.csv", (OLD, OLD))
    assert list(LocalObjects().list(f"{tmp_path}/")) == [item]
    assert b"".join(objects.read(item, 3)) == b"tent"


def test_a_file_that_is_being_written_is_unavailable(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that grows while its version is sought has none yet."""
    path = tmp_path / "file.csv"
    path.write_bytes(b"begun")
    fstat = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        with path.open("ab") as file:
            file.write(b"more")
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(Unavailable, match="being written"):
        list(objects.list(f"{path}"))


def test_the_version_is_sought_once(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing and then reading an old file hashes it once, not twice."""
    path = tmp_path / "file.csv"
    path.write_bytes(b"content")
    os.utime(path, (OLD, OLD))
    (item,) = objects.list(f"{path}")
    monkeypatch.delattr("hashlib.file_digest")
    assert b"".join(objects.read(item)) == b"content"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files cannot be renamed into the folder `other`, as if it were another file system."""
    replace = Path.replace

    def cross(self: Path, target: Path) -> Path:
        if target.parent.name == "other" and self.parent != target.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", cross)
    return iter(())


@pytest.mark.usefixtures("elsewhere")
def test_a_move_to_another_file_system_copies(objects: LocalObjects, tmp_path: Path) -> None:
    """Content and permissions go over, and the file leaves its old name."""
    item = objects.write(f"{tmp_path}/file.csv", b"content" * 1_000_000)
    (tmp_path / "file.csv").chmod(0o640)
    moved = objects.move(item, f"{tmp_path}/other/file.csv")
    assert list(objects.list(f"{tmp_path}/")) == [moved]
    assert b"".join(objects.read(moved)) == b"content" * 1_000_000
    assert (tmp_path / "other/file.csv").stat().st_mode & 0o777 == 0o640
    assert [each.name for each in (tmp_path / "other").iterdir()] == ["file.csv"]


@pytest.mark.usefixtures("elsewhere")
def test_a_move_to_another_file_system_replaces_nothing(
    objects: LocalObjects, tmp_path: Path
) -> None:
    """Neither the file that has the name nor the one that is to have it goes."""
    kept = objects.write(f"{tmp_path}/other/file.csv", b"from last year")
    item = objects.write(f"{tmp_path}/file.csv", b"content")
    with pytest.raises(Taken):
        objects.move(item, f"{tmp_path}/other/file.csv")
    assert list(objects.list(f"{tmp_path}/")) == [item, kept]
    assert [each.name for each in (tmp_path / "other").iterdir()] == ["file.csv"]


@pytest.mark.parametrize("instant", ["_opened", "_put"])
def test_a_file_that_another_one_moves_is_moved(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: str
) -> None:
    """Whoever comes second finds it there, however far it has come itself."""
    item = objects.write(f"{tmp_path}/file.csv", b"content")
    call: Any = getattr(files, instant)
    others: list[Object] = []

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.undo()
        others.append(LocalObjects().move(item, f"{tmp_path}/archive/file.csv"))
        return call(*arguments)

    monkeypatch.setattr(files, instant, overtaken)
    assert [objects.move(item, f"{tmp_path}/archive/file.csv")] == others
    assert list(objects.list(f"{tmp_path}/")) == others


def test_a_move_that_is_denied_leaves_nothing_behind(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is free again."""
    item = objects.write(f"{tmp_path}/file.csv", b"content")

    def deny(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", deny)
    with pytest.raises(Fatal, match="denied"):
        objects.move(item, f"{tmp_path}/archive/file.csv")
    assert list(objects.list(f"{tmp_path}/")) == [item]


@pytest.mark.usefixtures("elsewhere")
def test_a_crash_between_copy_and_deletion_is_mended(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move again ends as one that was not disturbed."""
    item = objects.write(f"{tmp_path}/file.csv", b"content")
    unlink = Path.unlink

    def crash(self: Path, *, missing_ok: bool = False) -> None:
        if self == tmp_path / "file.csv":
            raise KeyboardInterrupt
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", crash)
        with pytest.raises(KeyboardInterrupt):
            objects.move(item, f"{tmp_path}/other/file.csv")
    assert len(list(objects.list(f"{tmp_path}/"))) == 2
    moved = objects.move(item, f"{tmp_path}/other/file.csv")
    assert list(objects.list(f"{tmp_path}/")) == [moved]


@pytest.mark.parametrize(
    "error", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ELOOP]
)
def test_what_waiting_does_not_help_is_fatal(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Names the file and what the system says."""
    item = objects.write(f"{tmp_path}/file.csv", b"content")
    _fail_to_open(monkeypatch, error)
    with pytest.raises(Fatal, match=r"file\.csv.*"):
        next(objects.read(item))


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ETIMEDOUT])
def test_what_waiting_helps_is_unavailable(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """A share that is away for a while."""
    item = objects.write(f"{tmp_path}/file.csv", b"content")
    _fail_to_open(monkeypatch, error)
    with pytest.raises(Unavailable, match=r"file\.csv.*"):
        next(objects.read(item))


@pytest.mark.parametrize("place", ["", "file://", "file://host/path", "s3://b/k", "a\0b"])
def test_what_names_no_local_place_is_fatal(objects: LocalObjects, place: str) -> None:
    """Instead of some file that nobody meant."""
    with pytest.raises(Fatal):
        list(objects.list(place))
    with pytest.raises(Fatal):
        located(place)


def test_a_file_that_may_not_be_read_is_listed(
    objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among the others; it is denied when it is read, and another version once it may be."""
    written = [objects.write(f"{tmp_path}/{each}.csv", b"content") for each in "abc"]
    opens: Any = Path.open

    def deny(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "b.csv":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(self))
        return opens(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", deny)
        one, denied, three = objects.list(f"{tmp_path}/")
        assert list(objects.list(f"{tmp_path}/b.csv")) == [denied]
        with pytest.raises(Denied, match=r"b\.csv"):
            next(objects.read(denied))
    assert [one, three] == [written[0], written[2]]
    assert (denied.uri, denied.size) == (written[1].uri, 7)
    assert list(objects.list(f"{tmp_path}/")) == written
    with pytest.raises(Replaced):
        next(objects.read(denied))


def test_a_folder_in_the_way_is_fatal(objects: LocalObjects, tmp_path: Path) -> None:
    """A folder is no object to replace."""
    (tmp_path / "folder").mkdir()
    item = objects.write(f"{tmp_path}/file.csv", b"content")
    with pytest.raises(Fatal):
        objects.write(f"{tmp_path}/folder", b"content")
    with pytest.raises(Fatal):
        objects.move(item, f"{tmp_path}/folder")
    assert list(objects.list(f"{tmp_path}/")) == [item]


def _fail_to_open(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error), os.fspath(self))

    monkeypatch.setattr(Path, "open", refuse)
