"""What the commands do between their options and their exit codes."""

import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, Protocol
from uuid import uuid4

import structlog
from rich.console import Console

from assay.domain.errors import AssayError
from assay.pipeline.pump import Policy
from assay_streaming import bootstrap
from assay_streaming import dead_letters as service
from assay_streaming.consume import Ending, Request, Result, ended
from assay_streaming.consume import consume as run_consumer
from assay_streaming.progress import shown

_log: Any = structlog.get_logger(__name__)


_PATIENCE: Final = 60.0  # seconds that a dependency may be away where it is done once


def _overridden(
    settings: bootstrap.AnySettings, overrides: Mapping[str, Any]
) -> bootstrap.AnySettings:
    """The settings with what was given as options in place of theirs."""
    given = {name: value for name, value in overrides.items() if value is not None}
    stream = settings.stream.model_copy(update=given)
    return settings.model_copy(update={"stream": stream})


def consume(*, overrides: Mapping[str, Any], reject_limit: float, until_idle: float | None) -> int:
    """Consumes as the options of `assay_streaming.cli` say; the summary is the last line.

    Returns:
        The exit code.

    Raises:
        Fatal: the settings are wrong.
    """
    settings = bootstrap.read(bootstrap.ConsumerSettings)
    settings = _overridden(settings, overrides)
    stream = settings.stream
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

    def act() -> None:
        with (
            bootstrap.consumer(request, settings, result) as services,
            _until_the_end(result),
            shown(console) as progress,
        ):
            run_consumer(request, services, result, progress)

    return _to_the_end(act, result)


def dead_letters(*, overrides: Mapping[str, Any], retry: bool, once: bool) -> int:
    """Publishes and retries as the options of `assay_streaming.cli` say.

    Returns:
        The exit code.

    Raises:
        Fatal: the settings are wrong.
    """
    kind = bootstrap.ConsumerSettings if retry else bootstrap.RelaySettings
    settings = _overridden(bootstrap.read(kind), overrides)
    stream = settings.stream
    request = service.Request(
        run_id=str(uuid4()),
        max_attempts=stream.max_attempts,
        retry_delay=timedelta(seconds=stream.retry_delay),
        policy=Policy(
            window_chunks=stream.window_chunks,
            window_bytes=stream.window_mib << 20,
            patience=_PATIENCE if once else None,
        ),
        once=once,
    )
    result = service.Result(request.run_id)

    def act() -> None:
        with (
            bootstrap.dead_letter_service(request, settings, result) as services,
            _until_the_end(result),
        ):
            service.dead_letters(request, services, result)

    return _to_the_end(act, result)


class _Ending(Ending, Protocol):
    def summary(self) -> dict[str, Any]: ...


@contextmanager
def _until_the_end(result: Ending) -> Generator[None]:
    """Notes how the block has ended, before what is around it is closed."""
    try:
        yield
    except BaseException as error:
        ended(result, error)
        raise
    ended(result, None)


def _to_the_end(act: Callable[[], None], result: _Ending) -> int:
    """Does it, says what stopped it if anything did, and writes the summary as the last line."""
    try:
        act()
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
