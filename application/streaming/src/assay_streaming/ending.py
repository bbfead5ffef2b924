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
    """Notes how the block has ended, and why, before what is around it is closed."""
    try:
        yield
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
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the summary comes last
        _ended(result, error)
    bootstrap.last_line(result.summary())
    return result.exit_code


def _ended(result: Result, error: BaseException) -> None:
    """Notes and says what has ended a service. What comes after the first says nothing new."""
    if result.status != "running":
        return
    if isinstance(error, KeyboardInterrupt):
        result.status = "stopped"
        return
    result.status = "failed"
    result.exit_code = error.exit_code if isinstance(error, AssayError) else 1
    if isinstance(error, AssayError):
        bootstrap.complain(str(error))
    else:
        # Its message is left out: it may hold what no log may.
        where = traceback.format_tb(error.__traceback__)
        _log.error("a fault of Assay", error=type(error).__name__, where=where)
