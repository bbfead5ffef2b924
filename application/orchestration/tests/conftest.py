"""Airflow with a database of its own, on the DAGs of this project."""

import os
import tempfile
from pathlib import Path

_HOME = tempfile.mkdtemp(prefix="airflow-")
os.environ |= {  # before Airflow is imported, which reads it then
    "AIRFLOW_HOME": _HOME,
    "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parents[1] / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
}
