import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from assay.domain.errors import CONFIGURATION
from assay.domain.taxonomy import Taxonomy
from assay_model.artifact import SHIPPED, Artifact, ArtifactError, arrays, load, save
from assay_model.predict import Model

HEADER = "{{'descr': '|u1', 'fortran_order': False, 'shape': ({},)}}\n"
EXTENT = {"rows": 1, "from": "2021-01-01", "to": "2021-12-31"}
REFERENCE = {
    "rows": 3,
    "categories": {"Food": 3},
    "mean_confidence": 0.9,
    "review_share": 0.1,
    "unseen_share": None,
}


@pytest.fixture
def saved(artifact: Artifact, tmp_path: Path) -> Path:
    """The small model's file."""
    path = tmp_path / "small.npz"
    save(artifact, path)
    return path


def test_an_artifact_reads_as_it_was_written(artifact: Artifact, saved: Path) -> None:
    """Loading gives the same numbers and description, and saving those the same bytes."""
    again = load(saved)
    other = saved.with_name("again.npz")
    save(again, other)
    assert other.read_bytes() == saved.read_bytes()
    assert (again.version, again.taxonomy, again.fields, again.review_below) == (
        artifact.version,
        artifact.taxonomy,
        artifact.fields,
        artifact.review_below,
    )
    for name, numbers in arrays(artifact.weights).items():
        assert_array_equal(arrays(again.weights)[name], numbers)


def test_the_version_follows_the_weights(artifact: Artifact, saved: Path) -> None:
    """A model loaded from a file says the artifact's name, version and taxonomy."""
    model = Model.load(saved)
    assert (model.name, model.version, model.taxonomy) == (
        "assay-linear",
        artifact.version,
        artifact.taxonomy,
    )


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def cut_at_the_end(data: bytes) -> bytes:
    return data[:-10]


def flipped(data: bytes) -> bytes:
    third = len(data) // 3
    return data[:third] + bytes([data[third] ^ 1]) + data[third + 1 :]


def empty(_: bytes) -> bytes:
    return b""


def some_text(_: bytes) -> bytes:
    return b"description,category\n"


def foreign_zip(_: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("readme.txt", "not a model")
    return buffer.getvalue()


def bare_array(_: bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    return buffer.getvalue()


def pickled(_: bytes) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, digest=np.array([{}], dtype=object))
    return buffer.getvalue()


def with_header(header: str) -> Callable[[bytes], bytes]:
    """A ZIP whose entry `digest` is an array of this header, and has no content."""

    def changed(_: bytes) -> bytes:
        length = len(header).to_bytes(2, "little")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("digest.npy", b"\x93NUMPY\x01\x00" + length + header.encode())
        return buffer.getvalue()

    return changed


def with_description(**changes: Any) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as file:
            entries = {name: file[name] for name in file.files}
        description = json.loads(entries["description"].tobytes()) | changes
        entries["description"] = np.frombuffer(json.dumps(description).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **entries)
        return buffer.getvalue()

    return changed


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (truncated, "not a model or is damaged"),
        (cut_at_the_end, "not a model or is damaged"),
        (flipped, "damaged"),
        (foreign_zip, "not a model or is damaged"),
        (bare_array, "not a model or is damaged"),
        (pickled, "not a model or is damaged"),
        (empty, "not a model or is damaged"),
        (some_text, "not a model or is damaged"),
        (with_header(HEADER.format(10**16)), "not a model or is damaged"),
        (with_header(HEADER.format(10**20)), "not a model or is damaged"),
        (with_description(format=99), "format 99; this release reads 3"),
        (with_description(temperature=2.0), "its digest differs"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused(
    saved: Path, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    """Truncated, altered, foreign, pickled or of another format: the file and reason are named."""
    saved.write_bytes(spoil(saved.read_bytes()))
    with pytest.raises(ArtifactError) as refused:
        Model.load(saved)
    assert str(saved) in str(refused.value)
    assert reason in str(refused.value)
    assert refused.value.exit_code == CONFIGURATION


@pytest.mark.parametrize("name", ["missing.npz", "."])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """A path that is no file is refused in the same way."""
    with pytest.raises(ArtifactError, match="cannot be read: "):
        load(tmp_path / name)


@pytest.mark.parametrize("adds", [{"Rockets": 1.0}, {"Food": 10**400}])
def test_fields_must_fit_the_taxonomy(
    artifact: Artifact, tmp_path: Path, adds: dict[str, float]
) -> None:
    """What adds to a category that there is not, or no number of a float, makes a file no model."""
    path = tmp_path / "odd.npz"
    save(replace(artifact, fields={"side": {"debit": adds}}), path)
    with pytest.raises(ArtifactError, match=r"not a model or is damaged|cannot answer: fields"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"name": 3}, "name"),
        ({"version": None}, "version"),
        ({"review_below": True}, "review_below"),
        ({"taxonomy": Taxonomy("t", "1", cast(Any, (1, 2, 3, 4)))}, "taxonomy.categories.0"),
        ({"fields": {"description": {"a": {"Food": 1.0}}}}, "fields.description"),
        ({"notes": []}, "notes"),
        ({"notes": {"data": "x"}}, "notes.data"),
        ({"notes": {"fitted": EXTENT | {"to": "today"}}}, "notes.fitted.to"),
        ({"notes": {"tested": []}}, "notes.tested"),
        (
            {"notes": {"tested": EXTENT | {"measured": {"all rows": {"accuracy": "x"}}}}},
            "notes.tested.measured.all rows.accuracy",
        ),
        ({"notes": {"reference": {"categories": {"Food": 3}}}}, "notes.reference.rows"),
        (
            {"notes": {"reference": REFERENCE | {"categories": {"Food": "x"}}}},
            "notes.reference.categories.Food",
        ),
        (
            {"notes": {"reference": REFERENCE | {"categories": {"Food": 10**400}}}},
            "notes.reference.categories.Food",
        ),
        (
            {"notes": {"reference": REFERENCE | {"mean_confidence": float("nan")}}},
            "notes.reference.mean_confidence",
        ),
    ],
)
def test_a_description_that_is_not_well_formed_is_refused(
    artifact: Artifact, tmp_path: Path, changes: dict[str, Any], part: str
) -> None:
    """Even of a whole file: later nobody looks again. The part is named."""
    path = tmp_path / "odd.npz"
    save(replace(artifact, **changes), path)
    with pytest.raises(ArtifactError, match=f"damaged: {part}"):
        load(path)


def test_a_whole_description_is_read_as_it_is(artifact: Artifact, tmp_path: Path) -> None:
    """With what nobody knows yet among the notes."""
    path = tmp_path / "noted.npz"
    measured = {"all rows": {"accuracy": 0.9, "rows": 3, "macro_f1": None}}
    notes = {"reference": REFERENCE, "tested": EXTENT | {"measured": measured}, "remark": [1]}
    save(replace(artifact, notes=notes), path)
    assert load(path).notes == notes


def with_changes(**changes: Any) -> Callable[[Artifact], Artifact]:
    return lambda artifact: replace(artifact, **changes)


def with_weights(**changes: Any) -> Callable[[Artifact], Artifact]:
    return lambda artifact: replace(artifact, weights=replace(artifact.weights, **changes))


def with_part(
    whole: str, **changes: Callable[[NDArray[Any]], NDArray[Any]]
) -> Callable[[Artifact], Artifact]:
    def changed(artifact: Artifact) -> Artifact:
        part = getattr(artifact.weights, whole)
        other = replace(part, **{name: how(getattr(part, name)) for name, how in changes.items()})
        return with_weights(**{whole: other})(artifact)

    return changed


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (with_weights(descriptors=np.array([2, 1], np.uint64)), "descriptors"),
        (with_weights(merchants=np.array([1, 2], np.int64)), "merchants"),
        (with_weights(words=np.ones((2, 2), np.uint64)), "words"),
        (with_weights(temperatures=np.array([1.0, 1.0, 0.0, 1.0])), "temperatures"),
        (with_weights(temperatures=np.array([1.0, 1.0, np.nan, 1.0])), "temperatures"),
        (with_weights(temperatures=np.array([1.0, 1.0, 5e-324, 1.0])), "temperatures"),
        (with_weights(temperatures=np.ones(3)), "temperatures"),
        (with_part("general", scale=lambda numbers: numbers * 0 + np.float32(3e38)), "general"),
        (with_part("familiar", power=np.zeros_like), "familiar"),
        (with_part("familiar", weights=np.transpose), "familiar"),
        (with_part("general", scale=lambda numbers: numbers * np.float32("inf")), "general"),
        (with_part("general", intercept=lambda numbers: numbers.astype(np.float64)), "general"),
        (with_part("general", power=lambda numbers: numbers[:-1]), "general"),
        (with_part("lexicon", hashes=lambda numbers: numbers[::-1]), "lexicon.hashes"),
        (with_part("lexicon", codes=lambda numbers: numbers + np.uint8(200)), "lexicon.codes"),
        (with_part("lexicon", kinds=lambda numbers: numbers[:-1]), "lexicon.kinds"),
        (with_weights(phrases=np.zeros((1, 3, 3), np.float32)), "phrases"),
        (with_changes(review_below=float("nan")), "review_below"),
        (with_changes(fields={"mcc": {"0742": {"Food": float("inf")}}}), "fields"),
        (with_changes(fields={"side": {"debit": {"Food": 1.7e308}}}), "fields"),
    ],
)
def test_a_model_that_could_not_answer_is_refused(
    artifact: Artifact, tmp_path: Path, spoil: Callable[[Artifact], Artifact], part: str
) -> None:
    """A whole file of numbers that make no probabilities is refused; the part is named."""
    path = tmp_path / "odd.npz"
    save(spoil(artifact), path)
    with pytest.raises(ArtifactError, match=f"cannot answer: {part} is not as it must be"):
        load(path)


def test_the_digest_covers_types_and_shapes(artifact: Artifact, tmp_path: Path) -> None:
    """The same bytes under another type are another file."""
    path = tmp_path / "odd.npz"
    save(artifact, path)
    with np.load(path) as file:
        entries = {name: file[name] for name in file.files}
    entries["words"] = entries["words"].view(np.int64)
    np.savez(path, allow_pickle=False, **entries)
    with pytest.raises(ArtifactError, match="its digest differs"):
        load(path)


def test_the_shipped_artifact_is_small_and_plain() -> None:
    """Under 10 MB, plain arrays only, with data, licences and figures written in it."""
    assert SHIPPED.stat().st_size < 10_000_000
    with np.load(SHIPPED, allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "uif" for name in file.files)
    notes = load(SHIPPED).notes
    assert "Open Government Licence v3.0" in {each["licence"] for each in notes["data"]}
    assert notes["tested"]["measured"]["all rows"]["accuracy"] > 0.935
