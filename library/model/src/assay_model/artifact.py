"""A trained model as one file: arrays and a JSON description, no pickled object.

A NumPy `.npz` (an uncompressed ZIP of `.npy` entries without dates, so that equal contents are
equal bytes), read with `allow_pickle=False`. The entry `digest` is the SHA-256 of all others.
"""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass, is_dataclass
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assay.domain.errors import Fatal
from assay.domain.taxonomy import Taxonomy
from assay_model.description import Malformed, require_well_formed
from assay_model.fields import Adds
from assay_model.lexicon import GROUPS, KINDS, Lexicon
from assay_model.linear import Linear
from assay_model.scores import STRANGE, Weights

FORMAT: Final = 3
"""Of the file and of what its numbers mean: text normalisation, n-grams and hashes included."""

SHIPPED: Final = Path(__file__).with_name("assay-linear.npz")

# Between these no score of any text becomes infinite; those of real models are far inside.
_SMALLEST: Final = 1e-3
_LARGEST: Final = 1e6

# What reading something else than a model file may raise: a truncated ZIP, a bare array, bad JSON.
_FOREIGN: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TokenError,
    OverflowError,
    MemoryError,  # a header may claim any shape
    zipfile.BadZipFile,
    zlib.error,
)


class ArtifactError(Fatal):
    """A model file cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class Artifact:
    """What training leaves behind.

    Attributes:
        name: of the model.
        version: changes with every weight.
        taxonomy: the categories, in the order of the weights'.
        weights: what scores follow from.
        fields: what other fields than the texts add to them.
        review_below: a prediction of less confidence than this should be looked at.
        notes: provenance, calibration and measured figures, as JSON.
    """

    name: str
    version: str
    taxonomy: Taxonomy
    weights: Weights
    fields: Adds
    review_below: float
    notes: dict[str, Any]


def save(artifact: Artifact, path: Path) -> None:
    """Writes the artifact; equal artifacts give equal bytes."""
    description = {
        "format": FORMAT,
        "name": artifact.name,
        "version": artifact.version,
        "taxonomy": {
            "name": artifact.taxonomy.name,
            "version": artifact.taxonomy.version,
            "categories": artifact.taxonomy.categories,
        },
        "fields": artifact.fields,
        "review_below": artifact.review_below,
        "notes": artifact.notes,
    }
    entries: dict[str, NDArray[Any]] = {
        "description": np.frombuffer(json.dumps(description, indent=1).encode(), np.uint8),
        **arrays(artifact.weights),
    }
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **entries, digest=_digest(entries))


def load(path: Path) -> Artifact:
    """Reads an artifact and checks that it is whole and sound.

    Raises:
        ArtifactError: there is no such file, it is damaged, not a model, or of another format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    return loads(content, str(path))


def loads(content: bytes, place: str) -> Artifact:
    """The artifact that a file's content is, once it is found to be whole and sound.

    Args:
        content: of the whole file.
        place: where it comes from, for messages.

    Raises:
        ArtifactError: it is damaged, not a model, or of another format.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as file:
            entries: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
        whole = np.array_equal(entries.pop("digest"), _digest(entries))
        described = json.loads(entries.pop("description").tobytes())
        if described["format"] != FORMAT:
            raise ArtifactError(
                f"{place} is a model of format {described['format']}; this release reads {FORMAT}"
            )
        if not whole:
            raise ArtifactError(f"{place} is damaged: its digest differs")
        require_well_formed(described)
        artifact = _artifact(described, _weights(entries))
        wrong = unsound(artifact)
    except Malformed as error:
        raise ArtifactError(f"{place} is not a model or is damaged: {error}") from error
    except _FOREIGN as error:
        raise ArtifactError(f"{place} is not a model or is damaged") from error
    if wrong:
        raise ArtifactError(f"{place} is a model that cannot answer: {wrong} is not as it must be")
    return artifact


def unsound(artifact: Artifact) -> str | None:
    """The first part of an artifact with which not every answer would be a probability, if any."""
    weights, categories = artifact.weights, len(artifact.taxonomy.categories)
    codes, kinds = weights.lexicon.codes, weights.lexicon.kinds
    rules = {
        "descriptors": _sorted(weights.descriptors),
        "merchants": _sorted(weights.merchants),
        "words": _sorted(weights.words),
        "familiar": _sound(weights.familiar, categories),
        "general": _sound(weights.general, categories),
        "lexicon.hashes": _sorted(weights.lexicon.hashes),
        "lexicon.codes": _below(categories, codes, weights.lexicon.hashes),
        "lexicon.kinds": _below(len(KINDS), kinds, weights.lexicon.hashes),
        "phrases": _within(weights.phrases, np.float32, (GROUPS, categories, categories)),
        "temperatures": _within(weights.temperatures, np.float64, (STRANGE + 1,), _SMALLEST),
        "fields": all(
            -_LARGEST <= score <= _LARGEST
            for values in artifact.fields.values()
            for adds in values.values()
            for score in adds.values()
        ),
        "review_below": 0 <= artifact.review_below <= 1,
    }
    return next((part for part, kept in rules.items() if not kept), None)


def _sorted(hashes: NDArray[Any]) -> bool:
    ordered = hashes.dtype == np.uint64 and hashes.ndim == 1
    return ordered and bool((hashes[:-1] < hashes[1:]).all())


def _below(limit: int, numbers: NDArray[Any], beside: NDArray[Any]) -> bool:
    fits = numbers.dtype == np.uint8 and numbers.shape == beside.shape
    return fits and bool((numbers < limit).all())


def _within(
    numbers: NDArray[Any],
    kind: type[np.floating],
    shape: tuple[int, ...],
    least: float = -_LARGEST,
) -> bool:
    fits = numbers.dtype == kind and numbers.shape == shape
    return fits and bool(((least <= numbers) & (numbers <= _LARGEST)).all())


def _sound(layer: Linear, categories: int) -> bool:
    columns = 1 << layer.bits
    return (
        layer.weights.dtype == np.int8
        and layer.weights.shape == (columns, categories)
        and _within(layer.scale, np.float32, (categories,))
        and _within(layer.power, np.float32, (columns,), _SMALLEST)
        and _within(layer.intercept, np.float32, (categories,))
    )


def arrays(weights: Weights) -> dict[str, NDArray[Any]]:
    """The numbers by name, in an order that is always the same."""
    found: dict[str, NDArray[Any]] = {}
    for name, value in vars(weights).items():
        parts: dict[str, NDArray[Any]] = vars(value) if is_dataclass(value) else {"": value}
        found |= {f"{name}.{part}".rstrip("."): numbers for part, numbers in parts.items()}
    return found


def _weights(entries: dict[str, NDArray[Any]]) -> Weights:
    """What `arrays` named."""
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for name, numbers in entries.items():
        whole, _, part = name.partition(".")
        parts.setdefault(whole, {})[part] = numbers
    return Weights(
        familiar=Linear(**parts.pop("familiar")),
        general=Linear(**parts.pop("general")),
        lexicon=Lexicon(**parts.pop("lexicon")),
        **{name: part[""] for name, part in parts.items()},
    )


def _artifact(described: dict[str, Any], weights: Weights) -> Artifact:
    taxonomy = described["taxonomy"]
    named = {
        category
        for values in described["fields"].values()
        for adds in values.values()
        for category in adds
    }
    if not named <= set(taxonomy["categories"]):
        raise ValueError("its fields name categories that it does not have")
    return Artifact(
        name=described["name"],
        version=described["version"],
        taxonomy=Taxonomy(taxonomy["name"], taxonomy["version"], tuple(taxonomy["categories"])),
        weights=weights,
        fields=described["fields"],
        review_below=described["review_below"],
        notes=described["notes"],
    )


def _digest(entries: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    digest = hashlib.sha256()
    for name in sorted(entries):
        numbers = entries[name]
        digest.update(f"{name} {numbers.dtype.str} {numbers.shape}".encode())
        digest.update(numbers.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
