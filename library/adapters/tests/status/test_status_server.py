"""Health and metrics over HTTP."""

import json
import socket
import struct
import threading
import urllib.error
import urllib.request

import pytest

from assay.domain.errors import Fatal
from assay_adapters.status.server import Condition, served


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def says(*, well: bool) -> Condition:
    return lambda: (well, {"lag": 3})


def test_health_is_a_status_code_and_metrics_are_text() -> None:
    """A supervisor reads the code, a person the reason; afterwards nobody answers."""
    with served(
        "127.0.0.1",
        0,
        alive=says(well=True),
        ready=says(well=False),
        metrics=lambda: b"assay_window_chunks 2.0\n",
        metrics_type="text/plain; version=0.0.4",
    ) as url:
        assert get(f"{url}/health/live") == (200, '{"lag": 3}')
        assert get(f"{url}/health/ready?verbose=1") == (503, '{"lag": 3}')
        assert get(f"{url}/metrics") == (200, "assay_window_chunks 2.0\n")
        status, body = get(f"{url}/elsewhere")
        assert status == 404
        assert "/metrics" in json.loads(body)["paths"]
    with pytest.raises(urllib.error.URLError):
        get(f"{url}/metrics")


def test_a_port_in_use_is_fatal() -> None:
    """An address that is taken is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(Fatal, match=f"127.0.0.1:{port}"),
            served(
                "127.0.0.1",
                port,
                alive=says(well=True),
                ready=says(well=True),
                metrics=bytes,
                metrics_type="text/plain",
            ),
        ):
            pass


def test_who_gives_up_leaves_no_trace(capfd: pytest.CaptureFixture[str]) -> None:
    """A client that is gone before its answer comes is no fault of the service."""
    may_answer, answered = threading.Event(), threading.Event()

    def slowly() -> bytes:
        assert may_answer.wait(10)
        answered.set()
        return b"x" * (16 << 20)  # more than a socket holds

    with served(
        "127.0.0.1",
        0,
        alive=says(well=True),
        ready=says(well=True),
        metrics=slowly,
        metrics_type="text/plain",
    ) as url:
        _, _, port = url.rpartition(":")
        with socket.create_connection(("127.0.0.1", int(port))) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            at_once = struct.pack("ii", 1, 0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        may_answer.set()
        assert answered.wait(10)
        for each in threading.enumerate():
            if "process_request_thread" in each.name:
                each.join(10)
        assert get(f"{url}/health/live")[0] == 200
    assert capfd.readouterr().err == ""
