"""Limits, keys and failures, with models made for it."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import httpx
import polars as pl
import pytest
from structlog.testing import capture_logs

from assay.memory.meter import MemoryMeter
from assay_ml_api.metrics import CALLS, CALLS_OPEN, RECORDS
from assay_ml_api.requests import Slots

Serve = Callable[..., httpx.Client]

JSON = {"content-type": "application/json"}
SECRET = "CORNER BAKERY"
RECORD = {
    "id": "t-1",
    "description": SECRET,
    "amount": 1,
    "timestamp": "2024-03-01T00:00:00",
    "operation_type": "payment",
    "side": "debit",
}


def test_calls_beyond_the_limit_are_a_503(serve: Serve, meter: MemoryMeter) -> None:
    """So many calls are computed or wait; the next is told when to come again, at once."""
    entered, released = threading.Semaphore(0), threading.Event()

    def wait(_: pl.DataFrame) -> None:
        entered.release()
        assert released.wait(20)

    api = serve(wait, concurrency=2, threads=2)
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(api.post, "/predict", json=[RECORD]) for _ in range(2)]
        assert entered.acquire(timeout=10)
        assert entered.acquire(timeout=10)
        assert meter.value(CALLS_OPEN) == 2
        refused = api.post("/predict", json=[RECORD])
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert api.get("/health/live").status_code == 200
        released.set()
        assert [each.result().status_code for each in first] == [200, 200]
    assert api.post("/predict", json=[RECORD]).status_code == 200
    assert meter.value(CALLS, status="503") == 1
    assert meter.value(CALLS, status="200") == 3
    assert meter.value(RECORDS, verdict="ok") == 3
    assert meter.value(CALLS_OPEN) == 0


def test_a_slot_is_given_back_however_its_call_ends() -> None:
    """An error inside gives the slot back."""
    slots = Slots(1)

    def fail_inside() -> None:
        with slots.take():
            assert slots.taken == 1
            raise RuntimeError

    for _ in range(3):
        with pytest.raises(RuntimeError):
            fail_inside()
    assert slots.taken == 0


def test_only_those_with_a_key_may_ask(serve: Serve) -> None:
    """One of several keys is needed for the model; health and metrics are for everybody."""
    api = serve(api_keys="first-key, second-key")
    for given in ({}, {"authorization": "Bearer third"}, {"authorization": "Basic first-key"}):
        for refused in (
            api.post("/predict", json=[RECORD], headers=given),
            api.get("/model", headers=given),
        ):
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.headers["content-type"] == "application/problem+json"
    for key in ("first-key", "second-key"):
        given = {"authorization": f"Bearer {key}"}
        assert api.post("/predict", json=[RECORD], headers=given).status_code == 200
        assert api.get("/model", headers=given).status_code == 200
    assert api.get("/health/ready").status_code == 200
    assert api.get("/metrics").status_code == 200


def fail(_: pl.DataFrame) -> NoReturn:
    """Fails and quotes what it was asked."""
    raise RuntimeError(SECRET)


def panic(_: pl.DataFrame) -> NoReturn:
    """Fails as polars does where it is broken."""
    raise pl.exceptions.PanicException(SECRET)


@pytest.mark.parametrize("failure", [fail, panic])
def test_a_model_that_fails_is_a_500_and_not_ready(
    serve: Serve, failure: Callable[[pl.DataFrame], None]
) -> None:
    """Neither the answer nor the log quotes the record; the log says what failed, and where."""
    api = serve(failure)
    with capture_logs() as log:
        answer = api.post("/predict", json=[RECORD])
        ready = api.get("/health/ready")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert ready.status_code == 503
    assert SECRET not in answer.text + ready.text + str(log)
    assert [each["log_level"] for each in log] == ["error", "error"]
    assert all("test_ml_api_limits.py:" in each["at"] for each in log)
    assert api.get("/health/live").status_code == 200


def test_a_body_that_does_not_come_is_a_408(serve: Serve) -> None:
    """A client that stops in the middle of its body holds a slot for so long only."""
    api = serve(body_timeout=0.2)
    with socket.create_connection((api.base_url.host, api.base_url.port or 0), 10) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: 100\r\n\r\n["
        )
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_leaves_harms_nobody(serve: Serve, meter: MemoryMeter) -> None:
    """A connection that is closed in the middle of a body is counted, and the slot is free."""
    api = serve(concurrency=1)
    with socket.create_connection((api.base_url.host, api.base_url.port or 0), 10) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: 100\r\n\r\n["
        )
        wait_until(lambda: meter.value(CALLS_OPEN) == 1)
    wait_until(lambda: meter.value(CALLS, status="499") == 1)
    assert api.post("/predict", json=[RECORD]).status_code == 200


def wait_until(holds: Callable[[], bool]) -> None:
    """Returns once the condition holds."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_the_default_currency_is_a_setting(serve: Serve) -> None:
    """Where it is left out, null or empty, it is the setting's; where it is wrong, it is wrong."""
    seen: list[str] = []

    def see(frame: pl.DataFrame) -> None:
        seen.extend(frame["currency"])

    api = serve(see, currency="GBP")
    records = [RECORD, RECORD | {"currency": None}, RECORD | {"currency": ""}]
    api.post("/predict", json=[*records, RECORD | {"currency": "USD"}]).raise_for_status()
    assert seen == ["GBP", "GBP", "GBP", "USD"]
