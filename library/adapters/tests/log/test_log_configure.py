"""The log: JSON off a terminal, readable on one, on standard error."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = """
import logging
import structlog
from assay_adapters.log.configure import configure

configure("debug")
log = structlog.stdlib.get_logger("assay.test")
log.debug("in detail")
logging.getLogger("botocore.auth").debug("x-amz-security-token: TOKEN")
configure("info")
log.debug("too quiet")
log.info("committed", ledger=3)
logging.getLogger("library").warning("old %s", "style", extra={"color_message": "x"})
logging.getLogger("httpx").info("HTTP Request: GET http://x")
secret = "CORNER BAKERY"
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
print("counts")
"""


def lines(path: Path) -> list[dict[str, Any]]:
    """What the program logs into a file."""
    with path.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=file, check=True
        )
    assert done.stdout == b"counts\n"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_one_json_object(tmp_path: Path) -> None:
    """Structured and standard events alike: event, level, logger, UTC time and their own keys."""
    detail, committed, library, failed = lines(tmp_path / "log")
    assert (detail["event"], detail["level"]) == ("in detail", "debug")
    assert committed["timestamp"].endswith("Z")
    assert (
        committed.items()
        >= {
            "event": "committed",
            "level": "info",
            "logger": "assay.test",
            "ledger": 3,
        }.items()
    )
    assert (library["event"], library["level"]) == ("old style", "warning")
    assert "color_message" not in library
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError"


def test_no_local_variable_is_logged(tmp_path: Path) -> None:
    """A traceback names places, not what variables held."""
    assert "BAKERY" not in json.dumps(lines(tmp_path / "log"))


def test_libraries_do_not_tell_what_they_send(tmp_path: Path) -> None:
    """Not even where everything is asked for: tokens stand in what they log for debugging."""
    assert "TOKEN" not in json.dumps(lines(tmp_path / "log"))


def test_people_on_a_terminal_read_text() -> None:
    """On a terminal an event is a line of text, with its keys, and no variable either."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # how Linux says that the other end is closed
                break
            shown += part
        os.close(ours)
    assert process.returncode == 0
    assert b"committed" in shown
    assert b"ledger" in shown
    assert b"ZeroDivisionError" in shown
    assert b"BAKERY" not in shown.replace(b'secret = "CORNER BAKERY"', b"")
    assert not shown.startswith(b"{")
