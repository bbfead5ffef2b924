"""Where the files of a run are, and where their rejects and the finished ones go."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from assay.domain.errors import DATA, Fatal
from assay.domain.pattern import is_pattern, literal
from assay.domain.position import Partition
from assay.ports.objects import Object, Objects


class NoSuchFile(Fatal):
    """A file that was named does not exist."""

    exit_code = DATA


@dataclass(frozen=True)
class Places:
    """The folders of a run; each ends in `/`.

    Attributes:
        root: what names in `archive` are relative to: the bucket, or the folder of the input.
        errors: where rejects are published, in a folder for each run.
        archive: where finished files are moved to.
    """

    root: str
    errors: str
    archive: str

    def archived(self, item: Object) -> str:
        """Where a file is moved once it is finished."""
        return self.archive + item.uri.removeprefix(self.root)


def told_apart(uri: str, item: Object) -> str:
    """The same place under a name that this version of this file alone has."""
    folder, slash, name = uri.rpartition("/")
    start, dot, ending = name.partition(".")
    mark = sha256(item.partition.encode()).hexdigest()[:12]
    return f"{folder}{slash}{start}-{mark}{dot}{ending}"


def places(uris: Sequence[str], *, errors: str | None = None, archive: str | None = None) -> Places:
    """The places that belong to these URIs, unless others are given.

    Raises:
        Fatal: the URIs are of several buckets or folders, so that there is no one place.
    """
    roots = {_root(each) for each in uris}
    if len(roots) > 1 and (errors is None or archive is None):
        raise Fatal(
            f"the files lie in several places ({', '.join(sorted(roots))}): run once for each, "
            "or say with --errors and --archive-to where their rejects and finished files go"
        )
    root = min(roots)
    return Places(root, _folder(errors or root + "errors/"), _folder(archive or root + "archive/"))


def is_s3(uri: str) -> bool:
    """Whether it names something in S3 and not on this machine."""
    return uri.startswith("s3://")


def spelled(partition: Partition) -> str:
    """A file as people name it, without version; a local one by its path, from here if below."""
    uri = partition.rpartition("#")[0]
    path = Path(unquote(uri.removeprefix("file://")))
    if not uri.startswith("file://") or not str(path).isprintable():
        return uri
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _root(uri: str) -> str:
    if is_s3(uri):
        return f"s3://{urlsplit(uri).netloc}/"
    start = literal(uri)
    folder = start[: start.rfind("/") + 1]
    if uri.startswith("file://"):
        return folder
    path = Path(uri)
    return _folder((path if path.is_dir() else Path(folder or ".")).resolve().as_uri())


def _folder(uri: str) -> str:
    return uri if uri.endswith("/") else uri + "/"


def find(objects: Objects, uris: Sequence[str], places: Places) -> list[Object]:
    """The files under these URIs, each once, in order; never what a run itself has put there.

    Raises:
        NoSuchFile: a file that is named, not matched, does not exist.
    """
    found: dict[str, Object] = {}
    for uri in uris:
        matched = list(objects.list(uri))
        if not matched and not is_pattern(uri) and not uri.endswith("/"):
            raise NoSuchFile(f"{uri} does not exist; a folder ends in /, a pattern has * or ?")
        for item in matched:
            if not item.uri.startswith((places.errors, places.archive)):
                found.setdefault(item.partition, item)
    return list(found.values())
