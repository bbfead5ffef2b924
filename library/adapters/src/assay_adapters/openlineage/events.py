"""A run's events: `START`, `RUNNING` now and then, and how it ended.

Counts are those of the ledger: what was read is told of inputs, with how many were rejected and
why; what was classified, of outputs.
"""

import logging
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from queue import Full, Queue
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    InputDatasetFacet,
    RunFacet,
    data_quality_assertions_dataset,
    data_quality_metrics_input_dataset,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
)

from assay.domain.errors import Fatal
from assay.domain.outcome import Outcome
from assay.domain.position import Partition
from assay.domain.reject import by_code
from assay.domain.tally import Tally
from assay.domain.transaction import TRANSACTIONS
from assay_adapters.openlineage.job import Dataset
from assay_adapters.openlineage.job import Job as Told

_PRODUCER: Final = "https://pypi.org/project/assay-adapters/"
_WAITING: Final = 100  # events, at most
_CLOSE: Final = 5.0  # seconds that the end waits for who is told
_MOST: Final = 100  # inputs of an event; of more files the folders are told
_OWN: Final = ("openlineage", "urllib3.connectionpool")
_log: Any = structlog.get_logger(__name__)


class Events:
    """The port `assay.ports.lineage.Lineage`, by events that a thread of its own sends."""

    def __init__(self, told: Told, every: float) -> None:
        """Makes the client that the environment asks for.

        Args:
            told: what is told of.
            every: seconds between two events `RUNNING`.

        Raises:
            Fatal: nothing says where events go, or what does is wrong.
        """
        self._told, self._every = told, every
        self._sender = _Sender(_client())
        self._inputs: list[Dataset] = []
        self._read: Counter[Dataset] = Counter()
        self._bytes, self._tally = 0, Tally()
        self._codes: Counter[tuple[str, str]] = Counter()
        self._next = time.monotonic() + every
        self._has_begun = self._has_ended = False

    def start(self, partitions: Sequence[Partition] = ()) -> None:
        """The run begins to read."""
        reads = self._told.reads
        found = [self._dataset(each) for each in partitions] if reads is None else [reads]
        self._inputs = _named(found)
        self._has_begun = True
        self._emit(RunState.START)

    def committed(self, outcome: Outcome, tally: Tally) -> None:
        """An outcome is committed; now and then that is told."""
        for each in outcome.ranges:
            self._read[self._dataset(each.partition)] += each.read
        self._bytes += int(outcome.records["length"].sum())
        self._tally += tally
        self._codes.update(by_code(outcome.rejects))
        # The store alone sees those, and says how many.
        if conflicts := tally.rejected - outcome.rejects.height:
            self._codes["conflicting_duplicate", "transaction_id"] += conflicts
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            self._emit(RunState.RUNNING)

    def end(self, exit_code: int, why: str = "", *, is_stopped: bool = False) -> None:
        """The run has ended: `COMPLETE`, `FAIL`, or `ABORT` where somebody has stopped it."""
        if self._has_ended:
            return
        if not self._has_begun:
            self.start()
        self._has_ended = True
        facets: dict[str, RunFacet] = {}
        state = RunState.ABORT if is_stopped else RunState.COMPLETE
        if exit_code and not is_stopped:
            state = RunState.FAIL
            message = f"exit code {exit_code}" + (f": {why}" if why else "")
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "PYTHON")
        self._emit(state, facets)

    def close(self) -> None:
        """Sends what is left, for five seconds at most."""
        self._sender.close()

    # ---------------------------------------------------------------- events

    def _emit(self, state: RunState, facets: dict[str, RunFacet] | None = None) -> None:
        told = self._told
        kind = job_type_job.JobTypeJobFacet(told.kind, "ASSAY", "JOB")
        namespace = os.environ.get("OPENLINEAGE_NAMESPACE", "assay")
        self._sender.send(
            RunEvent(
                eventTime=datetime.now(UTC).isoformat(),
                eventType=state,
                run=Run(told.run_id, {**_about(), **(facets or {})}),
                job=Job(namespace, told.name, {"jobType": kind}),
                inputs=[self._input(each) for each in self._inputs],
                outputs=[self._output(each) for each in told.writes],
                producer=_PRODUCER,
            )
        )

    def _input(self, dataset: Dataset) -> InputDataset:
        facets: dict[str, InputDatasetFacet] = {}
        alone = len(self._inputs) == 1
        rows = self._tally.read if alone else self._read[dataset]
        if self._tally.read:
            facets["dataQualityMetrics"] = (
                data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
                    {}, rowCount=rows, bytes=self._bytes if alone else None
                )
            )
            # Doors are known of a run, and not of each of its files.
            facets["dataQualityAssertions"] = (
                data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
                    self._assertions()
                )
            )
        return InputDataset(*dataset, inputFacets=facets)

    def _assertions(self) -> list[data_quality_assertions_dataset.Assertion]:
        tally, assertion = self._tally, data_quality_assertions_dataset.Assertion
        doors = f"{tally.classified} + {tally.rejected} + {tally.duplicate}"
        return [
            assertion("books_balance", tally.balances, expected=str(tally.read), actual=doors),
            *(
                assertion(
                    code,
                    success=False,
                    column=column or None,
                    severity="warn",
                    expected="0",
                    actual=str(count),
                )
                for (code, column), count in self._codes.most_common()
            ),
        ]

    def _output(self, dataset: Dataset) -> OutputDataset:
        rows = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=self._tally.classified
        )
        facets: dict[str, DatasetFacet] = {}
        if dataset[1].endswith(".transactions"):
            facets["schema"] = _SCHEMA
        return OutputDataset(*dataset, facets=facets, outputFacets={"outputStatistics": rows})

    def _dataset(self, partition: Partition) -> Dataset:
        """The dataset that a partition belongs to."""
        told = self._told
        if told.reads is not None:
            return told.reads
        uri = urlsplit(partition.rpartition("#")[0] or partition)
        if uri.scheme == "s3":
            return f"s3://{uri.netloc}", uri.path.removeprefix("/")
        return f"file://{platform.node()}", uri.path


_SCHEMA: Final = schema_dataset.SchemaDatasetFacet(
    [
        schema_dataset.SchemaDatasetFacetFields(name, str(dtype).lower())
        for name, dtype in TRANSACTIONS.items()
        if name != "row"
    ]
)


def _about() -> dict[str, RunFacet]:
    """What holds of each run: which Assay it is, and who has started it."""
    about: dict[str, RunFacet] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
            version("assay"), "Assay"
        )
    }
    found = os.environ.get("OPENLINEAGE_PARENT_ID", "").rsplit("/", 2)
    if len(found) == 3 and _is_uuid(found[2]):  # noqa: PLR2004 - namespace, job, run
        namespace, name, run_id = found
        about["parent"] = parent_run.ParentRunFacet(
            parent_run.Run(run_id), parent_run.Job(namespace, name)
        )
    return about


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _named(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Each once; of many files the folders, the first of them."""
    found = list(dict.fromkeys(datasets))
    if len(found) > _MOST:
        folders = ((place, name.rpartition("/")[0] or "/") for place, name in found)
        found = list(dict.fromkeys(folders))
    return found[:_MOST]


def _client() -> OpenLineageClient:
    logging.getLogger("openlineage").setLevel(logging.CRITICAL)
    try:
        client = OpenLineageClient()
    except Exception as error:  # noqa: BLE001 - whatever its transports raise
        raise Fatal(f"OpenLineage's variables are wrong: {type(error).__name__}") from None
    asked = (client.config.transport or {}).get("type")
    if client.transport.kind == "console" and asked != "console":
        raise Fatal(
            "ASSAY_OPENLINEAGE__EVENTS is set, and nothing says where to: set OPENLINEAGE_URL"
        )
    return client


class _Sender:
    """Sends events in their order, in a thread; says once that nobody takes them."""

    def __init__(self, client: OpenLineageClient) -> None:
        for name in _OWN:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._client, self._is_away = client, False
        self._queue: Queue[RunEvent | None] = Queue(_WAITING)
        self._thread = Thread(target=self._run, name="lineage", daemon=True)
        self._thread.start()

    def send(self, event: RunEvent | None) -> None:
        """Has an event sent; where too many wait it is left out."""
        try:
            self._queue.put_nowait(event)
        except Full:
            self._note(is_away=True)

    def close(self) -> None:
        """Waits a moment for what is left."""
        self.send(None)
        self._thread.join(_CLOSE)
        if self._thread.is_alive():
            self._note(is_away=True)

    def _run(self) -> None:
        emit: Callable[[RunEvent], None] = self._client.emit
        while (event := self._queue.get()) is not None:
            try:
                emit(event)
            except Exception:  # noqa: BLE001 - whatever a transport raises, the run goes on
                self._note(is_away=True)
            else:
                self._note(is_away=False)

    def _note(self, *, is_away: bool) -> None:
        if is_away and not self._is_away:
            _log.warning("nobody takes the lineage: events are left out until somebody does")
        elif self._is_away and not is_away:
            _log.info("lineage is taken again")
        self._is_away = is_away
