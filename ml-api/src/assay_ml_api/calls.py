"""One call, from its head to its answer; what is computed leaves the event loop."""

import asyncio
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Final, TypeVar

import polars as pl
import structlog
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from assay.ports.meter import Meter
from assay_ml_api import metrics
from assay_ml_api.config import ServerConfig
from assay_ml_api.drift import Drift
from assay_ml_api.predict import Answer, Model
from assay_ml_api.problems import Problem
from assay_ml_api.records import sort
from assay_ml_api.requests import Ask, Slots, body_of
from assay_ml_api.serving import Serving

_CANARY: Final = [
    {
        "id": "canary",
        "description": "canary",
        "amount": 0,
        "timestamp": datetime(2000, 1, 1, tzinfo=UTC).isoformat(),
        "operation_type": "payment",
        "side": "debit",
    }
]
_CLIENT_GONE: Final = 499  # as nginx counts them

_log = structlog.stdlib.get_logger(__name__)
_T = TypeVar("_T")


class Calls:
    """Answers calls, several at once, within the limits of the settings."""

    def __init__(
        self,
        serving: Serving,
        config: ServerConfig,
        meter: Meter,
        step: Callable[[str], AbstractContextManager[object]],
    ) -> None:
        self._serving = serving
        self._config = config
        self._meter, self._step = meter, step
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="predict")
        self._slots = Slots(config.concurrency)
        self._drift = Drift(lambda: serving.state.model, meter)

    async def answer(self, request: Request, ask: Ask) -> Response:
        """The answer to one call, which is counted.

        Args:
            request: of the call.
            ask: says from the head what is to be computed.

        Raises:
            Problem: there is none.
        """
        began = time.monotonic()
        status = 500
        try:
            answer = await self._compute(request, ask)
            status = 200
        except Problem as problem:
            status = problem.status_code
            raise
        except ClientDisconnect:
            status = _CLIENT_GONE
            return Response(status_code=status)
        finally:
            self._meter.set(metrics.CALLS_OPEN, self._slots.taken)
            self._meter.add(metrics.CALLS, status=str(status))
            self._meter.observe(metrics.SECONDS, time.monotonic() - began)
        self._meter.add(metrics.RECORDS, answer.predictions.height, verdict="ok")
        self._meter.add(metrics.RECORDS, answer.rejected, verdict="reject")
        return Response(answer.body, headers=dict(answer.headers))

    async def ask_the_model(self) -> None:
        """Returns when the model has answered for an invented transaction.

        Raises:
            Problem: it does not answer.
        """
        try:
            await self._away(lambda: predict_canary(self._serving.state.model))
        except Problem:
            raise Problem(503, "the model does not answer", {"Retry-After": "5"}) from None

    def close(self) -> None:
        """Waits for what is computed, and ends the threads."""
        self._pool.shutdown()

    async def _compute(self, request: Request, ask: Ask) -> Answer:
        config = self._config
        compute = ask(request, config)
        with self._slots.take():
            self._meter.set(metrics.CALLS_OPEN, self._slots.taken)
            with self._step("read"):
                body = await body_of(request, config.max_bytes, config.body_timeout)
            state = self._serving.state  # once: a call keeps to its end what it began with
            model = self._serving.shadowed(state)

            def computed() -> Answer:
                answer = compute(model, body)
                self._drift.add(model, answer.predictions)
                return answer

            with self._step("predict"):
                return await self._away(computed)

    async def _away(self, compute: Callable[[], _T]) -> _T:
        """Computes in a thread.

        Raises:
            Problem: as the computation says, or 500 for whatever else it raises.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, compute)
        except Problem:
            raise
        # A panic of polars is no Exception.
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - all end as 500
            at = traceback.extract_tb(error.__traceback__)[-1]
            # Its text may quote what was asked, so that only its place is told.
            _log.error(
                "the model failed", error=type(error).__name__, at=f"{at.filename}:{at.lineno}"
            )
            raise Problem(500, "the model failed") from None


def predict_canary(model: Model) -> None:
    """Asks the model about an invented transaction."""
    good, _ = sort(_CANARY, "EUR")
    model.predict(good)
