"""How commands that are runs end: the summary comes last, whatever happens."""

import traceback
from collections.abc import Callable
from typing import Any, Protocol

from assay.domain.errors import TEMPORARY, AssayError, Unavailable
from assay_cli import bootstrap


class Result(Protocol):
    """What a run has done so far."""

    status: str
    exit_code: int

    def summary(self) -> dict[str, Any]:
        """The counts."""
        ...


def to_the_end(act: Callable[[], None], result: Result) -> int:
    """Does a run, says what stopped it if anything did, and writes its summary as the last line.

    Returns:
        The exit code.
    """
    try:
        with bootstrap.on_signal(bootstrap.interrupt):
            act()
    except AssayError as error:
        result.status, result.exit_code = "failed", error.exit_code
        doctor = "; `assay doctor` says what is away" if isinstance(error, Unavailable) else ""
        bootstrap.complain(f"{error}{doctor}")
    except KeyboardInterrupt:
        result.status, result.exit_code = "interrupted", TEMPORARY
        bootstrap.complain("interrupted: what is committed stays; run again for the rest")
    except Exception as error:  # noqa: BLE001 - whatever it is, the summary comes last
        # Its message is left out: it may hold what nobody may print.
        result.status, result.exit_code = "failed", 1
        where = "".join(traceback.format_tb(error.__traceback__))
        bootstrap.complain(f"a fault of Assay: {type(error).__name__}\n{where}")
    bootstrap.last_line(result.summary())
    return result.exit_code
