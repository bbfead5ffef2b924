"""How services begin and end: options go before settings, and the summary comes last."""

import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

import structlog
from pydantic import ValidationError
from structlog.contextvars import bound_contextvars

from assay.domain.errors import AssayError, Fatal
from assay.domain.wording import worded
from assay_streaming import bootstrap

_FAULT: Final = 1  # the exit code of what should not happen
_log: Any = structlog.get_logger(__name__)


class Result(Protocol):
    """What a service has done so far; its status is `running` until it ends."""

    run_id: str
    status: str
    exit_code: int

    def summary(self) -> dict[str, Any]:
        """What the last line says."""
        ...


def overridden(
    settings: bootstrap.AnySettings, overrides: Mapping[str, Any]
) -> bootstrap.AnySettings:
    """The settings with what was given as options in place of theirs.

    Raises:
        Fatal: a value is none that the setting may have, or does not go with the other settings.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    # What was not set stays so: some settings mean something else when they are.
    kept = settings.stream.model_dump(exclude_unset=True)
    try:
        stream = type(settings.stream).model_validate(kept | given)
    except ValidationError as error:
        problems = [
            f"{_named(str(each['loc'][0]), given)}: {worded(each)}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise Fatal("; ".join(problems)) from None
    return settings.model_copy(update={"stream": stream})


def _named(name: str, given: Mapping[str, Any]) -> str:
    """The option or setting that a value comes from."""
    return f"--{name.replace('_', '-')}" if name in given else f"ASSAY_STREAM__{name.upper()}"


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
    with bound_contextvars(run_id=result.run_id):
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
    result.status, result.exit_code = "failed", say(error)


def say(error: BaseException) -> int:
    """Says what went wrong; returns the exit code that it means."""
    if isinstance(error, AssayError):
        bootstrap.complain(str(error))
        return error.exit_code
    # Its message is left out: it may hold what no log may.
    where = traceback.format_tb(error.__traceback__)
    _log.error("a fault of Assay", error=type(error).__name__, where=where)
    return _FAULT
