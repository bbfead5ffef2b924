"""How services begin and end: options go before settings, and the summary comes last."""

import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from assay.domain.errors import AssayError
from assay_streaming import bootstrap

_log: Any = structlog.get_logger(__name__)


class Result(Protocol):
    """What a service has done so far; its status is `running` until it ends."""

    status: str
    exit_code: int

    def summary(self) -> dict[str, Any]:
        """What the last line says."""
        ...


def overridden(
    settings: bootstrap.AnySettings, overrides: Mapping[str, Any]
) -> bootstrap.AnySettings:
    """The settings with what was given as options in place of theirs."""
    given = {name: value for name, value in overrides.items() if value is not None}
    stream = settings.stream.model_copy(update=given)
    return settings.model_copy(update={"stream": stream})


@contextmanager
def until_its_end(result: Result) -> Generator[None]:
    """Notes how the block has ended, before what is around it is closed."""
    try:
        yield
    except KeyboardInterrupt:
        result.status = "stopped"
        raise
    except BaseException as error:
        _ended(result, error)
        raise
    if result.status == "running":
        result.status = "stopped"


def to_the_end(act: Callable[[], None], result: Result) -> int:
    """Does it, says what stopped it if anything did, and writes the summary as the last line.

    Returns:
        The exit code.
    """
    try:
        # Until a service looks for signals by itself.
        with bootstrap.on_signal(bootstrap.interrupt):
            act()
    except KeyboardInterrupt:
        result.status = "stopped"
    except AssayError as stopped_by:
        _ended(result, stopped_by)
        bootstrap.complain(str(stopped_by))
    except Exception as fault:  # noqa: BLE001 - whatever it is, the summary comes last
        # Its message is left out: it may hold what no log may.
        where = traceback.format_tb(fault.__traceback__)
        _log.error("a fault of Assay", error=type(fault).__name__, where=where)
        _ended(result, fault)
    bootstrap.last_line(result.summary())
    return result.exit_code


def _ended(result: Result, error: BaseException) -> None:
    result.status = "failed"
    result.exit_code = error.exit_code if isinstance(error, AssayError) else 1
