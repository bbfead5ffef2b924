"""The demo, as people run it."""

import os
import subprocess
import sys

import pytest
from system import ROOT


@pytest.mark.chaos  # a minute, on servers of its own
def test_the_stream_is_shown_to_its_end() -> None:
    """Through the outage, the dead letters and the redrive, until the books balance; ends with 0.

    Whatever servers the environment names are left alone.
    """
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--stream"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "ASSAY_POSTGRES__URL": "postgresql://nowhere.invalid"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    *shown, last = done.stdout.partition("6. The books, held against the topic.")
    assert "both go on by themselves" in shown[0]
    assert "None was rejected since the model was away" in shown[0]
    words = last.split()
    assert "The books balance, over" in " ".join(words)
    *_, to_come = zip(*(line.split() for line in last.splitlines()[4:7]), strict=True)
    assert to_come == ("0", "0", "0")
