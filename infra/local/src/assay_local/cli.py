"""The commands `assay up`, `down`, `status` and `env`."""

import json
import os
import shlex
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from assay_local import dotenv, local, report
from assay_local.catalogue import CLUSTERS, KNOWN, SERVICES, USUAL
from assay_local.errors import LocalError, ServerError
from assay_local.local import Report
from assay_local.server import Started

ENV_FILE = Path(".env")
TEMPORARY = 75

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="ASSAY_LOCAL__DATA",
        help="Folder for the servers' data and logs; .assay if not given.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def up(
    services: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SERVICE",
            help=f"Any of {', '.join(SERVICES)}; else the first {len(USUAL)}, and those of the"
            " others that were started before.",
        ),
    ] = None,
    *,
    brokers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=len(CLUSTERS["kafka"]),
            help="How many of Kafka; as the data were made if not given, or 1.",
        ),
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Start real servers on this machine, without Docker.

    They go on until `assay down`, also when this terminal closes, and keep
    their data between runs. Servers that run already are left as they are;
    one that does not answer is replaced, and the model API is started anew
    where ASSAY_MODELS__* say something else than when it was started.

    The addresses go into ./.env, where every assay command reads them: into
    a marked block, your own lines stay. A server that the environment or your
    own lines in .env name already, such as a real cluster in
    ASSAY_POSTGRES__URL, is used as it is and not started.

    Exit codes: 0 done, 75 a server did not come up or one that is named does not
    answer, 78 wrong settings, or a model that cannot be served.
    """
    place = _place(data)
    begin = time.monotonic()
    with _told(as_json=as_json):
        environment = _environment()
        failure: ServerError | None = None
        try:
            with _progress(services or list(USUAL), quiet=as_json) as heard:
                local.up(
                    *services or (),
                    data=place,
                    environment=environment,
                    brokers=brokers,
                    report=heard,
                )
        except ServerError as error:  # The others are up.
            failure = error
        dotenv.write_block(ENV_FILE, report.settings(place))
        found = report.rows(place, environment)
    unreachable = [
        KNOWN[row.service].keys[0]
        for row in found
        if row.state == "external, unreachable" and row.service in (services or USUAL)
    ]
    seconds = time.monotonic() - begin
    if as_json:
        document = {
            "status": "failed" if failure or unreachable else "up",
            "seconds": round(seconds, 2),
            "data": str(place),
            "env_file": str(ENV_FILE.absolute()),
            "servers": [asdict(row) for row in found],
        }
        _print_json(document | (_described(failure) if failure else {}))
    else:
        _print_table(found)
        if failure is None:
            for key in unreachable:
                typer.echo(
                    f"{key} names a server that does not answer: start it, or take the variable "
                    "out of the environment and your own lines in .env to get a local one "
                    f"(unset {key}).",
                    err=True,
                )
            if not unreachable:
                typer.echo(
                    f"Up in {seconds:.1f} s. Addresses are in .env, data in {_short(place)}, "
                    f"logs in {_short(place / 'logs')}."
                )
    if failure is not None:
        if not as_json:
            _print_error(failure)
        raise typer.Exit(failure.exit_code)
    if unreachable:
        raise typer.Exit(TEMPORARY)


def down(
    *,
    wipe: Annotated[
        bool, typer.Option("--wipe", help="Delete their data and their block in .env as well.")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Stop the servers that `assay up` started.

    Their data are kept, and their addresses: the next `assay up` goes on
    where they stopped. With --wipe the data folder is deleted, if it is one
    that `assay up` made.

    Exit codes: 0 done, 75 another process holds the folder, 78 it is not ours.
    """
    place = _place(data)
    with _told(as_json=as_json):
        there = place.exists()
        named = report.named(place, os.environ) if wipe else []
        stopped = local.down(data=place, wipe=wipe)
        if wipe:
            dotenv.write_block(ENV_FILE, {})
    wiped = wipe and there
    if as_json:
        document = {"status": "down", "stopped": stopped, "wiped": wiped, "data": str(place)}
        _print_json(document | {"unset": named})
        return
    typer.echo(f"Stopped {', '.join(stopped)}." if stopped else "No server was running.")
    if wiped:
        typer.echo(f"Deleted {_short(place)}.")
    if wiped and named:
        typer.echo(
            "This shell still names servers that are deleted, and `assay up` would look for them: "
            f"unset {' '.join(named)}"
        )


def status(*, data: Data = None, as_json: Json = False) -> None:
    """Show the local servers: version, address, process, memory, uptime and state.

    Exit codes: 0 shown, whatever the state; 78 wrong settings.
    """
    place = _place(data)
    with _told(as_json=as_json):
        found = report.rows(place, _environment())
    if as_json:
        _print_json({"data": str(place), "servers": [asdict(row) for row in found]})
        return
    _print_table(found)
    if place.exists():
        typer.echo(f"Data are in {_short(place)}, logs in {_short(place / 'logs')}.")


def env(
    *,
    export: Annotated[
        bool, typer.Option("--export", help="Print lines for a shell: export NAME=value.")
    ] = False,
    data: Data = None,
) -> None:
    """Print the variables that name the running servers, as in .env.

    In a shell: eval "$(assay env --export)"

    Exit codes: 0 printed, 75 none runs, 78 wrong settings.
    """
    place = _place(data)
    with _told(as_json=False):
        settings = report.settings(place)
        if not settings:
            raise LocalError("No local server is running. Start them with: assay up")
    for name, value in settings.items():
        typer.echo(f"export {name}={shlex.quote(value)}" if export else f"{name}={value}")


def _place(data: Path | None) -> Path:
    return (data or Path(".assay")).absolute()


def _environment() -> dict[str, str]:
    """The user's settings as the services see them: the environment goes before .env."""
    return {**dotenv.own_settings(ENV_FILE), **os.environ}


@contextmanager
def _told(*, as_json: bool) -> Generator[None]:
    """Turns an error into a message and an exit code."""
    try:
        yield
    except LocalError as error:
        if as_json:
            _print_json({"status": "failed", **_described(error)})
        else:
            _print_error(error)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        typer.echo("Interrupted; what was being started has been stopped.", err=True)
        raise typer.Exit(TEMPORARY) from None


def _described(error: LocalError) -> dict[str, str]:
    described = {"error": str(error)}
    if isinstance(error, ServerError):
        described |= {"service": error.name, "log": str(error.log), "tail": error.tail}
    return described


def _print_error(error: LocalError) -> None:
    lines = [str(error)]
    if isinstance(error, ServerError):
        lines = [f"{error}. The end of {_short(error.log)}:"]
        lines += [f"  {line}" for line in error.tail.splitlines() or ["(nothing)"]]
    typer.echo("\n".join(lines), err=True)


@contextmanager
def _progress(names: list[str], *, quiet: bool) -> Generator[Report]:
    """A line for each server while it starts, on stderr."""
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        tasks: dict[str, TaskID] = {
            name: progress.add_task(f"{name}: {_first_step(name)}", total=1) for name in names
        }

        def heard(name: str, result: Started | LocalError) -> None:
            said = str(result) if isinstance(result, LocalError) else f"{name}: {result}"
            if name not in tasks:  # Another server of a cluster.
                tasks[name] = progress.add_task(name, total=1)
            progress.update(tasks[name], description=said, completed=1)
            if result == "started anew":
                console.print(f"{name} was started anew, since its settings have changed.")

        yield heard


def _first_step(name: str) -> str:
    missing = SERVICES[name].missing() if name in SERVICES else ""
    return missing or "starting"


def _print_table(found: list[report.Row]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("service", "version", "address"):
        table.add_column(heading, no_wrap=True)
    for heading in ("pid", "memory", "uptime"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("state")
    for row in found:
        good = row.state in {"running", "external"}
        table.add_row(
            row.service,
            row.version or "-",
            row.address or "-",
            str(row.pid or "-"),
            f"{row.memory_bytes / 2**20:.0f} MiB" if row.memory_bytes is not None else "-",
            _duration(row.uptime_seconds) if row.uptime_seconds is not None else "-",
            Text(row.state, style="green" if good else "yellow"),
        )
    Console().print(table)
    for row in found:
        if row.service == "s3" and not row.state.startswith("external"):
            typer.echo(f"s3 is {row.about}.")
        if row.moved_from is not None:
            typer.echo(f"{row.service} has another port: a program took {row.moved_from}.")
        for name, value in row.obeys.items():
            typer.echo(f"{row.service} obeys {name}={value}")
        if row.state.startswith("external"):
            typer.echo(f"{row.service} is not run by us: {row.about}.")


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document))


def _short(path: Path) -> str:
    """The path as seen from here, if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount)[:7] or "0 s"
