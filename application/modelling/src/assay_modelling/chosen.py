"""Which model is meant: a version of the registry, a file, or the one that is served."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assay_model.artifact import SHIPPED, Artifact, ArtifactError, loads
from assay_model.registry import Registry
from assay_modelling import bootstrap

SERVED: Final = "served"
"""The name of the version that is promoted, whichever that is."""


@dataclass(frozen=True)
class Chosen:
    """A model that was found to be whole.

    Attributes:
        artifact: what is in it.
        place: where it lies.
        size: of it in bytes.
        sha256: of these.
        content: the bytes themselves, of a file.
        registry: that it is of; None of a file.
    """

    artifact: Artifact
    place: str
    size: int
    sha256: str
    content: bytes = b""
    registry: Registry | None = None


def chosen(name: str | None) -> Chosen:
    """The model of this name.

    Args:
        name: a file where it is there, or looks like one (`.npz`, a `/`); else a version, which may
            be abbreviated. None or `served`: what is promoted; where nothing is, what the package
            carries.

    Raises:
        Unavailable: the registry is away.
        Fatal: there is no such model, it is damaged, or the settings are wrong.
    """
    if name == SERVED:
        name = None
    if name is not None and (name.endswith(".npz") or "/" in name or Path(name).is_file()):
        return from_file(Path(name))
    if name is not None:
        return _from_registry(bootstrap.registry(), name)
    registry = bootstrap.registry_named()
    current = None if registry is None else registry.current()
    if registry is None or current is None:
        return from_file(SHIPPED)
    return _from_registry(registry, current.version)


def from_file(path: Path) -> Chosen:
    """The model in a file.

    Raises:
        ArtifactError: the file cannot be read, is damaged or no model.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    return Chosen(loads(content, str(path)), str(path), len(content), sha256, content)


def _from_registry(registry: Registry, version: str) -> Chosen:
    manifest = registry.manifest(version)
    place = f"{registry.root}versions/{manifest.version}/"
    artifact = registry.read(manifest)
    return Chosen(artifact, place, manifest.size, manifest.sha256, registry=registry)
