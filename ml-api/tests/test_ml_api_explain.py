"""Explanations over HTTP."""

from typing import Any

import httpx
import pytest

from assay.testing.classifier import AWKWARD, transactions
from assay.wire import arrow

RECORD = {
    "id": "t-1",
    "description": "CITY TAXI 4711",
    "amount": 1,
    "timestamp": "2024-03-01T00:00:00",
    "operation_type": "payment",
    "side": "debit",
}


def explained(api: httpx.Client, *records: object, **more: Any) -> httpx.Response:
    """The answer to a call that asks for explanations."""
    return api.post("/predict?explain=true", json=list(records), **more)


def test_each_prediction_has_its_explanation(api: httpx.Client) -> None:
    """Beside what is answered without; a reject has none."""
    asked = [RECORD, RECORD | {"description": ""}, RECORD | {"description": "OAK FURNITURE"}]
    taxi, bad, oak = explained(api, *asked).raise_for_status().json()
    plain = api.post("/predict", json=asked).json()
    assert {key: value for key, value in taxi.items() if key != "explanation"} == plain[0]
    assert bad == plain[1]
    assert taxi["category"] == "Transportation"
    best = taxi["explanation"][0]
    assert (best["part"], best["kind"], best["weight"] > 0) == ("taxi", "word", True)
    assert {"oak", "furniture"} <= {part["part"] for part in oak["explanation"]}
    assert all(set(part) == {"part", "kind", "weight"} for part in taxi["explanation"])


def test_awkward_texts_are_explained(api: httpx.Client) -> None:
    """Whatever the description holds; a question in Arrow is answered in JSON, too."""
    answer = api.post(
        "/predict?explain=true",
        content=arrow.write_transactions(transactions(list(AWKWARD))),
        headers={"content-type": arrow.CONTENT_TYPE},
    )
    found = answer.raise_for_status().json()
    assert all(each["explanation"] for each in found if "error" not in each)


@pytest.mark.parametrize(
    ("records", "headers", "status"),
    [
        ([RECORD] * 1000, {}, 200),
        ([RECORD] * 1001, {}, 413),
        ([RECORD], {"accept": arrow.CONTENT_TYPE}, 406),
    ],
)
def test_the_limits_of_explanations(
    api: httpx.Client, records: list[object], headers: dict[str, str], status: int
) -> None:
    """A thousand records, and JSON only."""
    assert explained(api, *records, headers=headers).status_code == status


def test_a_parameter_that_cannot_be_read_is_a_400(api: httpx.Client) -> None:
    """In the form of all problems."""
    answer = api.post("/predict?explain=perhaps", json=[RECORD])
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
