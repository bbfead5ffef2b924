"""Which dead letters a command means: options that many commands share."""

import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from assay.domain.choice import Filter
from assay.domain.codes import CODES
from assay.domain.errors import Fatal

if TYPE_CHECKING:
    from assay_cli.bootstrap import DeadLetters

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PANEL: Final = "Which letters"
_LAST_ID: Final = 2**63 - 1  # of PostgreSQL's bigint
ATTEMPTS: Final = 2**15 - 1
"""What attempts are counted to."""
MANY: Final = 10**9
"""The greatest limit: more letters than any table holds."""
By = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who; unless given, who is logged in here.")
]
"""The option of commands that change letters."""


def duration(text: str) -> timedelta | None:
    """A time as people write it: 90s, 15m, 2h, 7d; None where it is none."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    return None if found is None else timedelta(**{_UNITS[found[2]]: int(found[1])})


def _moment(text: str) -> datetime:
    """A moment as people write it: so long ago, or a date with or without a time, in UTC."""
    if (ago := duration(text)) is not None:
        try:
            return datetime.now(UTC) - ago
        except OverflowError:
            raise typer.BadParameter(f"{text} ago is before the year 1") from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text} is neither a time such as 2024-05-01T08:30 nor how long ago: 30m, 2h, 7d"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def letter_id(text: str) -> int:
    """A letter's short name, such as PostgreSQL gives."""
    if re.fullmatch(r"[0-9]{1,19}", text) and 0 < int(text) <= _LAST_ID:
        return int(text)
    raise typer.BadParameter("must be a whole number, as `list` shows it")


class StageName(StrEnum):
    """Where a record is rejected."""

    DECODE = "decode"
    VALIDATE = "validate"
    CLASSIFY = "classify"
    COMMIT = "commit"


class StateName(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    CLOSED = "closed"
    DISCARDED = "discarded"


def _option(*names: str, text: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_PANEL, **more)


_OPTIONS: Final[dict[str, Any]] = {
    "codes": Annotated[
        list[str] | None,
        _option("--code", metavar="CODE", text="Why it was rejected. May be repeated."),
    ],
    "stages": Annotated[
        list[StageName] | None,
        _option(
            "--stage", metavar="STAGE", text=f"Any of {', '.join(StageName)}. May be repeated."
        ),
    ],
    "states": Annotated[
        list[StateName] | None,
        _option(
            "--state", metavar="STATE", text=f"Any of {', '.join(StateName)}. May be repeated."
        ),
    ],
    "ids": Annotated[
        list[int] | None,
        _option(
            "--id", metavar="ID", parser=letter_id, text="As `list` shows it. May be repeated."
        ),
    ],
    "run_id": Annotated[
        str | None, _option("--run", metavar="RUN_ID", text="The run that rejected it last.")
    ],
    "source": Annotated[
        str | None,
        _option(
            "--source",
            metavar="NAME",
            text="What it was read from: kafka/TOPIC, or files/ and the id of a contract.",
        ),
    ],
    "model_version": Annotated[
        str | None,
        _option("--model-version", metavar="VERSION", text="Of the model that rejected it."),
    ],
    "retriable": Annotated[
        bool | None,
        _option(
            "--retriable/--not-retriable",
            text="Whether the same bytes may succeed later, with another model.",
        ),
    ],
    "max_attempts": Annotated[
        int | None,
        _option(
            "--max-attempts",
            metavar="N",
            min=1,
            max=ATTEMPTS,
            text="Leave out what has been tried so often already.",
        ),
    ],
    "since": Annotated[
        datetime | None,
        _option(
            "--since",
            metavar="TIME",
            parser=_moment,
            text="Committed at that time or later: 2024-05-01, 2024-05-01T08:30, or 30m, 2h, 7d"
            " ago.",
        ),
    ],
    "until": Annotated[
        datetime | None,
        _option("--until", metavar="TIME", parser=_moment, text="Committed before it."),
    ],
}
_EVERY: Final[Any] = Annotated[
    bool | None, _option("--all", text="Every open letter, in place of a choice.")
]


def filtered(
    *without: str, must_choose: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of a filter, and its parameter `chosen` what they choose.

    Args:
        without: parts of the filter for which there is no option.
        must_choose: whether it takes no letters that nobody has asked for: there is an option
            `--all` then, and the command is refused without it and without any other.
    """
    options = {name: hint for name, hint in _OPTIONS.items() if name not in without}
    if must_choose:
        options["every"] = _EVERY

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            parts = {name: given.pop(name) for name in options}
            every = parts.pop("every", None)
            chosen = {k: v for k, v in parts.items() if v not in (None, [])}
            if must_choose and bool(every) == bool(chosen):
                raise Fatal(
                    "say which letters are meant, by --code, --id, --run, --until, …, or else"
                    " --all: every open one"
                )
            command(chosen=cast(Filter, chosen), **given)

        own = inspect.signature(command)
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
            for name, hint in options.items()
        ]
        kept = [each for name, each in own.parameters.items() if name != "chosen"]
        run.__signature__ = own.replace(parameters=[*kept, *shared])  # type: ignore[attr-defined] - Typer reads it
        run.__annotations__ = {each.name: each.annotation for each in [*kept, *shared]} | {
            "return": None
        }
        return run

    return decorate


def require_known(chosen: Filter, letters: "DeadLetters") -> None:
    """Refuses codes and sources that are slips: they would find nothing, in silence.

    Codes are known to Assay or to any letter. A source that nothing was read from yet is none that
    is known, and yet no slip, unless it is nearly one.

    Raises:
        Fatal: names one, and what it may have been meant for.
        Unavailable: PostgreSQL is away.
    """
    _require_source(chosen, letters)
    strange = set(chosen.get("codes", ())) - CODES
    if not strange:
        return
    found = {each["code"] for each in letters.counts({})}
    for code in sorted(strange - found):
        if near := get_close_matches(code, CODES | found, n=1):
            hint = f"did you mean {near[0]}?"
        elif found:
            hint = f"the letters here have {', '.join(sorted(found))}"
        else:
            hint = "there are no letters here"
        raise Fatal(f"--code: nothing is rejected as {code}; {hint}")


def _require_source(chosen: Filter, letters: "DeadLetters") -> None:
    source = chosen.get("source")
    if source is None or letters.latest({"source": source}, 1):
        return
    known = letters.sources()
    if source not in known and (near := get_close_matches(source, known, n=1, cutoff=0.8)):
        raise Fatal(f"--source: no letter is of {source}; did you mean {near[0]}?")
