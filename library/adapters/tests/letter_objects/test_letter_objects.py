"""A claim becomes one object of JSON lines."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assay.domain.errors import Unavailable
from assay.domain.reject import LETTERS
from assay.ports.letters import Claim
from assay.ports.objects import Object
from assay.wire.envelope import letters_from_jsonl
from assay_adapters.files.objects import LocalObjects
from assay_adapters.letter_objects.publisher import LetterObjects


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    """Two letters for a folder."""
    row = {
        "source": "batch",
        "partition": "file:///in/a.csv#3-0f",
        "raw": b"t-1;\xff",
        "length": 5,
        "stage": "decode",
        "code": "invalid_encoding",
        "retriable": False,
        "attempt": 1,
        "run_id": "run-1",
        "destination": f"{tmp_path}/errors/",
    }
    rows = [row | {"position": position} for position in (3, 8)]
    return Claim("run-1-0001", pl.DataFrame(rows, schema=LETTERS))


def test_a_claim_is_one_object_under_its_name(claim: Claim, tmp_path: Path) -> None:
    """At the letters' destination, with a line for each."""
    objects = LocalObjects()
    place = LetterObjects(objects).publish(claim)
    (written,) = objects.list(f"{tmp_path}/errors/")
    assert place == written.uri == f"file://{tmp_path}/errors/run-1-0001.jsonl"
    assert_frame_equal(letters_from_jsonl(b"".join(objects.read(written))), claim.letters)


def test_a_claim_that_is_published_again_is_the_same_object(claim: Claim, tmp_path: Path) -> None:
    """As after a crash before it was stamped."""
    objects = LocalObjects()
    publisher = LetterObjects(objects)
    place = publisher.publish(claim)
    before = list(objects.list(f"{tmp_path}/"))
    assert publisher.publish(claim) == place
    assert list(objects.list(f"{tmp_path}/")) == before


class Away:
    """Objects of a store that is away."""

    def list(self, uri: str) -> Iterator[Object]:
        """Nothing to be had."""
        raise Unavailable(uri)

    def read(self, item: Object, start: int = 0) -> Iterator[bytes]:
        """Nothing to be had."""
        raise Unavailable(f"{item.uri} from {start}")

    def write(self, uri: str, body: bytes, *, is_new: bool = False) -> Object:
        """Nothing to be had."""
        raise Unavailable(f"{uri} with {len(body)} bytes, new: {is_new}")

    def move(self, item: Object, to: str) -> Object:
        """Nothing to be had."""
        raise Unavailable(f"{item.uri} to {to}")


def test_an_outage_is_told(claim: Claim) -> None:
    """The relay tries again later."""
    with pytest.raises(Unavailable):
        LetterObjects(Away()).publish(claim)
