"""Every record of a call is answered, in order, whatever the others are."""

import json
from typing import Any

import httpx
import polars as pl
import pytest

from assay.domain.taxonomy import DEFAULT
from assay.testing.classifier import AWKWARD, transactions
from assay.wire import arrow

ARROW = {"content-type": arrow.CONTENT_TYPE}
JSON = {"content-type": "application/json"}


def record(**changes: object) -> dict[str, object]:
    """A good record, with changes; a change to `...` leaves the key out."""
    good = {
        "transaction_id": "t-1",
        "description": "CARD PURCHASE CORNER BAKERY",
        "amount": "12.50",
        "currency": "EUR",
        "timestamp": "2024-03-01T09:30:00Z",
        "merchant": "Corner Bakery",
        "operation_type": "payment",
        "side": "debit",
        "mcc": None,
    } | changes
    return {key: value for key, value in good.items() if value is not ...}


def answers(api: httpx.Client, records: list[Any]) -> list[dict[str, Any]]:
    """What the API answers to these records."""
    response = api.post("/predict", content=json.dumps(records), headers=JSON)
    assert response.status_code == 200, response.text
    return response.json()


def problem(response: httpx.Response, status: int) -> str:
    """The detail of a problem, which must be one as RFC 9457 has it."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert set(body) == {"type", "title", "status", "detail"}
    return str(body["detail"])


def test_a_transaction_is_classified(api: httpx.Client) -> None:
    """A good record gets a category of the taxonomy, a probability and the model's name."""
    (answer,) = answers(api, [record()])
    model = api.get("/model").json()
    assert answer["transaction_id"] == "t-1"
    assert answer["category"] in DEFAULT.categories
    assert 0 <= answer["confidence_score"] <= 1
    assert answer["needs_review"] in {True, False}
    assert (answer["model_name"], answer["model_version"]) == (model["name"], model["version"])
    assert tuple(model["taxonomy"]["categories"]) == DEFAULT.categories
    assert set(answer) == {
        "transaction_id",
        "category",
        "confidence_score",
        "needs_review",
        "model_version",
        "model_name",
        "feature_hash",
    }


def test_the_missions_own_format_works(api: httpx.Client) -> None:
    """`id`, a number as amount, a naive time, no currency and no code."""
    mission = {
        "id": "m-1",
        "description": "MONTHLY RENT FLAT 7",
        "amount": -850.5,
        "timestamp": "2024-03-01 00:00:00",
        "merchant": "",
        "operation_type": "transfer",
        "side": "debit",
    }
    (answer,) = answers(api, [mission])
    assert answer["transaction_id"] == "m-1"
    assert "category" in answer


@pytest.mark.parametrize("copies", [1, 20], ids=["one by one", "in columns"])
def test_bad_records_are_answered_in_their_place(api: httpx.Client, copies: int) -> None:
    """Each names the first rule that it breaks; the good ones around them are classified."""
    cases: list[tuple[Any, str | None]] = [
        (record(), None),
        (record(amount=True), "invalid_amount"),
        (record(amount=12.505), "amount_precision"),
        (record(amount=1e300), "amount_range"),
        (record(amount={"value": 1}), "invalid_amount"),
        (record(amount=-1, side="credit"), "amount_sign"),
        (record(description=...), "missing_description"),
        (record(description=7), "invalid_description"),
        (record(description="\ud800"), "invalid_description"),
        (record(description="a\x00b"), "invalid_description"),
        (record(description="x" * 1025), "description_too_long"),
        (record(transaction_id=...), "missing_transaction_id"),
        (record(transaction_id=None, id="other"), "missing_transaction_id"),
        (record(transaction_id=5), "invalid_transaction_id"),
        (record(currency="EURO"), "invalid_currency"),
        (record(currency=0), "invalid_currency"),
        (record(timestamp="2024-02-30T00:00:00Z"), "invalid_timestamp"),
        (record(side="DEBIT"), "invalid_side"),
        (record(mcc="12"), "invalid_mcc"),
        ("a record", "invalid_record"),
        (None, "invalid_record"),
        ([], "invalid_record"),
        ({}, "missing_transaction_id"),
        (record(unknown="key", currency=""), None),
    ]
    found = answers(api, [each for each, _ in cases] * copies)
    codes = [each.get("error", {}).get("code") for each in found]
    assert codes == [code for _, code in cases] * copies
    for each in found:
        if "error" in each:
            assert set(each) == {"transaction_id", "error"}
            assert each["error"]["retriable"] is False
            assert each["error"]["message"]


def test_two_records_with_one_id_are_two_answers(api: httpx.Client) -> None:
    """The API keeps no books; order tells the answers apart."""
    found = answers(api, [record(), record(description="MONTHLY RENT FLAT 7"), record()])
    assert [each["transaction_id"] for each in found] == ["t-1"] * 3
    assert found[0] == found[2] != found[1]


def test_an_empty_list_is_answered_with_one(api: httpx.Client) -> None:
    """No records, no answers, in either format."""
    assert answers(api, []) == []
    empty = arrow.write_transactions(transactions([]))
    response = api.post("/predict", content=empty, headers=ARROW)
    assert arrow.read_verdicts(response.content).height == 0


def test_awkward_descriptions_are_classified(api: httpx.Client) -> None:
    """Any text that the rules admit gets an answer, and its id comes back as it was."""
    records = [record(transaction_id=f"é\u202e{n}", description=d) for n, d in enumerate(AWKWARD)]
    found = answers(api, records)
    assert [each["transaction_id"] for each in found] == [r["transaction_id"] for r in records]
    assert all("category" in each for each in found)


def test_arrow_is_answered_with_arrow(api: httpx.Client) -> None:
    """The same transactions get the same predictions in both formats."""
    asked = transactions(list(AWKWARD))
    response = api.post("/predict", content=arrow.write_transactions(asked), headers=ARROW)
    assert response.headers["content-type"] == arrow.CONTENT_TYPE
    verdicts = arrow.read_verdicts(response.content)
    assert verdicts["transaction_id"].equals(asked["transaction_id"])
    assert (verdicts["status"] == "ok").all()
    accept = {**ARROW, "accept": "application/json"}
    body = api.post("/predict", content=arrow.write_transactions(asked), headers=accept).json()
    assert [each["category"] for each in body] == verdicts["category"].to_list()
    assert [each["feature_hash"] for each in body] == verdicts["feature_hash"].to_list()


def test_arrow_is_held_against_the_same_rules(api: httpx.Client) -> None:
    """What the types admit and the rules do not is rejected, and its row alone."""
    asked = transactions(["A", "B", "C", "D", "E", "F"]).with_columns(
        description=pl.Series(["A", None, "", "D", "E", "F"]),
        amount=pl.Series(["1", "1", "1", "-1", "-1", "1"]).cast(pl.Decimal(18, 2)),
        timestamp=pl.Series([0, 0, 0, 0, 0, 10**18]).cast(pl.Datetime("us", "UTC")),
        side=pl.Series(["debit", "debit", "debit", "credit", "debit", "debit"]),
    )
    response = api.post("/predict", content=arrow.write_transactions(asked), headers=ARROW)
    verdicts = arrow.read_verdicts(response.content)
    assert verdicts["code"].to_list() == [
        None,
        "missing_description",
        "missing_description",
        "amount_sign",
        None,
        "invalid_timestamp",
    ]


def test_accept_is_obeyed(api: httpx.Client) -> None:
    """The answer comes in the format that is preferred, or not at all."""
    body = json.dumps([record()])

    def format_for(accept: str) -> str:
        response = api.post("/predict", content=body, headers={**JSON, "accept": accept})
        return response.headers["content-type"]

    assert format_for("*/*") == "application/json"
    assert format_for("application/*") == "application/json"
    assert format_for("text/html, application/json;q=0.9, */*;q=0.1") == "application/json"
    assert format_for(arrow.CONTENT_TYPE) == arrow.CONTENT_TYPE
    assert format_for(f"application/json;q=0.1, {arrow.CONTENT_TYPE}") == arrow.CONTENT_TYPE
    for accept in ("text/html", "application/json;q=0", "application/json;q=x"):
        response = api.post("/predict", content=body, headers={**JSON, "accept": accept})
        assert "application/json" in problem(response, 406)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b'"text"',
        b"[1",
        b"[NaN]",
        b"\xff",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'[{"amount": 1e999999999}]',
    ],
    ids=lambda body: repr(body[:10]),
)
def test_what_is_no_list_is_a_400(api: httpx.Client, body: bytes) -> None:
    """A body that is no JSON, or no list, is a problem of the call."""
    problem(api.post("/predict", content=body, headers=JSON), 400)


def test_broken_arrow_is_a_400(api: httpx.Client) -> None:
    """Truncated, other columns, or no Arrow at all."""
    body = arrow.write_transactions(transactions(list(AWKWARD)))
    for broken in (b"", body[:-8], body[: len(body) // 2], b"[]", body + b"\0"):
        problem(api.post("/predict", content=broken, headers=ARROW), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": ""},
    ],
)
def test_other_content_types_are_a_415(api: httpx.Client, headers: dict[str, str]) -> None:
    """Only what can be read is taken."""
    problem(api.post("/predict", content=b"[]", headers=headers), 415)
    assert (
        api.post(
            "/predict", content=b"[]", headers={"content-type": "Application/JSON; charset=UTF-8"}
        ).json()
        == []
    )


def test_too_much_is_a_413(api: httpx.Client) -> None:
    """Too many bytes, said or sent, and too many records."""
    assert "2000000 bytes" in problem(
        api.post("/predict", content=b" " * 2_000_001, headers=JSON), 413
    )
    parts = (b" " * 50_000 for _ in range(100))
    assert "2000000 bytes" in problem(api.post("/predict", content=parts, headers=JSON), 413)
    assert api.post("/predict", content=b"[]" + b" " * 1_999_998, headers=JSON).json() == []
    many = json.dumps([1] * 5_001)
    assert "5000 records" in problem(api.post("/predict", content=many, headers=JSON), 413)


def test_every_error_is_a_problem(api: httpx.Client) -> None:
    """Those of the framework as well."""
    problem(api.get("/nothing"), 404)
    problem(api.get("/predict"), 405)


def test_the_service_tells_how_it_is(api: httpx.Client) -> None:
    """Alive, ready, counting, and documented with examples."""
    assert api.get("/health/live").json() == {"status": "ok"}
    assert api.get("/health/ready").json() == {"status": "ok"}
    answers(api, [record(), {}])
    metrics = api.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert 'assay_api_calls_total{status="200"}' in metrics.text
    assert 'assay_api_records_total{verdict="reject"}' in metrics.text
    assert "CORNER" not in metrics.text
    assert "openapi.json" in api.get("/docs").text
