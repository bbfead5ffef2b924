"""Tries dead letters again: what now succeeds is closed, what fails again stays open."""

import os
from typing import Any

from airflow.sdk import Param, dag, task
from assay_operator import COMMON, AssayOperator


@dag(
    **COMMON,
    schedule=os.environ.get("ASSAY_REDRIVE_SCHEDULE"),
    params={
        "codes": Param(
            ["classifier_gave_up"],
            type="array",
            items={"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
            description="Why they were rejected; none: every open letter.",
        ),
        "contracts": Param(
            ["transactions.odcs.yaml"],
            type="array",
            items={"type": "string", "pattern": r"^[\w.-]+$"},
            description="How records from files are written.",
        ),
        "dry_run": Param(
            default=False, type="boolean", description="Read and validate; write nothing."
        ),
    },
    doc_md=__doc__,
)
def redrive_dead_letters() -> None:
    """Try them again, and prove the books."""

    @task
    def command(params: Any = None) -> list[str]:
        which = [each for code in params["codes"] for each in ("--code", code)] or ["--all"]
        how = [
            each for name in params["contracts"] for each in ("--contract", f"/contracts/{name}")
        ]
        dry = ["--dry-run"] * params["dry_run"]
        return ["dead-letters", "redrive", *which, *how, *dry, "--by", "airflow"]

    redrive = AssayOperator(task_id="redrive", service="cli", command=command())
    redrive >> AssayOperator(task_id="reconcile", service="cli", command=["reconcile", "--json"])


redrive_dead_letters()
