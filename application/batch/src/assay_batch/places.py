"""Where the files of a run are, and where their rejects and the finished ones go.

All places are URIs as `assay_batch.bootstrap.located` gives them, which objects' URIs begin with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

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
        errors: where rejects are published, in a folder for each run.
        archives: where finished files are moved to, by the root that their names there are
            relative to: the bucket, or the folder of the input.
    """

    errors: str
    archives: Mapping[str, str]

    def archived(self, item: Object) -> str:
        """Where a file is moved once it is finished.

        Its name there is relative to its root; one that a link has led to, and that lies below no
        root, keeps its last part alone. What an archive within its root holds stays there.
        """
        roots = [each for each in self.archives if item.uri.startswith(each)]
        root = max(roots, key=len, default=min(self.archives))
        archive = self.archives[root]
        if archive.startswith(root) and item.uri.startswith(archive):
            return item.uri
        name = item.uri.removeprefix(root) if roots else item.uri.rpartition("/")[2]
        return archive + name


def told_apart(uri: str, item: Object) -> str:
    """The same place under a name that this version of this file alone has."""
    folder, slash, name = uri.rpartition("/")
    start, dot, ending = name.partition(".")
    mark = sha256(item.partition.encode()).hexdigest()[:12]
    return f"{folder}{slash}{start}-{mark}{dot}{ending}"


def places(uris: Sequence[str], *, errors: str | None = None, archive: str | None = None) -> Places:
    """The places that belong to these URIs, unless others are given.

    Raises:
        Fatal: they cannot serve: some are in S3 and some here, there is no one place for rejects
            since the URIs are of several buckets or folders, or rejects would lie among the files.
    """
    given = [each for each in (errors, archive) if each is not None]
    if len({is_s3(each) for each in (*uris, *given)}) > 1:
        raise Fatal(
            "a run's files, rejects and finished files are all in S3 or all on this machine: "
            "run once for each, and name places of the same kind with --errors and --archive-to"
        )
    if patterns := [each for each in given if is_pattern(each)]:
        raise Fatal(f"{patterns[0]} is a pattern; rejects and finished files go to one folder")
    roots = sorted({_root(each) for each in uris})
    if len(roots) > 1 and errors is None:
        raise Fatal(
            f"the files lie in several places ({', '.join(roots)}): run once for each, "
            "or say with --errors where their rejects go"
        )
    errors = _folder(errors or roots[0] + "errors/")
    if errors in {_start(each) for each in uris}:
        raise Fatal(f"rejects are not published among the files, in {errors}: see --errors")
    return Places(errors, {each: _folder(archive or each + "archive/") for each in roots})


def is_s3(uri: str) -> bool:
    """Whether it names something in S3 and not on this machine."""
    return uri.startswith("s3://")


def spelled(uri: str) -> str:
    """A file as people name it; a local one by its path, from here if below."""
    path = Path(unquote(uri.removeprefix("file://")))
    if not uri.startswith("file://") or not str(path).isprintable():
        return uri
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _root(uri: str) -> str:
    return f"s3://{uri[len('s3://') :].partition('/')[0]}/" if is_s3(uri) else _start(uri)


def _start(uri: str) -> str:
    """The folder that a URI looks into."""
    return literal(uri).rpartition("/")[0] + "/"


def _folder(uri: str) -> str:
    return uri if uri.endswith("/") else uri + "/"


def find(objects: Objects, uris: Sequence[str], places: Places) -> list[Object]:
    """The files under these URIs, each once, in order.

    A folder or pattern passes over what a run itself has put below it, unless it looks into just
    that place; a file that is named is taken from anywhere.

    Raises:
        NoSuchFile: a file that is named, not matched, does not exist.
    """
    found: dict[Partition, Object] = {}
    for uri in uris:
        matched = list(objects.list(uri))
        if is_pattern(uri) or uri.endswith("/"):
            start = _start(uri)
            of_runs = (places.errors, *places.archives.values())
            left_out = tuple(each for each in of_runs if each != start and each.startswith(start))
            matched = [each for each in matched if not each.uri.startswith(left_out)]
        elif not matched:
            raise NoSuchFile(
                f"{spelled(uri)} does not exist; a folder ends in /, a pattern has * or ?"
            )
        found |= {each.partition: each for each in matched if each.partition not in found}
    return list(found.values())
