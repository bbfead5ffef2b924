"""What `consume` does between its options and its exit code."""

import traceback
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import structlog
from rich.console import Console

from assay.domain.errors import AssayError
from assay.pipeline.pump import Policy
from assay_streaming import bootstrap
from assay_streaming.consume import Request, Result, ended
from assay_streaming.consume import consume as run_consumer
from assay_streaming.progress import shown

_log: Any = structlog.get_logger(__name__)


def consume(*, overrides: Mapping[str, Any], reject_limit: float, until_idle: float | None) -> int:
    """Consumes as the options of `assay_streaming.cli` say; the summary is the last line.

    Returns:
        The exit code.

    Raises:
        Fatal: the settings are wrong.
    """
    settings = bootstrap.read(bootstrap.ConsumerSettings)
    given = {name: value for name, value in overrides.items() if value is not None}
    stream = settings.stream.model_copy(update=given)
    settings = settings.model_copy(update={"stream": stream})
    request = Request(
        run_id=str(uuid4()),
        source=f"kafka/{stream.topic}",
        destination=f"kafka:{stream.dead_letter_topic}",
        policy=Policy(
            window_chunks=stream.window_chunks,
            window_bytes=stream.window_mib << 20,
            reject_limit=reject_limit,
            drain=stream.drain,
        ),
        until_idle=until_idle,
    )
    result = Result(request.run_id)
    console = Console(stderr=True)
    try:
        with bootstrap.consumer(request, settings, result) as services:
            error: BaseException | None = None
            try:
                with shown(console) as progress:
                    run_consumer(request, services, result, progress)
            except BaseException as raised:
                error = raised
                raise
            finally:
                ended(result, error)
    except AssayError as stopped_by:
        ended(result, stopped_by)
        bootstrap.complain(str(stopped_by))
    except Exception as fault:  # noqa: BLE001 - whatever it is, the summary comes last
        # Its message is left out: it may hold what no log may.
        where = traceback.format_tb(fault.__traceback__)
        _log.error("a fault of Assay", error=type(fault).__name__, where=where)
        ended(result, fault)
    bootstrap.last_line(result.summary())
    return result.exit_code
