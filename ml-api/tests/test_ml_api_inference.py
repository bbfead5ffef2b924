"""The Open Inference Protocol V2 as its best-known client speaks it, and by hand."""

import json
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from assay.memory.meter import MemoryMeter
from assay_ml_api.metrics import CALLS, RECORDS

Serve = Callable[..., httpx.Client]

triton: Any = import_module("tritonclient.http")  # carries no types

NAME = "assay-linear"
TEXTS = ["CORNER BAKERY", "", "CITY TAXI 7", "x" * 1025, "BÄCKEREI \U0001f950"]
ERRORS = [
    "",
    "missing_description: description is missing",
    "",
    "description_too_long: description has more than 1024 characters",
    "",
]


@pytest.fixture(scope="module")
def client(api: httpx.Client) -> Generator[Any]:
    """A client of the protocol, of the real service."""
    with triton.InferenceServerClient(f"{api.base_url.host}:{api.base_url.port}") as found:
        yield found


def tensor(name: str, values: list[Any], *, binary: bool = True, column: bool = False) -> Any:
    """An input as the client wants it."""
    numbers = all(isinstance(each, float) for each in values)
    array = np.array(values, np.float64 if numbers else np.object_)
    array = array.reshape(-1, 1) if column else array
    found = triton.InferInput(name, list(array.shape), "FP64" if numbers else "BYTES")
    return found.set_data_from_numpy(array, binary_data=binary)


def predicted(api: httpx.Client, texts: list[str]) -> list[dict[str, Any]]:
    """What `/predict` says of these."""
    record = {
        "amount": 0,
        "timestamp": "2024-03-01T00:00:00Z",
        "operation_type": "payment",
        "side": "debit",
    }
    records = [{"id": f"t-{n}", "description": text, **record} for n, text in enumerate(texts)]
    return api.post("/predict", json=records).raise_for_status().json()


def posted(api: httpx.Client, asked: object, path: str = f"/v2/models/{NAME}/infer") -> Any:
    """The answer to an inference request in JSON."""
    return api.post(path, json=asked).json()


def described(*texts: object, **more: Any) -> dict[str, Any]:
    """An input of descriptions in JSON."""
    head = {"name": "description", "datatype": "BYTES", "shape": [len(texts)]}
    return {**head, "data": list(texts), **more}


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("bytes_in", [False, True])
@pytest.mark.parametrize("bytes_out", [False, True])
def test_a_client_gets_what_predict_says(
    client: Any, api: httpx.Client, *, bytes_in: bool, bytes_out: bool, column: bool
) -> None:
    """In JSON and in bytes, both ways; a bad record has an error in its place."""
    names = ("category", "confidence", "needs_review", "error")
    result = client.infer(
        NAME,
        [
            tensor(name, values, binary=bytes_in, column=column)
            for name, values in (
                ("description", TEXTS),
                ("operation_type", ["payment"] * len(TEXTS)),
                ("side", ["debit"] * len(TEXTS)),
            )
        ],
        request_id="call 7",
        outputs=[triton.InferRequestedOutput(name, binary_data=bytes_out) for name in names],
    )
    category, confidence, needs_review, error = (result.as_numpy(name) for name in names)
    said = predicted(api, TEXTS)
    good = [0, 2, 4]
    assert [text(each) for each in error] == ERRORS
    assert [text(category[n]) for n in good] == [said[n]["category"] for n in good]
    assert [confidence[n] for n in good] == [said[n]["confidence_score"] for n in good]
    assert [needs_review[n] for n in good] == [said[n]["needs_review"] for n in good]
    assert [(text(category[n]), confidence[n], needs_review[n]) for n in (1, 3)] == [
        ("", 0, True)
    ] * 2
    assert confidence.dtype == np.float64
    assert needs_review.dtype == np.bool_
    assert result.get_response()["id"] == "call 7"
    assert result.get_response()["model_version"] == said[0]["model_version"]


def text(value: bytes | str) -> str:
    """The client gives bytes or text, as they came."""
    return value.decode() if isinstance(value, bytes) else value


def test_a_client_that_names_no_output_gets_all(client: Any) -> None:
    """It asks for bytes then, by a parameter of the request."""
    result = client.infer(NAME, [tensor("description", ["CORNER BAKERY"])])
    assert result.as_numpy("category").tolist() == [b"Food"]
    assert result.as_numpy("error").tolist() == [b""]


def test_an_empty_tensor_has_an_empty_answer(client: Any) -> None:
    """No records, no error."""
    result = client.infer(NAME, [empty()])
    assert result.as_numpy("category").shape == (0,)


def empty() -> Any:
    """An input of no elements."""
    found = triton.InferInput("description", [0], "BYTES")
    return found.set_data_from_numpy(np.empty(0, np.object_))


def test_health_and_metadata(client: Any, api: httpx.Client) -> None:
    """A client finds out what there is before it asks."""
    model = api.get("/model").json()
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.is_model_ready(NAME, model["version"])
    assert not client.is_model_ready(NAME, "0")
    assert not client.is_model_ready("another")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    for metadata in (
        client.get_model_metadata(NAME),
        client.get_model_metadata(NAME, model["version"]),
    ):
        assert metadata["name"] == NAME
        assert metadata["versions"] == [model["version"]]
        assert metadata["inputs"][0] == {
            "name": "description",
            "datatype": "BYTES",
            "shape": [-1],
            "parameters": {"optional": False},
        }
        assert [each["name"] for each in metadata["outputs"]] == [
            "category",
            "confidence",
            "needs_review",
            "error",
        ]


def test_a_version_may_be_named(client: Any, api: httpx.Client) -> None:
    """The one that is served answers; of another there is none."""
    version = api.get("/model").json()["version"]
    asked = [tensor("description", ["CITY TAXI"])]
    assert client.infer(NAME, asked, version).as_numpy("category").tolist() == [b"Transportation"]
    for name, other in ((NAME, "0"), ("another", "")):
        with pytest.raises(triton.InferenceServerException, match="is served") as refused:
            client.infer(name, asked, other)
        assert refused.value.status() == "404"


def test_only_what_was_sent_reaches_the_model(serve: Serve) -> None:
    """What the rules want and nobody sent is invented for the rules alone."""
    frames: list[pl.DataFrame] = []
    api = serve(frames.append, currency="GBP")
    path = "/v2/models/invented/infer"
    posted(api, {"inputs": [described("A", "B")]}, path)
    more = {
        "merchant": ["Shop", ""],
        "amount": [12.5, -3],
        "currency": ["USD", ""],
        "side": ["debit", "debit"],
        "operation_type": ["refund", "transfer"],
        "mcc": ["5462", ""],
    }
    inputs = [
        {
            "name": name,
            "datatype": "FP64" if name == "amount" else "BYTES",
            "shape": [2],
            "data": data,
        }
        for name, data in more.items()
    ]
    posted(api, {"inputs": [*inputs, described("A", "B")]}, path)
    assert frames[0].to_dict(as_series=False) == {
        "row": [0, 1],
        "currency": ["GBP", "GBP"],
        "description": ["A", "B"],
    }
    assert set(frames[1].columns) == {"row", "description", *more}
    assert frames[1].select("merchant", pl.col("amount").cast(str), "currency", "mcc").rows() == [
        ("Shop", "12.50", "USD", "5462"),
        (None, "3.00", "GBP", None),
    ]


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        (12.1, ""),
        (0.1 + 0.2, "amount_precision: amount has more than two decimals"),
        (float("nan"), "invalid_amount: amount is not a number"),
        (float("inf"), "invalid_amount: amount is not a number"),
        (1e300, "amount_range: amount has more than 16 digits before its decimals"),
    ],
)
def test_amounts_in_bytes_are_what_they_look_like(client: Any, amount: float, error: str) -> None:
    """A number in binary stands for the shortest text that gives it; the rules judge that."""
    result = client.infer(NAME, [tensor("description", ["A"]), tensor("amount", [amount])])
    assert result.as_numpy("error").tolist() == [error.encode()]


def test_bytes_that_are_no_text_fail_their_record_only(client: Any) -> None:
    """As a lone surrogate does in JSON."""
    result = client.infer(NAME, [tensor("description", [b"\xff\xfe", b"CORNER BAKERY"])])
    assert result.as_numpy("error").tolist() == [
        b"invalid_description: description holds a lone surrogate",
        b"",
    ]


GOOD = {"inputs": [described("A")]}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ([], "must be an inference request"),
        ({}, "inputs must be a list"),
        ({"inputs": []}, "description is missing"),
        ({"inputs": ["description"]}, "inputs must be a list of objects"),
        ({**GOOD, "id": 7}, "id must be a string"),
        ({**GOOD, "parameters": []}, "parameters must be an object"),
        ({**GOOD, "parameters": {"binary_data_output": 1}}, "must be true or false"),
        ({**GOOD, "outputs": [{"name": "logits"}]}, "an output must be one of"),
        ({**GOOD, "outputs": [{"name": "error"}, {"name": "error"}]}, "wanted twice"),
        ({**GOOD, "outputs": [{"name": "error", "parameters": {"classification": 3}}]}, "not supp"),
        ({"inputs": [described("A", name="text")]}, "an input must be one of"),
        ({"inputs": [described("A"), described("A")]}, "there twice"),
        ({"inputs": [described("A"), described("A", "B", name="merchant")]}, "one shape"),
        ({"inputs": [described("A", name="merchant")]}, "description is missing"),
        ({"inputs": [described("A", datatype="FP32")]}, "datatype of description"),
        ({"inputs": [described("A", shape=[])]}, "shape of description"),
        ({"inputs": [described("A", shape=[1, 2])]}, "shape of description"),
        ({"inputs": [described("A", shape=[1, 1, 1])]}, "shape of description"),
        ({"inputs": [described("A", shape=[-1])]}, "shape of description"),
        ({"inputs": [described("A", shape=[True])]}, "shape of description"),
        ({"inputs": [described("A", shape=[1.5])]}, "shape of description"),
        ({"inputs": [described("A", shape=[2])]}, "not of its shape"),
        ({"inputs": [described(["A", "B"], shape=[1, 1])]}, "not of its shape"),
        ({"inputs": [described(["A"], "B")]}, "not of its shape"),
        ({"inputs": [described(7)]}, "not BYTES"),
        ({"inputs": [described(None)]}, "not BYTES"),
        ({"inputs": [described("A"), described("1", name="amount", datatype="FP64")]}, "not FP64"),
        ({"inputs": [described("A", data=None)]}, "no data"),
        ({"inputs": [described("A", parameters={"binary_data_size": 5})]}, "binary_data_size"),
        ({"inputs": [described("A", parameters={"shared_memory_region": "r"})]}, "not supported"),
    ],
)
def test_what_is_not_as_the_protocol_says_is_a_400(
    api: httpx.Client, asked: object, why: str
) -> None:
    """In the protocol's own form, with the reason."""
    answer = api.post(f"/v2/models/{NAME}/infer", json=asked)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    assert why in answer.json()["error"]


def test_unknown_parameters_mean_nothing(api: httpx.Client) -> None:
    """Clients send their own."""
    asked = {"inputs": [described("CORNER BAKERY", parameters={"content_type": "str"})]}
    found = posted(api, {**asked, "parameters": {"priority": 1}, "outputs": [{"name": "category"}]})
    assert found["outputs"] == [
        {"name": "category", "datatype": "BYTES", "shape": [1], "data": ["Food"]}
    ]
    assert "id" not in found


def test_the_limits_of_predict_hold(api: httpx.Client, serve: Serve, meter: MemoryMeter) -> None:
    """Records, bytes, compression, keys: refused in the protocol's form, and counted."""
    path = f"/v2/models/{NAME}/infer"
    for shape in ([5001], [1 << 62, 1]):
        answer = api.post(path, json={"inputs": [described("A", shape=shape)]})
        assert (answer.status_code, set(answer.json())) == (413, {"error"})
    assert api.post(path, content=b" " * 2_000_001).status_code == 413
    compressed = api.post(path, content=b"{}", headers={"content-encoding": "gzip"})
    assert (compressed.status_code, set(compressed.json())) == (415, {"error"})

    guarded, path = serve(api_keys="secret"), "/v2/models/invented/infer"
    refused = guarded.post(path, json=GOOD)
    assert (refused.status_code, set(refused.json())) == (401, {"error"})
    assert guarded.get("/v2/models/invented").status_code == 401
    assert guarded.get("/v2/health/ready").status_code == 200
    key = {"authorization": "Bearer secret"}
    bad = {"inputs": [described("A", "")]}
    assert guarded.post(path, json=bad, headers=key).status_code == 200
    assert meter.value(CALLS, status="200") == 1
    assert meter.value(RECORDS, verdict="ok") == 1
    assert meter.value(RECORDS, verdict="reject") == 1


def test_both_doors_share_the_slots(serve: Serve) -> None:
    """A call of the one takes a place from the other."""
    entered, released = threading.Semaphore(0), threading.Event()

    def wait(_: pl.DataFrame) -> None:
        entered.release()
        assert released.wait(20)

    api = serve(wait, concurrency=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.post, "/v2/models/invented/infer", json=GOOD)
        assert entered.acquire(timeout=10)
        assert api.post("/predict", json=[]).status_code == 503
        second = api.post("/v2/models/invented/infer", json=GOOD)
        assert (second.status_code, set(second.json())) == (503, {"error"})
        released.set()
        assert first.result().status_code == 200


def test_whatever_is_not_there_is_an_error_of_the_protocol(api: httpx.Client) -> None:
    """A client asks for what other servers have, and reads why it gets none."""
    for answer in (api.get("/v2/repository/index"), api.get(f"/v2/models/{NAME}/infer")):
        assert answer.status_code in {404, 405}
        assert set(answer.json()) == {"error"}


def test_the_json_ends_where_the_header_says(api: httpx.Client) -> None:
    """A header that is no length, or beyond the body, or cuts the JSON, is a 400."""
    body = json.dumps(GOOD).encode()
    for length, why in (
        ("x", "number of bytes"),
        ("-1", "number of bytes"),
        ("9" * 30, "number of bytes"),
        (str(len(body) + 1), "beyond the body"),
        (str(len(body) - 1), "not JSON"),
        ("0", "not JSON"),
    ):
        answer = api.post(
            f"/v2/models/{NAME}/infer",
            content=body,
            headers={"inference-header-content-length": length},
        )
        assert (answer.status_code, why in answer.json()["error"]) == (400, True)
