"""The demo, as people run it."""

import os
import subprocess
import sys

import pytest
from system import ROOT


def _shown(half: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "demo", half],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "ASSAY_POSTGRES__URL": "postgresql://nowhere.invalid"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    return done.stdout


@pytest.mark.chaos  # half a minute, on servers of its own
def test_one_stream_reaches_four_targets() -> None:
    """One of which is away and catches up; each holds all, and the books balance."""
    shown = _shown("--fan-out")
    assert "s later all are told" in shown
    assert "The books balance, over" in shown


@pytest.mark.chaos  # a minute, on servers of its own
def test_the_stream_is_shown_to_its_end() -> None:
    """Through the outage, the dead letters and the redrive, until the books balance; ends with 0.

    Whatever servers the environment names are left alone.
    """
    *shown, last = _shown("--stream").partition("6. The books, held against the topic.")
    assert "both go on by themselves" in shown[0]
    assert "None was rejected since the model was away" in shown[0]
    words = last.split()
    assert "The books balance, over" in " ".join(words)
    *_, to_come = zip(*(line.split() for line in last.splitlines()[4:7]), strict=True)
    assert to_come == ("0", "0", "0")


_INTERRUPTED = """
import os, signal, sys
from demo import steps

CHILD = (
    "import os, signal, sys, time;"
    "demo = os.getpgid(os.getppid());"
    "os.getpgrp() != demo or print('it gets what the demo gets', file=sys.stderr);"
    "os.killpg(demo, signal.SIGINT);"
    "time.sleep(30)"
)
steps._command = lambda *_: [sys.executable, "-c", CHILD]
try:
    steps.assay(dict(os.environ), "reconcile")
except KeyboardInterrupt:
    raise SystemExit(130)
"""


def test_ctrl_c_ends_it_quietly() -> None:
    """A terminal sends it to all of a group: the command that runs is ended, and sees none of it.

    In the middle of its imports it would write a traceback.
    """
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        process_group=0,
    )
    assert (done.returncode, done.stderr) == (130, "")
