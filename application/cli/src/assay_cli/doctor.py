"""The command `assay doctor`."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from platform import python_version
from typing import Annotated, Final, Literal, TypeAlias

import typer

from assay.domain.errors import CONFIGURATION, DONE, TEMPORARY, AssayError
from assay_cli import bootstrap
from assay_cli.bootstrap.doctor import LOST_BROKER, Answer, probes
from assay_cli.output import Json, add, plain, print_json, say, show, table
from assay_cli.version import PACKAGES

Probe: TypeAlias = tuple[str, Callable[[], Answer]]

_MEND: Final = "mend it in the environment or in .env; `assay up` fills the latter for local use"
_LOCAL: Final = {
    "postgres": ("postgres", "ASSAY_POSTGRES__URL"),
    "s3": ("s3", "ASSAY_S3__ENDPOINT_URL"),
    "kafka": ("kafka", "ASSAY_KAFKA__BOOTSTRAP_SERVERS"),
    "model": ("api", "ASSAY_API__URL"),
}
"""What `assay up` starts for a check, and the variable that names it."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        state: `warn` is for the eye and fails nothing.
        detail: what was found.
        advice: what to do; None where the detail says it, or where there is nothing to do.
        exit_code: what it alone would end with.
    """

    check: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    advice: str | None = None
    exit_code: int = DONE


def doctor(
    *,
    bucket: Annotated[
        str | None, typer.Option(metavar="NAME", help="A bucket that must be there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check everything that Assay needs, and say what to do about each failure.

    Settings, versions, PostgreSQL and its tables, S3, the model API, Kafka:
    each is asked on its own, all at once, and nothing is changed anywhere.
    Whether a bucket may be written to is therefore not known.

    Examples:
      assay doctor
      assay doctor --bucket card-files --json

    Exit codes: 0 all is well, or only warnings; 75 something is away, so that
    the same may succeed later; 78 something is misconfigured.
    """
    found = examine(bucket)
    code = _exit_code(found)
    if as_json:
        status = "ok" if code == DONE else "fail"
        print_json({"status": status, "checks": [asdict(each) for each in found]})
    else:
        shown = table("state", "check", "detail")
        for each, following in zip_longest(found, found[1:]):
            add(shown, each.state, each.check, each.detail)
            if each.advice and (following is None or following.advice != each.advice):
                add(shown, "", "", f"→ {each.advice}")
        show(shown)
        say(f"\n{plain(_summary(found))}")
    raise typer.Exit(code)


def examine(bucket: str | None) -> list[Finding]:
    """All findings, in a fixed order; takes as long as the slowest check."""
    settings = bootstrap.settings()
    chains = probes(bucket)
    with ThreadPoolExecutor(len(chains)) as pool:
        pending = [
            pool.submit(_ask, probes, None if section in settings.sections else "settings")
            for section, probes in chains.items()
        ]
    wrong = [Finding("settings", "fail", each, _MEND, CONFIGURATION) for each in settings.problems]
    answers = [finding for each in pending for finding in each.result()]
    return [_packages(), *(wrong or [Finding("settings", "ok", "complete")]), *answers]


def _ask(probes: Sequence[Probe], failed: str | None) -> list[Finding]:
    """Asks one after the other; what follows a failure cannot be known."""
    found: list[Finding] = []
    for name, probe in probes:
        if failed:
            found.append(Finding(name, "warn", f"not checked, since {failed} failed"))
            continue
        try:
            text, doubt = probe()
        except AssayError as error:
            failed = name
            away = error.exit_code == TEMPORARY
            code = TEMPORARY if away else CONFIGURATION
            advice = _if_away(name) if away else None
            found.append(Finding(name, "fail", str(error), advice, code))
        else:
            found.append(Finding(name, "warn" if doubt else "ok", text, doubt))
    return found


def _if_away(name: str) -> str | None:
    if name == "topics":
        return LOST_BROKER
    if name not in _LOCAL:
        return None
    service, variable = _LOCAL[name]
    if variable in os.environ:
        # `assay up` starts none in place of what the environment names.
        return f"start it, correct {variable}, or unset it for a local one: `assay up {service}`"
    return f"`assay up {service}` starts a local one; or correct {variable}"


def _packages() -> Finding:
    ours = version("assay")
    others = {name: number for name in PACKAGES if (number := _version(name)) not in {None, ours}}
    text = f"assay {ours}, Python {python_version()}"
    if others:
        odd = ", ".join(f"{name} {number}" for name, number in others.items())
        return Finding("packages", "warn", f"{text}; but {odd}", "install the same version of all")
    return Finding("packages", "ok", text)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _exit_code(found: Sequence[Finding]) -> int:
    codes = {each.exit_code for each in found}
    # What is misconfigured does not mend itself by being tried again.
    return next((code for code in (CONFIGURATION, TEMPORARY) if code in codes), DONE)


def _summary(found: Sequence[Finding]) -> str:
    failed = sum(each.state == "fail" for each in found)
    warned = sum(each.state == "warn" for each in found)
    if failed:
        return f"{failed} failed, {warned} to look at."
    return f"Nothing failed, {warned} to look at." if warned else "All is well."
