"""The DAGs, tested in Airflow's own environment, whose packages do not mix with these."""

import os
import subprocess

import uv
from system import ROOT


def test_the_dags() -> None:
    """They are read, hang together, and try again what may pass."""
    own = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTEST_ADDOPTS"}
    done = subprocess.run(
        [uv.find_uv_bin(), "run", "--locked", "pytest", "-q"],
        cwd=ROOT / "application/orchestration",
        env={name: each for name, each in os.environ.items() if name not in own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
