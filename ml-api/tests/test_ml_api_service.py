"""The service as a process: how it starts, fails to start, and ends."""

import socket
from collections.abc import Callable
from typing import Any

import httpx

Start = Callable[..., Any]


def test_it_stops_when_it_is_told_to(start: Start) -> None:
    """It listens on a free port, answers, and ends with 0."""
    process = start(port="0")
    assert httpx.get(process.url + "/health/ready", timeout=30, trust_env=False).status_code == 200
    assert process.stop() == 0


def test_calls_that_have_begun_are_answered(start: Start) -> None:
    """Told to stop, it takes no new connection, and answers the call whose body is on its way."""
    process = start()
    url = httpx.URL(process.url)
    address = (url.host, url.port or 0)
    with socket.create_connection(address, 10) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: 2\r\nexpect: 100-continue\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        process.process.terminate()
        while True:
            try:
                socket.create_connection(address, 10).close()
            except ConnectionError:
                break
        client.sendall(b"[]")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert process.wait() == 0


def test_an_address_in_use_is_temporary(start: Start) -> None:
    """It says which, and what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start(port=port)
        assert process.wait() == 75
    last = process.lines[-1]
    assert f"127.0.0.1:{port} is in use" in last
    assert "ASSAY_SERVER__PORT" in last
    assert "Traceback" not in "".join(process.lines)


def test_an_address_that_is_not_ours_is_fatal(start: Start) -> None:
    """An address of another machine, or no address."""
    process = start(host="192.0.2.1")
    assert process.wait() == 78
    assert "ASSAY_SERVER__HOST" in process.lines[-1]


def test_wrong_settings_are_fatal(start: Start) -> None:
    """Each is named, before anything is loaded."""
    process = start(port="http", prot="1", currency="EURO")
    assert process.wait() == 78
    said = "".join(process.lines)
    assert "ASSAY_SERVER__PORT: " in said
    assert "ASSAY_SERVER__PROT is unknown; did you mean ASSAY_SERVER__PORT?" in said
    assert "ASSAY_SERVER__CURRENCY: " in said


def test_several_workers_serve_one_address(start: Start) -> None:
    """More processes, one port, one way to stop them."""
    process = start(workers="2")
    assert httpx.get(process.url + "/health/ready", timeout=30, trust_env=False).status_code == 200
    assert process.stop() == 0
