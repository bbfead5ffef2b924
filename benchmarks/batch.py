"""How quick a batch run is, from S3 over the model API into PostgreSQL, and what it costs."""

import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import boto3
import psycopg
import typer
from figures import Figure, about, print_runs, print_sizes
from harness import Bench, Way, WrongResult, check, console, started
from measure import CommandFailed, run
from rich.console import Console
from sample import Ids, Sample, write

from assay_local import Local, LocalError, databases

_HERE: Final = Path(__file__).parent
_CONTRACT: Final = _HERE.parent / "contracts" / "transactions.odcs.yaml"
_BUCKET: Final = "assay-benchmark"
_SERVERS: Final = ("postgres", "s3", "api")


def batch(
    *,
    rows: Annotated[int, typer.Option(min=1_000, help="Records of the file.")] = 1_000_000,
    sizes: Annotated[
        str, typer.Option(help="Several such numbers, with commas: is peak memory the same?")
    ] = "",
    runs: Annotated[int, typer.Option(min=1, help="Runs of each way, in turns.")] = 3,
    against: Annotated[
        Literal["plain"] | None,
        typer.Option(help="Do the same work in a plain loop as well: csv, pydantic, SQLAlchemy."),
    ] = None,
    ids: Annotated[Ids, typer.Option(help="How the ids follow each other.")] = "scattered",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep files, databases and logs, and say where.")
    ] = False,
) -> None:
    """Measure `assay batch run` on real servers of its own, each run on a fresh database.

    The model API is restarted before each run, so that it remembers nothing; PostgreSQL syncs to
    disk as it does by default. A figure counts once the tables were found to hold what they must.
    """
    numbers = [int(each) for each in sizes.split(",")] if sizes else [rows]
    ways: list[Way] = ["assay", "plain"] if against else ["assay"]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends all that was started, too
    try:
        with started(*_SERVERS, keep=keep) as bench:
            _make_bucket(bench.local)
            found = [each for size in numbers for each in _measured(bench, size, ids, ways, runs)]
            settings = about(bench.local, ids)
    except (CommandFailed, LocalError, WrongResult) as error:
        console.print(f"[bold red]error:[/] {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("interrupted; the servers are stopped")
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps({"about": settings, "runs": [asdict(each) for each in found]}))
        return
    for size in numbers:
        print_runs([each for each in found if each.rows == size], "S3 to PostgreSQL")
    if len(numbers) > 1:
        print_sizes([each for each in found if each.way == "assay"])
    Console(width=80, highlight=False).print_json(data=settings)


def _measured(
    bench: Bench, rows: int, ids: Ids, ways: Sequence[Way], runs: int
) -> Generator[Figure]:
    """The figures of one size, the ways taking turns."""
    with console.status(f"Making a file of {rows:,} records …"):
        sample = _filed(bench, rows, ids)
    agreed: int | None = None
    for number in range(runs):
        for way in ways:
            with console.status(f"{way}, {rows:,} records, run {number + 1} of {runs} …"):
                figure, predicted = _once(bench, way, sample, f"{way}_{rows}_{number}")
            if agreed not in {None, predicted}:
                raise WrongResult(f"{way} stored other predictions than the run before")
            agreed = predicted
            console.print(f"{way}: {figure.rate:,.0f} rows/s, {figure.peak >> 20} MiB")
            yield figure


def _filed(bench: Bench, rows: int, ids: Ids) -> Sample:
    path = bench.folder / f"{rows}.csv"
    # In a process of its own: what is measured starts with the memory of this one.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        sample = pool.submit(write, path, rows, ids).result()
    _s3(bench.local).upload_file(str(path), _BUCKET, path.name)
    if not bench.keep:
        path.unlink()
    return sample


def _once(bench: Bench, way: Way, sample: Sample, name: str) -> tuple[Figure, int]:
    local = bench.local
    url = databases.create(local.postgres.url, name)
    environment = {**os.environ, **local.settings, "ASSAY_POSTGRES__URL": url}
    # Modules are compiled once and for all, as they are where a package is installed.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    assay = str(Path(sys.executable).with_name("assay"))
    commands: Mapping[Way, Callable[[str], list[str]]] = {
        "assay": lambda key: [
            *(assay, "batch", "run", f"s3://{_BUCKET}/{key}"),
            *("--contract", str(_CONTRACT)),
        ],
        "plain": lambda key: [sys.executable, str(_HERE / "plain.py"), _BUCKET, key],
    }
    if way == "assay":
        run([assay, "migrate"], environment, {})
    local.api.restart()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    load = os.getloadavg()[0]
    spent = run(commands[way](f"{sample.rows}.csv"), environment, bench.processes)
    predicted = check(url, way, sample)
    if not bench.keep:
        databases.drop(local.postgres.url, name)
    return Figure(
        way=way,
        rows=sample.rows,
        seconds=spent.seconds,
        inner_seconds=json.loads(spent.output)["seconds"],
        cpu={way: spent.cpu, **spent.servers},
        others=spent.others,
        load=load,
        peak=spent.peak,
    ), predicted


def _make_bucket(local: Local) -> None:
    region = local.s3.settings["ASSAY_S3__REGION"]
    _s3(local).create_bucket(
        Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": region}
    )


def _s3(local: Local) -> Any:
    settings = local.s3.settings
    return boto3.client(  # pyright: ignore[reportUnknownMemberType] - partial stubs
        "s3",
        endpoint_url=settings["ASSAY_S3__ENDPOINT_URL"],
        aws_access_key_id=settings["ASSAY_S3__ACCESS_KEY_ID"],
        aws_secret_access_key=settings["ASSAY_S3__SECRET_ACCESS_KEY"],
        region_name=settings["ASSAY_S3__REGION"],
    )


if __name__ == "__main__":
    typer.run(batch)
