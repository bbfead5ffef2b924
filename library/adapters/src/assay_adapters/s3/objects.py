"""Objects in S3."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from assay.domain.errors import Fatal, Replaced, Taken, Unavailable
from assay.domain.pattern import is_pattern, literal, selector
from assay.ports.objects import Object
from assay_adapters.s3.errors import code_of, field, translated

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CopySourceTypeDef, HeadObjectOutputTypeDef

BLOCK: Final = 1 << 20
"""Bytes of a block that is read, at most."""

SINGLE: Final = 5 << 30
"""Bytes that S3 takes or copies in one request, at most; beyond it there are parts."""

STRETCH: Final = 8 << 20
"""Bytes that are asked for at a time. A reader may pause for hours between two of them, and one
that goes on after another version has taken the name learns it at the next."""

_PART: Final = 512 << 20  # times 10,000, the most parts of an upload, is more than S3 holds
_RESUME: Final = Retrying(
    stop=stop_after_attempt(5),
    wait=wait_random_exponential(multiplier=0.2, max=2),
    retry=retry_if_exception_type(Unavailable),
    reraise=True,
)
_ETAG: Final = "etag:"
_ORIGIN: Final = "assay-moved-from"
_FREE: Final[Mapping[str, Any]] = MappingProxyType({"IfNoneMatch": "*"})  # nothing has the name
_KEPT: Final = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
)


class _Address(NamedTuple):
    bucket: str
    key: str

    @property
    def arguments(self) -> dict[str, Any]:
        return {"Bucket": self.bucket, "Key": self.key}


class S3Objects:
    """The objects of S3 (`assay.ports.objects`).

    A URI is `s3://`, the bucket, `/` and the key as it is, nothing encoded; patterns are described
    at `assay.domain.pattern.selector`. Objects are handed out in the order of their keys'
    bytes. Empty objects whose key ends in `/`, which browsers leave behind as folders, are none.

    The version is the version id; where the bucket has no versions, `etag:` and the ETag. A
    version with an id can be read after another one has taken its name.

    Needs the permissions `s3:ListBucket`, `s3:GetBucketVersioning` and `s3:GetObject`, to write
    `s3:PutObject`, to move `s3:DeleteObject`; with versions also `s3:ListBucketVersions` and
    `s3:GetObjectVersion`.

    Args:
        client: as `assay_adapters.s3.config.s3_client` makes it.
        single: bytes that go in one request, at most.
        part: bytes of a part where it takes several.
        stretch: bytes of an object that are asked for at a time.
    """

    def __init__(
        self,
        client: "S3Client",
        *,
        single: int = SINGLE,
        part: int = _PART,
        stretch: int = STRETCH,
    ) -> None:
        self._client = client
        self._stretch = stretch
        self._single = single
        self._part = part

    def list(self, uri: str) -> Iterator[Object]:
        """The objects under a URI: a key is looked up, for others as little as can be is listed.

        Raises:
            Unavailable: S3 is away.
            Fatal: access is denied, or the bucket does not exist.
        """
        bucket, key = _address(uri)
        if key and not key.endswith("/") and not is_pattern(key):
            head = self._head(_Address(bucket, key))
            if head is not None:
                yield _object(uri, head, field(head, "ContentLength"))
            else:  # which a bucket that does not exist looks like as well
                with translated(uri):
                    self._client.list_objects_v2(Bucket=bucket, MaxKeys=1)
            return
        selects = selector(key)
        for entry in self._entries(bucket, literal(key)):
            name, size = entry["Key"], entry["Size"]
            if selects(name) and (size or not name.endswith("/")):
                yield _object(f"s3://{bucket}/{name}", entry, size)

    def read(self, item: Object, start: int = 0) -> Iterator[bytes]:
        """The bytes of exactly this version, in blocks of at most `BLOCK` bytes.

        A connection that breaks is resumed where it broke, several times within some seconds
        for each block.

        Raises:
            Replaced: this version is no longer there.
            Unavailable: S3 is away, or the connection broke too often.
            Unreadable: the object lies in an archive.
            Denied: the object may not be read.
            Fatal: access is denied, or the bucket does not exist.
        """
        if start >= item.size:
            return
        reading = _Reading(lambda offset: self._open(item, offset), item.uri, start)
        try:
            while reading.offset < item.size:
                yield _RESUME(reading.block)
        finally:
            reading.close()

    def write(self, uri: str, body: bytes, *, is_new: bool = False) -> Object:
        """Puts an object in place of any other, all at once; one that must be new by If-None-Match.

        Raises:
            Taken: with `is_new`, an object is there.
            Unavailable: S3 is away.
            Fatal: access is denied, or the bucket does not exist.
        """
        try:
            return self._write(uri, body, _FREE if is_new else {})
        except Replaced:
            if not is_new:
                raise
            raise Taken(f"{uri} is there already") from None

    def _write(self, uri: str, body: bytes, condition: Mapping[str, Any]) -> Object:
        target = _named(uri)
        with translated(uri):
            if len(body) <= self._single:
                answer: Any = self._client.put_object(**target.arguments, **condition, Body=body)
            else:

                def send(number: int, first: int, last: int, upload: str) -> str:
                    part = self._client.upload_part(
                        **target.arguments,
                        UploadId=upload,
                        PartNumber=number,
                        Body=body[first : last + 1],
                    )
                    return part["ETag"]

                answer = self._in_parts(target, len(body), send, {}, condition)
        return _object(uri, answer, len(body))

    def move(self, item: Object, to: str) -> Object:
        """Copies exactly this version, then deletes it if it still has its name.

        The copy says in its metadata what it is a copy of, so that a move that is repeated finds
        it. Content type and metadata go with it, and up to 5 GiB its tags. Where the bucket keeps
        versions the name gets a delete marker, and the version stays behind it.

        Copy and deletion are conditional (If-None-Match, If-Match). A store that passes over the
        conditions is protected by a look at the name just before, but for what takes it in the
        instant between the two.

        Raises:
            Taken: another object is at `to`.
            Replaced: this version is no longer there and not at `to` either.
            Unavailable: S3 is away.
            Fatal: access is denied, or a bucket does not exist.
        """
        source, target = _address(item.uri), _named(to)
        if source == target:
            return item
        origin = hashlib.sha256(item.partition.encode()).hexdigest()
        moved = self._copied(to, target, origin)
        if moved is None:
            try:
                moved = self._copy(item, source, to, target, origin)
            except Replaced:  # or the name has been taken since
                moved = self._copied(to, target, origin)
                if moved is None:
                    raise
        self._delete(item, source)
        return moved

    def _entries(self, bucket: str, prefix: str) -> Iterator[Any]:
        """The objects of a bucket as they stand, with their version ids if they have any."""
        with translated(f"s3://{bucket}/{prefix}"):
            if not self._has_versions(bucket):
                objects = self._client.get_paginator("list_objects_v2")
                for page in objects.paginate(Bucket=bucket, Prefix=prefix):
                    field(page, "IsTruncated")
                    yield from page.get("Contents", ())
                return
            versions = self._client.get_paginator("list_object_versions")
            for page in versions.paginate(Bucket=bucket, Prefix=prefix):
                field(page, "IsTruncated")
                for entry in page.get("Versions", ()):
                    if entry.get("IsLatest"):
                        yield entry

    def _has_versions(self, bucket: str) -> bool:
        try:
            return "Status" in self._client.get_bucket_versioning(Bucket=bucket)
        except ClientError as error:
            if code_of(error) == "NotImplemented":
                return False
            raise

    def _head(self, address: _Address) -> "HeadObjectOutputTypeDef | None":
        with suppress(Replaced), translated(f"s3://{address.bucket}/{address.key}"):
            return self._client.head_object(**address.arguments)
        return None

    def _open(self, item: Object, offset: int) -> "_Stretch":
        end = min(offset + self._stretch, item.size)
        arguments = _address(item.uri).arguments | _condition(item)
        arguments["Range"] = f"bytes={offset}-{end - 1}"
        with translated(item.uri):
            answer = self._client.get_object(**arguments)
            body = answer["Body"]
            length = answer.get("ContentLength")
            if length == item.size:  # A store that passes over ranges has sent all of it.
                end = item.size
                for start in range(0, offset, BLOCK):
                    body.read(min(BLOCK, offset - start))
            elif length != end - offset:
                body.close()
                raise Unavailable(f"S3 sent other bytes of {item.uri} than it was asked for")
        return _Stretch(body, end)

    def _copied(self, to: str, target: _Address, origin: str) -> Object | None:
        """The copy of this origin that has the name; None where nothing has it."""
        head = self._head(target)
        if head is None:
            return None
        there = _object(to, head, field(head, "ContentLength"))
        if head["Metadata"].get(_ORIGIN) != origin:
            raise Taken(f"{to} is another object already")
        return there

    def _copy(
        self, item: Object, source: _Address, to: str, target: _Address, origin: str
    ) -> Object:
        with translated(item.uri):
            head = self._client.head_object(**source.arguments, **_condition(item))
            attributes: dict[str, Any] = {name: head[name] for name in _KEPT if name in head}
            attributes["Metadata"] = head["Metadata"] | {_ORIGIN: origin}
            exactly: dict[str, Any] = {
                "CopySource": _copy_source(item, source),
                "CopySourceIfMatch": field(head, "ETag"),
            }
            if item.size <= self._single:
                copied = self._client.copy_object(
                    **target.arguments,
                    **exactly,
                    **attributes,
                    **_FREE,
                    MetadataDirective="REPLACE",
                )
                answer: Any = {**copied["CopyObjectResult"], **copied}
            else:

                def send(number: int, first: int, last: int, upload: str) -> str:
                    part: Any = self._client.upload_part_copy(
                        **target.arguments,
                        **exactly,
                        UploadId=upload,
                        PartNumber=number,
                        CopySourceRange=f"bytes={first}-{last}",
                    )
                    return part["CopyPartResult"]["ETag"]

                answer = self._in_parts(target, item.size, send, attributes, _FREE)
        return _object(to, answer, item.size)

    def _in_parts(
        self,
        target: _Address,
        size: int,
        send: Callable[[int, int, int, str], str],
        attributes: dict[str, Any],
        condition: Mapping[str, Any] = MappingProxyType({}),
    ) -> Any:
        """Puts an object together from parts; nobody sees it before all of them are there."""
        upload = self._client.create_multipart_upload(**target.arguments, **attributes)["UploadId"]
        try:
            parts: Any = [
                {
                    "PartNumber": number,
                    "ETag": send(number, first, min(first + self._part, size) - 1, upload),
                }
                for number, first in enumerate(range(0, size, self._part), start=1)
            ]
            return self._client.complete_multipart_upload(
                **target.arguments,
                **condition,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except BaseException:
            # Parts that are left behind cost money, but they do no harm.
            with suppress(Exception):
                self._client.abort_multipart_upload(**target.arguments, UploadId=upload)
            raise

    def _delete(self, item: Object, source: _Address) -> None:
        head = self._head(source)
        if head is None or _version(head) != item.version:
            return  # The name is free, or another object has it by now.
        with suppress(Replaced), translated(item.uri):
            self._client.delete_object(**source.arguments, IfMatch=field(head, "ETag"))


class _Stretch(NamedTuple):
    """Some bytes of an object on their way, and the offset that they end before."""

    body: StreamingBody
    end: int


class _Reading:
    """The rest of an object, stretch by stretch; after a break the next block opens it again.

    Args:
        open_at: opens it at an offset; called at once, so that a refusal costs no patience.
        uri: for messages.
        offset: where to begin.
    """

    def __init__(self, open_at: Callable[[int], _Stretch], uri: str, offset: int) -> None:
        self.offset = offset
        self._open_at = open_at
        self._uri = uri
        self._stretch: _Stretch | None = open_at(offset)

    def block(self) -> bytes:
        """The next bytes; raises `Unavailable` where the connection breaks."""
        if self._stretch is None:
            self._stretch = self._open_at(self.offset)
        body, end = self._stretch
        try:
            with translated(self._uri):
                content = body.read(min(BLOCK, end - self.offset))
        except Unavailable:
            self.close()
            raise
        self.offset += len(content)
        if self.offset == end:
            self.close()
        return content

    def close(self) -> None:
        """Lets the connection go."""
        if self._stretch is not None:
            self._stretch.body.close()
            self._stretch = None


def located(uri: str) -> str:
    """The same place as it begins the URIs of objects there.

    Raises:
        Fatal: it is no address in S3.
    """
    bucket, key = _address(uri)
    return f"s3://{bucket}/{key}"


def require_bucket(client: "S3Client", uri: str) -> None:
    """Looks for the bucket of a URI, so that a wrong name is told before there is work.

    Where S3 is away, or does not say, nothing is known of it.

    Raises:
        Fatal: there is no such bucket, or the URI is no address in S3.
    """
    bucket = _address(uri).bucket
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if code_of(error) in {"404", "NoSuchBucket"}:
            raise Fatal(
                f"there is no bucket {bucket}: make it, or name another than {uri}"
            ) from None
    except BotoCoreError:
        return


def _address(uri: str) -> _Address:
    scheme, separator, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not separator or not bucket:
        raise Fatal(f"{uri} is no address in S3; it should read s3://bucket/key")
    return _Address(bucket, key)


def _named(uri: str) -> _Address:
    address = _address(uri)
    if not address.key or address.key.endswith("/"):
        raise Fatal(f"{uri} names no object; it should read s3://bucket/key")
    return address


def _version(answer: Any) -> str:
    """An object that is older than its bucket's versions has the id `null`, as has the next."""
    version = answer.get("VersionId", "null")
    return version if version != "null" else _ETAG + field(answer, "ETag").strip('"')


def _object(uri: str, answer: Any, size: int) -> Object:
    return Object(uri=uri, version=_version(answer), size=size)


def _condition(item: Object) -> dict[str, Any]:
    if item.version.startswith(_ETAG):
        return {"IfMatch": f'"{item.version.removeprefix(_ETAG)}"'}
    return {"VersionId": item.version}


def _copy_source(item: Object, source: _Address) -> "CopySourceTypeDef":
    if item.version.startswith(_ETAG):
        return {"Bucket": source.bucket, "Key": source.key}
    return {"Bucket": source.bucket, "Key": source.key, "VersionId": item.version}
