"""Where files are taken from, where rejects and finished files go, and what is passed over."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from assay.domain.errors import Fatal
from assay.memory.objects import MemoryObjects
from assay.ports.objects import Object
from assay_batch.bootstrap import located
from assay_batch.places import Places, find, places

ROOT = "memory://bucket/"


def archived(at: Places, uri: str) -> str:
    return at.archived(Object(uri, "1", 0))


@pytest.mark.parametrize(
    ("uri", "errors", "archived_as"),
    [
        ("s3://b/in/", "s3://b/errors/", "s3://b/archive/in/x/1.csv"),
        ("s3://b/in/x/*.csv", "s3://b/errors/", "s3://b/archive/in/x/1.csv"),
        ("s3://b", "s3://b/errors/", "s3://b/archive/in/x/1.csv"),
        ("file:///in/", "file:///in/errors/", "file:///in/archive/x/1.csv"),
        ("file:///in/x/*.csv", "file:///in/x/errors/", "file:///in/x/archive/1.csv"),
        ("file://localhost/in/x/1.csv", "file:///in/x/errors/", "file:///in/x/archive/1.csv"),
    ],
)
def test_rejects_and_finished_files_have_a_place(uri: str, errors: str, archived_as: str) -> None:
    """At the top of the bucket, or beside the files; below it, names are as in the root."""
    at = places([located(uri)])
    assert at.errors == errors
    scheme = uri.partition("//")[0]
    file = "s3://b/in/x/1.csv" if scheme == "s3:" else "file:///in/x/1.csv"
    assert archived(at, file) == archived_as


def test_a_given_place_is_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative or through a link, it is the place that objects below it begin with."""
    (tmp_path / "in").mkdir()
    (tmp_path / "linked").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    here = tmp_path.as_uri()
    at = places(
        [located("linked/")], errors=located("linked/rejects"), archive=located("./in/x/../done")
    )
    assert at.errors == f"{here}/in/rejects/"
    assert archived(at, f"{here}/in/2024/1.csv") == f"{here}/in/done/2024/1.csv"


def test_a_file_that_a_link_has_led_to_keeps_its_last_name() -> None:
    """It lies below no root of the run."""
    at = places(["file:///in/"])
    assert archived(at, "file:///else/where/1.csv") == "file:///in/archive/1.csv"


def test_each_file_is_archived_by_its_name_below_its_own_root() -> None:
    """Beside its root, or where --archive-to says."""
    uris = ["file:///a/", "file:///a/b/*.csv", "file:///c/1.csv"]
    files = ["file:///a/1.csv", "file:///a/b/1.csv", "file:///c/1.csv"]
    beside = places(uris, errors="file:///errors/")
    assert [archived(beside, each) for each in files] == [
        "file:///a/archive/1.csv",
        "file:///a/b/archive/1.csv",
        "file:///c/archive/1.csv",
    ]
    given = places(uris, errors="file:///errors/", archive="file:///done")
    assert {archived(given, each) for each in files} == {"file:///done/1.csv"}
    buckets = places(["s3://b/", "s3://c/in/"], errors="s3://b/errors/", archive="s3://b/done/")
    assert archived(buckets, "s3://c/in/2.csv") == "s3://b/done/in/2.csv"


def test_what_lies_in_the_archive_stays_there() -> None:
    """A finished file that is named once more is not moved deeper."""
    at = places(["s3://b/archive/in/1.csv"])
    assert archived(at, "s3://b/archive/in/1.csv") == "s3://b/archive/in/1.csv"


@pytest.mark.parametrize(
    ("uris", "errors", "archive", "says"),
    [
        (["file:///in/"], "s3://b/errors/", None, "all in S3 or all on this machine"),
        (["s3://b/in/"], None, "file:///done/", "all in S3 or all on this machine"),
        (["s3://b/in/", "file:///in/"], "s3://b/errors/", None, "all in S3 or all on"),
        (["file:///a/", "file:///b/"], None, None, "say with --errors"),
        (["file:///in/"], "file:///err*/", None, "is a pattern"),
        (["file:///in/"], "file:///in", None, "not published among the files"),
        (["s3://b/errors/"], None, None, "not published among the files"),
    ],
)
def test_places_that_cannot_serve_are_refused(
    uris: Sequence[str], errors: str | None, archive: str | None, says: str
) -> None:
    """Before anything is read."""
    with pytest.raises(Fatal, match=says) as refused:
        places(uris, errors=errors, archive=archive)
    assert refused.value.exit_code == 78


@pytest.mark.parametrize("uri", ["gopher://host/errors/", "s3:///errors/", "file://host/errors/"])
def test_the_address_of_something_else_is_refused(uri: str) -> None:
    """As well."""
    with pytest.raises(Fatal, match=uri):
        located(uri)


@pytest.fixture
def objects() -> MemoryObjects:
    """Files, an archive within an archive's name, and rejects."""
    names = ("1.csv", "archive/1.csv", "archive/2024/1.csv", "archived.csv", "errors/run/1.csv")
    return MemoryObjects(bodies={ROOT + name: b"" for name in names})


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("", ["1.csv", "archived.csv"]),
        ("**/1.csv", ["1.csv"]),
        ("*/1.csv", []),
        ("archive/1.csv", ["archive/1.csv"]),
        ("errors/run/1.csv", ["errors/run/1.csv"]),
        ("archive/", ["archive/1.csv", "archive/2024/1.csv"]),
        ("archive/2024/*.csv", ["archive/2024/1.csv"]),
    ],
)
def test_what_a_run_itself_puts_there_is_passed_over(
    objects: MemoryObjects, uri: str, names: list[str]
) -> None:
    """By a folder or pattern that looks into a folder above; what is named is taken."""
    at = Places(ROOT + "errors/", {ROOT: ROOT + "archive/"})
    found = find(objects, [ROOT + uri], at)
    assert [item.uri.removeprefix(ROOT) for item in found] == names
