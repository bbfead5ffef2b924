"""Predicts all stored transactions again, with the version of the model that is served."""

from typing import Any

from airflow.sdk import Param, dag, task
from assay_operator import COMMON, AssayOperator


@dag(
    **COMMON,
    schedule=None,
    params={
        "version": Param(
            None,
            type=["null", "string"],
            pattern=r"^[\w.+-]{1,128}$",
            description="Of the model, its whole name; none: the one that the API serves.",
        ),
        "rate": Param(
            None,
            type=["null", "number"],
            minimum=0.1,
            description="Transactions in a second, at most.",
        ),
        "dry_run": Param(default=False, type="boolean", description="Count; write nothing."),
    },
    doc_md=__doc__,
)
def rescore() -> None:
    """Predict all again, and prove the books."""

    @task
    def command(params: Any = None) -> list[str]:
        options = [
            each
            for name in ("version", "rate")
            if params[name] is not None
            for each in (f"--{name}", str(params[name]))
        ]
        return ["rescore", *options, *["--dry-run"] * params["dry_run"]]

    again = AssayOperator(task_id="rescore", service="cli", command=command())
    again >> AssayOperator(task_id="reconcile", service="cli", command=["reconcile", "--json"])


rescore()
