"""Classifies the files that have come: one container for each, several at once."""

import json
import os
from typing import Any, Final

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    TriggerRule,
    dag,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException
from assay_operator import COMMON, AssayOperator

DELIVERED: Final = Asset("assay_delivered", uri="x-assay://delivered")
"""Whoever puts files into the bucket may say so, and they are classified at once."""

CLASSIFIED: Final = Asset("assay_classified", uri="x-assay://classified")
"""There are new predictions, and the books balance; `extra` has the counts."""

AT_ONCE: Final = int(os.environ.get("ASSAY_AT_ONCE", "4"))
"""Containers of one run."""

MOST: Final = 1_000
"""Files of one run; Airflow maps no more than 1,024 by itself. The next run takes the others."""

_COUNTS: Final = ("files", "read", "classified", "rejected", "duplicate", "needs_review")
_URI: Final = "{{ params.prefix }}{% if params.date %}**/*{{ params.date }}*{% endif %}"
_CONTRACT: Final = "/contracts/{{ params.contract }}"


@dag(
    **COMMON,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(
            os.environ.get("ASSAY_SCHEDULE", "*/15 * * * *"), timezone="UTC"
        ),
        assets=[DELIVERED],
    ),
    params={
        "prefix": Param(
            os.environ.get("ASSAY_PREFIX", "s3://transactions/inbox/"),
            type="string",
            pattern="^s3://[^/]+/(.*/)?$",
            description="Where files are looked for.",
        ),
        "contract": Param(
            os.environ.get("ASSAY_CONTRACT", "transactions.odcs.yaml"),
            type="string",
            pattern=r"^[\w.-]+$",
            description="How they are written: a file of the folder of contracts.",
        ),
        "date": Param(
            None,
            type=["null", "string"],
            pattern=r"^[\d-]{4,10}$",
            description="Only files whose name holds it, as 2026-05-31; else all that wait.",
        ),
        "archive": Param(
            default=False, type="boolean", description="Move files that are finished."
        ),
        "dry_run": Param(
            default=False, type="boolean", description="Read and validate; write nothing."
        ),
    },
    doc_md=__doc__,
)
def classify_transactions() -> None:
    """Find the files, run each, prove the books, and tell."""
    files = AssayOperator(
        task_id="list",
        service="batch",
        command=["batch", "list", _URI, "--contract", _CONTRACT, "--most", str(MOST)],
    )

    @task
    def commands(found: str, params: Any = None) -> list[list[str]]:
        options = ["--contract", f"/contracts/{params['contract']}"]
        options += ["--archive"] * params["archive"] + ["--dry-run"] * params["dry_run"]
        return [["batch", "run", each, *options] for each in json.loads(found)["files"]]

    calls = commands(files.output)
    runs = AssayOperator.partial(
        task_id="classify",
        service="batch",
        max_active_tis_per_dagrun=AT_ONCE,
        map_index_template="{{ task.command[2] }}",
    ).expand(command=calls)

    # Also where some files have failed, and where all were skipped: a container that was killed
    # may have had all committed before.
    books = AssayOperator(
        task_id="reconcile",
        service="cli",
        command=["reconcile", "--json"],
        trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
    )

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def total(lines: Any) -> dict[str, int]:
        """The counts of all runs together."""
        found = [json.loads(each) for each in lines]
        counts = {name: sum(each[name] for each in found) for name in _COUNTS}
        print("counts of all:", json.dumps(counts))  # noqa: T201 - Airflow's log takes it
        return counts

    @task(outlets=[CLASSIFIED])
    def announce(counts: dict[str, int], params: Any = None, outlet_events: Any = None) -> None:
        if params["dry_run"]:
            raise AirflowSkipException("nothing was written")
        outlet_events[CLASSIFIED].extra = counts

    counts = total(runs.output)
    [calls, runs] >> books >> counts >> announce(counts)


classify_transactions()
