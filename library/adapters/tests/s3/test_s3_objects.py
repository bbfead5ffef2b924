"""S3 keeps the promises of the port, and some of its own."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from assay.domain.errors import Replaced, Taken
from assay.ports.objects import Object
from assay.testing.objects import ObjectsSuite
from assay_adapters.s3.config import S3Config
from assay_adapters.s3.objects import S3Objects

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

MIB = 1 << 20


class TestS3Objects(ObjectsSuite):
    """The port suite over a bucket that keeps no versions."""

    @pytest.fixture
    def objects(self, client: "S3Client") -> S3Objects:
        """On a good way."""
        return S3Objects(client)

    @pytest.fixture
    def root(self, bucket: str) -> str:
        """Not the bucket's own."""
        return f"s3://{bucket}/some/where/"

    @pytest.fixture
    def exclusive(self, client: "S3Client") -> S3Objects:
        """The emulator passes over If-None-Match of a copy, unless the copy goes in parts."""
        return S3Objects(client, single=0)

    @pytest.fixture
    def nowhere(self) -> str:
        """A bucket that was never made."""
        return "s3://assay-never-made/"


class TestS3ObjectsWithVersions(TestS3Objects):
    """The port suite over a bucket that keeps versions."""

    @pytest.fixture
    def root(self, versioned: str) -> str:
        """The bucket's own."""
        return f"s3://{versioned}/"


@pytest.mark.parametrize("kind", ["bucket", "versioned"])
def test_a_listing_goes_on_beyond_a_page(
    objects: S3Objects, client: "S3Client", request: pytest.FixtureRequest, kind: str
) -> None:
    """A page holds 1,000; all come, in order, each as it is found by its name."""
    bucket = request.getfixturevalue(kind)
    names = [f"in/{number:04}.csv" for number in range(1_050)]

    def put(name: str) -> None:
        client.put_object(Bucket=bucket, Key=name, Body=name.encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, names))
    found = list(objects.list(f"s3://{bucket}/in/"))
    assert [item.uri for item in found] == [f"s3://{bucket}/{name}" for name in names]
    assert [found[1_020]] == list(objects.list(f"s3://{bucket}/in/1020.csv"))


def test_placeholders_of_folders_are_no_objects(
    objects: S3Objects, client: "S3Client", bucket: str
) -> None:
    """Empty objects whose key ends in a slash are left behind by browsers."""
    client.put_object(Bucket=bucket, Key="in/", Body=b"")
    client.put_object(Bucket=bucket, Key="in/deep/", Body=b"")
    item = objects.write(f"s3://{bucket}/in/file.csv", b"content")
    for place in ("", "in/", "**", "in/*", "*/"):
        assert list(objects.list(f"s3://{bucket}/{place}")) == [item]
    assert list(objects.list(f"s3://{bucket}/in/deep/")) == []


def test_only_the_latest_version_is_an_object(
    objects: S3Objects, client: "S3Client", versioned: str
) -> None:
    """Neither an older one nor one behind a delete marker."""
    root = f"s3://{versioned}/"
    objects.write(root + "a.csv", b"old")
    kept = objects.write(root + "a.csv", b"new")
    objects.write(root + "b.csv", b"deleted")
    client.delete_object(Bucket=versioned, Key="b.csv")
    assert list(objects.list(root)) == [kept]
    assert list(objects.list(root + "b.csv")) == []


def test_the_same_bytes_again_are_a_new_version_where_versions_are_kept(
    objects: S3Objects, versioned: str
) -> None:
    """Delivered twice is two partitions; the old one can still be read."""
    one = objects.write(f"s3://{versioned}/a.csv", b"content")
    two = objects.write(f"s3://{versioned}/a.csv", b"content")
    assert one != two
    assert b"".join(objects.read(one)) == b"content"


def test_what_is_older_than_its_buckets_versions_goes_by_its_etag(
    objects: S3Objects, client: "S3Client", bucket: str
) -> None:
    """All of these have the version id `null`, which tells nothing apart."""
    item = objects.write(f"s3://{bucket}/a.csv", b"content")
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert item.version.startswith("etag:")
    assert list(objects.list(f"s3://{bucket}/")) == [item]
    assert list(objects.list(f"s3://{bucket}/a.csv")) == [item]
    moved = objects.move(item, f"s3://{bucket}/archive/a.csv")
    assert list(objects.list(f"s3://{bucket}/")) == [moved]
    assert not moved.version.startswith("etag:")


def test_a_move_leaves_versions_behind_a_delete_marker(
    objects: S3Objects, client: "S3Client", versioned: str
) -> None:
    """Nothing is destroyed where versions are kept, and no older one comes to light."""
    root = f"s3://{versioned}/"
    objects.write(root + "a.csv", b"superseded")
    item = objects.write(root + "a.csv", b"content")
    moved = objects.move(item, root + "archive/a.csv")
    assert list(objects.list(root)) == [moved]
    assert b"".join(objects.read(item)) == b"content"
    markers = client.list_object_versions(Bucket=versioned, Prefix="a.csv").get("DeleteMarkers", [])
    assert len(markers) == 1


@pytest.mark.parametrize("kind", ["bucket", "versioned"])
def test_a_crash_between_copy_and_deletion_is_mended(
    objects: S3Objects,
    client: "S3Client",
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    """The move again ends as one that was not disturbed, without a second copy."""
    root = f"s3://{request.getfixturevalue(kind)}/"
    item = objects.write(root + "in/a.csv", b"content")
    with monkeypatch.context() as patched:
        patched.setattr(client, "delete_object", _crash)
        with pytest.raises(KeyboardInterrupt):
            objects.move(item, root + "archive/a.csv")
    both = list(objects.list(root))
    assert [each.uri for each in both] == [root + "archive/a.csv", root + "in/a.csv"]
    assert objects.move(item, root + "archive/a.csv") == both[0]
    assert list(objects.list(root)) == both[:1]


@pytest.mark.parametrize("kind", ["bucket", "versioned"])
@pytest.mark.parametrize("size", [7, 11 * MIB])
def test_a_move_after_its_deletion_finds_its_copy(
    client: "S3Client", request: pytest.FixtureRequest, kind: str, size: int
) -> None:
    """Also where the copy's ETag is another one, as after a copy in parts."""
    objects = S3Objects(client, single=6 * MIB, part=5 * MIB)
    bucket = request.getfixturevalue(kind)
    item = objects.write(f"s3://{bucket}/a.csv", b"x" * size)
    moved = objects.move(item, f"s3://{bucket}/archive/a.csv")
    written = client.head_object(Bucket=bucket, Key="archive/a.csv")["LastModified"]
    assert objects.move(item, f"s3://{bucket}/archive/a.csv") == moved
    assert client.head_object(Bucket=bucket, Key="archive/a.csv")["LastModified"] == written


@pytest.mark.parametrize(
    ("instant", "heeded"), [("copy_object", True), ("copy_object", False), ("head_object", True)]
)
def test_an_object_that_comes_while_another_is_moved_stays(
    *,
    objects: S3Objects,
    client: "S3Client",
    monkeypatch: pytest.MonkeyPatch,
    bucket: str,
    instant: str,
    heeded: bool,
) -> None:
    """It takes the name after the copy, or after the last look if the store heeds conditions."""
    root = f"s3://{bucket}/"
    item = objects.write(root + "a.csv", b"old")
    call: Any = getattr(client, instant)
    delete: Any = client.delete_object
    looks = 0

    def interrupted(**arguments: Any) -> Any:
        nonlocal looks
        answer = call(**arguments)
        looks += arguments["Key"] == "a.csv"
        if instant == "copy_object" or looks == 2:
            client.put_object(Bucket=bucket, Key="a.csv", Body=b"new")
        return answer

    def heedless(**arguments: Any) -> Any:
        arguments.pop("IfMatch")
        return delete(**arguments)

    monkeypatch.setattr(client, instant, interrupted)
    if not heeded:
        monkeypatch.setattr(client, "delete_object", heedless)
    moved = objects.move(item, root + "archive/a.csv")
    assert b"".join(objects.read(moved)) == b"old"
    (new,) = objects.list(root + "a.csv")
    assert b"".join(objects.read(new)) == b"new"


@pytest.mark.parametrize("own", [True, False])
def test_a_name_that_is_taken_after_the_look_is_spared(
    *, client: "S3Client", monkeypatch: pytest.MonkeyPatch, bucket: str, own: bool
) -> None:
    """The copy is made on the condition that the name is free; by a copy of the same it is done."""
    objects = S3Objects(client, single=0)
    root = f"s3://{bucket}/"
    item = objects.write(root + "a.csv", b"content")
    complete: Any = client.complete_multipart_upload
    there: list[Object] = []

    def interrupted(**arguments: Any) -> Any:
        monkeypatch.undo()
        if own:
            with monkeypatch.context() as patched:
                patched.setattr(client, "delete_object", _nothing)
                there.append(objects.move(item, root + "archive/a.csv"))
        else:
            there.append(objects.write(root + "archive/a.csv", b"other"))
        return complete(**arguments)

    monkeypatch.setattr(client, "complete_multipart_upload", interrupted)
    if own:
        assert objects.move(item, root + "archive/a.csv") == there[0]
        assert list(objects.list(root)) == there
    else:
        with pytest.raises(Taken):
            objects.move(item, root + "archive/a.csv")
        assert list(objects.list(root)) == [item, *there]


@pytest.mark.parametrize("size", [7, 7 * MIB])
def test_an_object_that_comes_before_the_copy_is_not_copied(
    client: "S3Client", monkeypatch: pytest.MonkeyPatch, bucket: str, size: int
) -> None:
    """The look at the version is one thing, the copy another."""
    objects = S3Objects(client, single=6 * MIB, part=5 * MIB)
    root = f"s3://{bucket}/"
    item = objects.write(root + "a.csv", b"o" * size)
    look: Any = client.head_object

    def interrupted(**arguments: Any) -> Any:
        answer = look(**arguments)
        if arguments["Key"] == "a.csv":
            client.put_object(Bucket=bucket, Key="a.csv", Body=b"n" * size)
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(client, "head_object", interrupted)
        with pytest.raises(Replaced):
            objects.move(item, root + "archive/a.csv")
    (new,) = objects.list(root)
    assert b"".join(objects.read(new)) == b"n" * size


def test_content_type_and_metadata_go_along(
    objects: S3Objects, client: "S3Client", bucket: str
) -> None:
    """In one request and in parts."""
    in_parts = S3Objects(client, single=6 * MIB, part=5 * MIB)
    for adapter, size, to in ((objects, 7, "one.csv"), (in_parts, 7 * MIB, "two.csv")):
        client.put_object(
            Bucket=bucket,
            Key="a.csv",
            Body=b"x" * size,
            ContentType="text/csv",
            ContentEncoding="identity",
            Metadata={"sender": "somebody"},
        )
        (item,) = adapter.list(f"s3://{bucket}/a.csv")
        adapter.move(item, f"s3://{bucket}/{to}")
        head = client.head_object(Bucket=bucket, Key=to)
        assert head["ContentType"] == "text/csv"
        assert head["ContentEncoding"] == "identity"
        assert head["Metadata"]["sender"] == "somebody"


@pytest.mark.parametrize("kind", ["bucket", "versioned"])
def test_what_is_too_large_for_one_request_goes_in_parts(
    client: "S3Client", request: pytest.FixtureRequest, kind: str
) -> None:
    """Written and moved byte for byte."""
    objects = S3Objects(client, single=6 * MIB, part=5 * MIB)
    root = f"s3://{request.getfixturevalue(kind)}/"
    body = bytes(range(256)) * (12 << 12)
    item = objects.write(root + "a.bin", body)
    assert list(objects.list(root)) == [item]
    moved = objects.move(item, root + "archive/a.bin")
    assert list(objects.list(root)) == [moved]
    assert b"".join(objects.read(moved)) == body


def test_parts_that_fail_leave_nothing_behind(
    client: "S3Client", monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    """Neither an object nor parts, which would cost money."""
    objects = S3Objects(client, single=6 * MIB, part=5 * MIB)
    with monkeypatch.context() as patched:
        patched.setattr(client, "upload_part", _crash)
        with pytest.raises(KeyboardInterrupt):
            objects.write(f"s3://{bucket}/a.bin", bytes(7 * MIB))
    item = objects.write(f"s3://{bucket}/a.bin", b"o" * 7 * MIB)
    client.put_object(Bucket=bucket, Key="a.bin", Body=b"other")
    with pytest.raises(Replaced):
        objects.move(item, f"s3://{bucket}/archive/a.bin")
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert [each.uri for each in objects.list(f"s3://{bucket}/")] == [f"s3://{bucket}/a.bin"]


READ_AND_WEIGH = """
import resource, sys
from pydantic import HttpUrl
from assay.ports.objects import Object
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
url, key, secret, uri, version, size = sys.argv[1:]
config = S3Config(endpoint_url=HttpUrl(url), access_key_id=key, secret_access_key=secret)
objects = S3Objects(s3_client(config))
item = Object(uri, version, int(size))
next(objects.read(item))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
length = sum(map(len, objects.read(item)))
print(length, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_long_object_takes_no_memory(
    objects: S3Objects, s3_config: S3Config, bucket: str
) -> None:
    """200 MB are read within some MiB."""
    item: Object = objects.write(f"s3://{bucket}/long.bin", bytes(200_000_000))
    assert s3_config.access_key_id
    assert s3_config.secret_access_key
    secret = s3_config.secret_access_key.get_secret_value()
    arguments = [str(s3_config.endpoint_url), s3_config.access_key_id, secret, item.uri]
    printed = subprocess.run(
        [sys.executable, "-c", READ_AND_WEIGH, *arguments, item.version, str(item.size)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    length, growth = map(int, printed.split())
    assert length == 200_000_000
    assert growth < 16 << 10  # KiB


def _crash(**_: object) -> None:
    raise KeyboardInterrupt


def _nothing(**_: object) -> None:
    pass
