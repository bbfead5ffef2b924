"""Public corpora of hostile input."""

import json
import os
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.corpus


def hostile(*parts: str) -> Path:
    """A folder of the corpora."""
    return Path(os.environ["ASSAY_TEST_DATA"], "hostile", *parts)


def test_json_test_suite(api: httpx.Client) -> None:
    """What is no JSON is a 400; what is JSON is answered, or a problem where it is no list."""
    paths = sorted(hostile("JSONTestSuite", "test_parsing").glob("*.json"))
    assert len(paths) > 300
    for path in paths:
        body = path.read_bytes()
        response = api.post("/predict", content=body, headers={"content-type": "application/json"})
        if path.name.startswith("n_"):
            assert response.status_code == 400, path.name
        elif path.name.startswith("y_"):
            is_list = isinstance(json.loads(body), list)
            assert response.status_code == (200 if is_list else 400), path.name
        assert response.status_code in {200, 400}, path.name
        if response.status_code == 400:
            assert response.headers["content-type"] == "application/problem+json"


def test_naughty_strings_are_descriptions(api: httpx.Client) -> None:
    """Each is classified, or rejected by a rule of the description."""
    (path,) = hostile("blns").glob("*.json")
    strings: list[str] = json.loads(path.read_bytes())
    assert len(strings) > 400
    records = [
        {
            "id": f"blns-{number}",
            "description": text,
            "merchant": text[:256],
            "amount": 1,
            "timestamp": "2024-03-01T00:00:00",
            "operation_type": "payment",
            "side": "debit",
        }
        for number, text in enumerate(strings)
    ]
    answers = api.post("/predict", json=records).json()
    assert [each["transaction_id"] for each in answers] == [each["id"] for each in records]
    codes = {each["error"]["code"] for each in answers if "error" in each}
    assert codes <= {"missing_description", "description_too_long", "invalid_description"}
    assert sum("category" in each for each in answers) > 400
