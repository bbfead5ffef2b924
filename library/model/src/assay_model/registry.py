"""The versions of a model, and which of them is served: a folder on the port `Objects`.

    versions/<version>/model.npz      the artifact; it has its name first
    versions/<version>/manifest.json  what is in it; has its name last: no manifest, no version
    promotions/00000017.json          what is served from then on; the highest number holds
    corrections.json                  what people say of descriptors: see `assay.wire.corrections`
    incoming/                         what has no name yet; what a crash leaves here may be deleted

But for the corrections, which are replaced as a whole, nothing is overwritten and nothing deleted:
everything gets its name by a move, which replaces nothing. Whatever else lies there is passed over,
and so are empty objects: a local file has its name before its content, and a crash between the two
leaves it empty.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as release
from typing import Any, Final, Literal, TypeVar

import polars as pl
from pydantic import BaseModel, ValidationError

from assay.domain.errors import DATA, TEMPORARY, AssayError, Fatal, Replaced, Taken, Unreadable
from assay.domain.taxonomy import Taxonomy
from assay.ports.objects import Object, Objects
from assay.wire import corrections
from assay.wire.moment import Moment
from assay_model.artifact import Artifact, ArtifactError, loads
from assay_model.description import Measured

# A pattern, and not the folders' names: in a local registry that is new they are not there yet.
_ENTRIES: Final = "*/*.json"
_MANIFESTS: Final = "*/*/manifest.json"
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MANIFEST: Final = re.compile(rf"versions/({_VERSION.pattern})/manifest\.json")
_NUMBER: Final = re.compile(r"promotions/([0-9]{8})\.json")
_LAST: Final = 99_999_999
_ATTEMPTS: Final = 3
_WAY_ON: Final = (
    "`assay model promote VERSION` has another one served, and `assay model add` puts that of this"
    " release into the registry"
)


class UnknownVersion(Fatal):
    """The registry has no such version, or several that begin so."""


class Differs(Fatal):
    """The registry has another artifact of this version."""

    exit_code = DATA


class Overtaken(AssayError):
    """Somebody else has promoted in between."""

    exit_code = TEMPORARY


class Manifest(BaseModel, frozen=True):
    """What is known of a version without its artifact.

    Attributes:
        name: of the model.
        version: of the model.
        sha256: of the artifact.
        size: of the artifact, in bytes.
        taxonomy: what it answers with.
        data: the files that it learnt from, with the sha256 of each.
        metrics: what was measured when it was trained, by what it was measured on.
        code: the release of assay-model that published it.
        at: when it was published.
        by: who did that.
    """

    name: str
    version: str
    sha256: str
    size: int
    taxonomy: Taxonomy
    data: list[dict[str, Any]]
    metrics: Measured
    code: str
    at: Moment
    by: str


class Promotion(BaseModel, frozen=True):
    """One entry of the log: what is served from then on.

    Attributes:
        number: its place in the log, from 1 on.
        action: what was asked for.
        version: that is served.
        challenger: that is asked the same for comparison, if one is.
        at: when.
        by: who.
        reason: why, if it was said.
    """

    number: int
    action: Literal["promote", "rollback", "shadow"]
    version: str
    challenger: str | None
    at: Moment
    by: str
    reason: str | None


@dataclass(frozen=True)
class Log:
    """The promotions so far.

    Attributes:
        entries: all of them, in order.
        next: the first number that is free.
    """

    entries: tuple[Promotion, ...]
    next: int

    @property
    def current(self) -> Promotion | None:
        """The one that holds; None where nothing was ever promoted."""
        return self.entries[-1] if self.entries else None


_Document = TypeVar("_Document", Manifest, Promotion)


@dataclass(frozen=True)
class Registry:
    """A registry; all methods may raise what those of `objects` do.

    Attributes:
        objects: hold it.
        root: the URI that theirs begin with; ends in `/`.
    """

    objects: Objects
    root: str

    def publish(self, content: bytes, manifest: Manifest) -> bool:
        """Adds a version, and returns whether it is new: the same once more changes nothing.

        Until the end nobody sees any of it; broken off, it can be repeated.

        Args:
            content: an artifact's.
            manifest: as `described` makes it of this content.

        Raises:
            Differs: the version has another artifact already.
        """
        folder = f"{self.root}versions/{manifest.version}/"
        if (item := self._manifests().get(manifest.version)) is not None:
            if self._manifest(manifest.version, item).sha256 != manifest.sha256:
                raise Differs(
                    f"{folder} holds another artifact of this version, and nothing is overwritten: "
                    "keep that one, or give this one another version"
                )
            return False
        self._put(folder + "model.npz", content)
        self._put(folder + "manifest.json", _written(manifest))
        return True

    def versions(self) -> Mapping[str, Manifest | ArtifactError]:
        """Every version's manifest by its name, in the order of the names, or what is wrong."""
        found: dict[str, Manifest | ArtifactError] = {}
        for version, item in self._manifests().items():
            try:
                found[version] = self._manifest(version, item)
            except ArtifactError as error:
                found[version] = error
        return found

    def manifest(self, version: str) -> Manifest:
        """A version's manifest; no other is read.

        Args:
            version: its name, or so much of its beginning that no other begins so.

        Raises:
            UnknownVersion: there is none, or there are several; names some.
            ArtifactError: the manifest is damaged.
        """
        versions = self._manifests()
        alike = [version] if version in versions else [v for v in versions if v.startswith(version)]
        if len(alike) != 1 or not version:
            some = ", ".join(alike or versions) or "none"
            what = "several versions that begin with" if alike else "no version"
            raise UnknownVersion(f"{self.root} has {what} {version}; there are: {some}")
        return self._manifest(alike[0], versions[alike[0]])

    def read(self, manifest: Manifest) -> Artifact:
        """The artifact of a version, byte for byte what was published.

        Raises:
            ArtifactError: it is not there, damaged, or of another format; names it, the reason,
                and how to go on.
        """
        try:
            return self._artifact(manifest)
        except ArtifactError as error:
            raise ArtifactError(f"{error}; {_WAY_ON}") from error

    def log(self) -> Log:
        """All promotions.

        Raises:
            Fatal: one of them is damaged.
        """
        items = self._numbered()
        entries = tuple(self._promotion(number, item) for number, item in items if item.size)
        return Log(entries, items[-1][0] + 1 if items else 1)

    def current(self) -> Promotion | None:
        """The promotion that holds, None where there is none; reads no other.

        Raises:
            Fatal: it is damaged.
        """
        items = [each for each in self._numbered() if each[1].size]
        return self._promotion(*items[-1]) if items else None

    def append(self, promotion: Promotion) -> None:
        """Writes an entry into the log.

        Raises:
            Overtaken: there is one of this number already.
            Fatal: the log has its last number, which nobody comes to by promoting.
        """
        if promotion.number > _LAST:
            raise Fatal(
                f"{self.root}promotions/{_LAST}.json leaves no number for another promotion: "
                "delete it, it is foreign"
            )
        uri = f"{self.root}promotions/{promotion.number:08}.json"
        try:
            self._moved(uri, _written(promotion))
        except Taken:
            raise Overtaken(
                "somebody else has promoted at the same moment, and nothing was changed here: "
                "look with `assay model list`, then run again if it is still right"
            ) from None

    def said(self) -> Object | None:
        """The object of people's corrections in its present version; None where there is none."""
        return next(iter(self.objects.list(self.root + corrections.NAME)), None)

    def corrections(self, item: Object) -> pl.DataFrame:
        """What people say, shaped as `assay.wire.corrections.CORRECTIONS`.

        Args:
            item: as `said` returns it; what has just been put in its place will do as well.

        Raises:
            Unreadable: these are no corrections; names the object and quotes nothing.
        """
        try:
            return corrections.read(self._body(item))
        except Unreadable as error:
            raise Unreadable(f"{item.uri}: {error}") from None

    def _artifact(self, manifest: Manifest) -> Artifact:
        uri = f"{self.root}versions/{manifest.version}/model.npz"
        content = self._content(uri)
        if content is None:
            raise ArtifactError(f"{uri} is not there")
        if hashlib.sha256(content).hexdigest() != manifest.sha256:
            raise ArtifactError(f"{uri} is damaged: it is not what its manifest was written for")
        artifact = loads(content, uri)
        if (artifact.name, artifact.version) != (manifest.name, manifest.version):
            raise ArtifactError(f"{uri} is another model than its manifest says")
        return artifact

    def _numbered(self) -> list[tuple[int, Object]]:
        listed = self.objects.list(self.root + _ENTRIES)
        named = ((_NUMBER.fullmatch(item.uri.removeprefix(self.root)), item) for item in listed)
        return sorted(
            ((int(match[1]), item) for match, item in named if match), key=lambda each: each[0]
        )

    def _promotion(self, number: int, item: Object) -> Promotion:
        found = _read(Promotion, self._body(item))
        if found is None or found.number != number:
            raise Fatal(f"{item.uri} is damaged: put it right, or delete it if it is foreign")
        return found

    def _manifests(self) -> dict[str, Object]:
        """Where each version's manifest is, in the order of their names."""
        listed = self.objects.list(self.root + _MANIFESTS)
        named = ((_MANIFEST.fullmatch(item.uri.removeprefix(self.root)), item) for item in listed)
        return {match[1]: item for match, item in named if match and item.size}

    def _manifest(self, version: str, item: Object) -> Manifest:
        found = _read(Manifest, self._body(item))
        if found is None or found.version != version:
            raise ArtifactError(f"{item.uri} is damaged")
        return found

    def _put(self, uri: str, content: bytes) -> None:
        """Gives content a name, unless an earlier or simultaneous attempt has done so.

        Raises:
            Differs: what is there is no such attempt's.
        """
        try:
            self._moved(uri, content)
        except Taken:
            there = self._content(uri)
            # Of two manifests of one artifact either will do.
            if not there or (there != content and not uri.endswith(".json")):
                raise Differs(
                    f"{uri} is there, differs, and belongs to no version: "
                    "delete it if nobody is publishing this version just now"
                ) from None

    def _moved(self, uri: str, content: bytes) -> None:
        incoming = f"{self.root}incoming/{secrets.token_hex(8)}.{uri.rpartition('.')[2]}"
        self.objects.move(self.objects.write(incoming, content), uri)

    def _content(self, uri: str) -> bytes | None:
        """What is under a name now; None where nothing is."""
        item = next(iter(self.objects.list(uri)), None)
        return None if item is None else self._body(item)

    def _body(self, item: Object) -> bytes:
        """The bytes of an object, or of what has just been put in its place."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return b"".join(self.objects.read(item))
            except Replaced:
                item = next(iter(self.objects.list(item.uri)), item)
        return b"".join(self.objects.read(item))


def described(artifact: Artifact, content: bytes, *, at: datetime, by: str) -> Manifest:
    """The manifest of an artifact, whose notes say what it learnt from and what was measured.

    Raises:
        ArtifactError: its version cannot be a name.
    """
    if not _VERSION.fullmatch(artifact.version):
        raise ArtifactError(f"a version of letters, digits and ._- is needed: {artifact.version!a}")
    return Manifest(
        name=artifact.name,
        version=artifact.version,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        taxonomy=artifact.taxonomy,
        data=artifact.notes.get("data", []),
        metrics=artifact.notes.get("tested", {}).get("measured", {}),
        code=release("assay-model"),
        at=at,
        by=by,
    )


def _written(document: Manifest | Promotion) -> bytes:
    return document.model_dump_json(indent=1).encode() + b"\n"


def _read(kind: type[_Document], body: bytes) -> _Document | None:
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        return None
