"""Who may ask, how often, and how a call must begin."""

import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from assay.domain.errors import Fatal, Unavailable
from assay.memory.meter import MemoryMeter
from assay.testing.classifier import transactions
from assay_adapters.http.classifier import HttpClassifier
from assay_adapters.http.config import ApiConfig
from assay_ml_api.config import ServerConfig
from assay_ml_api.heads import BYTES, BoundedHeads
from assay_ml_api.metrics import CALLS
from assay_ml_api.problems import Problem
from assay_ml_api.requests import Rate

Serve = Callable[..., httpx.Client]

OLD, NEW = "the-old-key-of-many-characters", "the-new-key-of-many-characters"


def client(url: str, key: str | None) -> HttpClassifier:
    """As the services of Assay ask."""
    api_key = None if key is None else SecretStr(key)
    return HttpClassifier(ApiConfig.model_validate({"url": url, "api_key": api_key}))


class Caller(threading.Thread):
    """Asks all the time, and waits where the API is away, as the pump does."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__()
        self.url, self.key, self.over = url, key, threading.Event()
        self.refused = list[Fatal]()
        self.answered = Counter[str]()

    def run(self) -> None:
        while not self.over.is_set():
            asking, key = client(self.url, self.key), self.key
            try:
                asking.classify(transactions(["CORNER BISTRO"]))
                self.answered[key] += 1
            except Unavailable:
                self.over.wait(0.01)
            except Fatal as error:
                self.refused.append(error)
            finally:
                asking.close()

    def is_answered(self) -> None:
        """Returns once some calls more have been, with the key of now."""
        begin = self.answered[self.key]
        while self.answered[self.key] < begin + 3:
            assert not self.over.wait(0.02)
            assert not self.refused


def test_keys_are_rotated_without_a_call_that_fails(start: Any, tmp_path: Path) -> None:
    """Both keys, clients change, the new one alone: a restart is an outage, never a refusal."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    keys, url = tmp_path / "keys", f"http://127.0.0.1:{port}"
    asks = Caller(url, OLD)
    asks.start()
    try:
        keys.write_text(f"{OLD}\n{NEW}\n")
        service = start(api_keys_file=str(keys), port=port)
        asks.is_answered()
        asks.key = NEW
        asks.is_answered()
        service.stop()
        keys.write_text(NEW)
        service = start(api_keys_file=str(keys), port=port)
        asks.is_answered()
    finally:
        asks.over.set()
        asks.join(60)
    assert not asks.refused
    asking = client(url, OLD)
    with pytest.raises(Fatal, match="set ASSAY_API__API_KEY") as caught:
        asking.model()
    asking.close()
    told = str(caught.value) + "".join(service.lines)
    assert OLD not in told
    assert NEW not in told


@pytest.mark.parametrize("keys", ["", " , ", "\n", "schlüssel", "one,\x01"])
def test_keys_that_let_everybody_or_nobody_in_are_no_setting(keys: str) -> None:
    """An empty file of keys does not open the API, and no key is one that no header can hold."""
    with pytest.raises(ValidationError) as caught:
        ServerConfig.model_validate({"api_keys": keys})
    assert "schl" not in str(caught.value)


def test_keys_stand_with_commas_or_on_lines() -> None:
    """As settings have lists, or files."""
    config = ServerConfig.model_validate({"api_keys": "one, two\nthree\n"})
    assert [each.get_secret_value() for each in config.api_keys] == ["one", "two", "three"]
    assert "three" not in repr(config)


def test_each_key_has_a_rate_of_its_own(serve: Serve, meter: MemoryMeter) -> None:
    """Who asks too often is told when to come again, and hinders no other key; it is counted."""
    api = serve(api_keys=f"{OLD},{NEW}", calls_per_second=0.5)

    def ask(key: str) -> httpx.Response:
        return api.get("/model", headers={"authorization": f"Bearer {key}"})

    assert [ask(OLD).status_code for _ in range(2)] == [200, 429]
    refused = ask(OLD)
    assert refused.headers["retry-after"] in {"1", "2"}
    assert refused.headers["content-type"] == "application/problem+json"
    assert ask(NEW).status_code == 200
    assert ask("nobody's").status_code == 401
    assert api.get("/health/live").status_code == 200
    assert meter.value(CALLS, status="429") == 2
    assert meter.value(CALLS, status="401") == 1
    asking = client(str(api.base_url), OLD)
    with pytest.raises(Unavailable) as caught:
        asking.model()
    asking.close()
    assert caught.value.retry_after in {1.0, 2.0}


def taken(rate: Rate, caller: int, times: int) -> Sequence[bool]:
    """Which of so many calls are let in."""

    def is_in() -> bool:
        try:
            rate.take(caller)
        except Problem:
            return False
        return True

    return [is_in() for _ in range(times)]


def test_calls_come_back_with_time() -> None:
    """The calls of a second at once, then one each time that a call's share of it has passed."""
    now = [0.0]
    rate = Rate(4, lambda: now[0])
    assert taken(rate, 0, 6) == [True] * 4 + [False] * 2
    now[0] = 0.25
    assert taken(rate, 0, 2) == [True, False]
    now[0] = 100.0
    assert taken(rate, 0, 5) == [True] * 4 + [False]
    assert taken(Rate(None), 0, 1000) == [True] * 1000


def begun(port: int | None, *parts: bytes) -> bytes:
    """What is answered to the beginning of a call, until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port or 0), 20) as connection:
        said = b""
        try:
            for each in parts:
                connection.sendall(each)
            while block := connection.recv(1 << 16):
                said += block
        except (BrokenPipeError, ConnectionResetError):
            pass
        return said


def test_a_head_has_bounds(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """One header without an end, or many, are refused; a head that does not come is given up."""
    api = serve(http=BoundedHeads)
    port, line = api.base_url.port, b"GET /health/live HTTP/1.1\r\nhost: x\r\n"
    many = b"".join(b"x-%d: %s\r\n" % (number, b"v" * 1000) for number in range(2000))
    for head in (b"x-long: " + b"v" * (40 * BYTES), many):
        assert begun(port, line + head).startswith((b"HTTP/1.1 400 ", b""))
    assert b"at most" in begun(port, line, b"x-long: " + b"v" * (BYTES + 1))
    assert api.get("/health/live", headers={"x-long": "v" * (BYTES // 2)}).status_code == 200
    monkeypatch.setattr(BoundedHeads, "slowest", 0.2)
    assert begun(port, line) == b""
    assert begun(port) == b""
    assert api.get("/health/live").status_code == 200


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Exit 78 with the settings' names, and no traceback."""
    path = tmp_path / "wrong.pem"
    path.write_text("none")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "assay_ml_api"],
        cwd=tmp_path,
        env={"ASSAY_SERVER__PORT": "0", "ASSAY_SERVER__CERTIFICATE": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert "check ASSAY_SERVER__CERTIFICATE and" in done.stderr
    assert "Traceback" not in done.stderr
