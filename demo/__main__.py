"""The main job on real servers: files in S3 become classified rows, and the books balance.

Everything runs on this machine and ends with the demo; nothing is left behind.
"""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psycopg
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from assay_local import Local, LocalError, servers
from demo.samples import csv

CONTRACT = Path(__file__).parents[1] / "contracts" / "transactions.odcs.yaml"
BUCKET = "assay-demo"
FILES = {"2024-q1.csv": (2_500, 1), "2024-q2.csv.gz": (2_500, 2), "2024-q3.csv": (2_500, 3)}

console = Console(highlight=False)


class DemoFailed(Exception):
    """A step of the demo did not end as it should."""


def main() -> int:
    """Runs the demo; returns its exit code."""
    console.rule("[bold]Assay[/]: every record leaves through exactly one door")
    try:
        with _started() as local:
            # Whatever servers the environment names are the user's own, and no place for a demo.
            own = {name: each for name, each in os.environ.items() if not name.startswith("ASSAY_")}
            _show({**own, **local.settings})
    except (DemoFailed, LocalError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}")
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the servers are stopped")
        return 130
    return 0


@contextmanager
def _started() -> Generator[Local]:
    with servers(durable=False, environment={}) as local:
        with console.status("Starting PostgreSQL, S3 and the model API …"):
            local.start("postgres", "s3", "api")
        console.print("Running here: PostgreSQL, S3 (an emulator) and the model API.\n")
        yield local


def _show(environment: Mapping[str, str]) -> None:
    _assay(environment, "migrate")
    s3 = _bucket(environment)
    for name, (records, seed) in FILES.items():
        _put(s3, f"inbox/{name}", records, seed)
    console.print(f"1. {len(FILES)} files of invented transactions lie in s3://{BUCKET}/inbox/.")
    first = _run(environment, "inbox/")

    console.print("\n2. Each record has left through one door.")
    _print_doors(first)
    _assay(environment, "reconcile", show=True)
    with psycopg.connect(environment["ASSAY_POSTGRES__URL"]) as connection:
        _print_predictions(connection)
        _print_rejects(connection)

    console.print("\n3. The same records come again, in files of other names.")
    for name, (records, seed) in FILES.items():
        _put(s3, f"again/{name}", records, seed)
    _print_doors(_run(environment, "again/"))

    console.print("\n4. The first files are asked for once more.")
    _run(environment, "inbox/", expected=99)
    console.print("   Nothing to do: exit code 99.")
    _assay(environment, "reconcile")
    console.print(Panel.fit(_NEXT, title="Try next", border_style="green"))


_NEXT = """\
[bold]uv run assay up[/]                            the servers, to stay
[bold]uv run assay migrate[/]                       the tables
[bold]uv run assay contract new FILE.csv --out FILE.odcs.yaml[/]
  drafts how it is written: decide what is marked, then set status: active
[bold]uv run assay batch run FILE.csv --contract FILE.odcs.yaml --dry-run[/]
[bold]uv run assay batch run FILE.csv --contract FILE.odcs.yaml[/]
[bold]uv run assay dead-letters list[/]             what was rejected, and why
[bold]uv run assay down --wipe[/]                   all gone"""


def _assay(
    environment: Mapping[str, str], *arguments: str, expected: int = 0, show: bool = False
) -> str:
    """Runs a command of `assay`; returns what it wrote on standard output."""
    command = [str(Path(sys.executable).with_name("assay")), *arguments]
    done = subprocess.run(  # noqa: S603 - our own command
        command, env=environment, stdout=None if show else subprocess.PIPE, text=True, check=False
    )
    if done.returncode != expected:
        raise DemoFailed(f"{' '.join(command[1:])} ended with {done.returncode}, not {expected}")
    return done.stdout or ""


def _run(environment: Mapping[str, str], prefix: str, *, expected: int = 0) -> dict[str, Any]:
    uri = f"s3://{BUCKET}/{prefix}"
    arguments = ("batch", "run", uri, "--contract", str(CONTRACT))
    console.print(f"   [bold]assay batch run {uri} --contract {CONTRACT.name}[/]")
    return json.loads(_assay(environment, *arguments, expected=expected).splitlines()[-1])


def _bucket(environment: Mapping[str, str]) -> Any:
    s3: Any = boto3.client(  # pyright: ignore[reportUnknownMemberType] - partial stubs
        "s3",
        endpoint_url=environment["ASSAY_S3__ENDPOINT_URL"],
        aws_access_key_id=environment["ASSAY_S3__ACCESS_KEY_ID"],
        aws_secret_access_key=environment["ASSAY_S3__SECRET_ACCESS_KEY"],
        region_name=(region := environment["ASSAY_S3__REGION"]),
    )
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region})
    return s3


def _put(s3: Any, key: str, records: int, seed: int) -> None:
    body = csv(records, seed=seed)
    s3.put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(body) if ".gz" in key else body)


def _print_doors(summary: Mapping[str, Any]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("read", "classified", "rejected", "duplicate"):
        table.add_column(name, justify="right")
    doors = [summary[name] for name in ("classified", "rejected", "duplicate")]
    table.add_row(*(f"{each:,}" for each in (summary["read"], *doors)))
    console.print(table)
    balances = summary["read"] == sum(doors)
    rate = summary["read"] / summary["seconds"]
    console.print(
        f"   {summary['read']:,} = {' + '.join(f'{each:,}' for each in doors)}: "
        f"{'[green]the books balance[/]' if balances else '[red]they do not balance[/]'}"
        f" ({summary['seconds']:.1f} s, {rate:,.0f} records/s)"
    )
    if not balances:
        raise DemoFailed("the books do not balance")


def _print_predictions(connection: psycopg.Connection) -> None:
    table = Table("description", "amount", "category", box=box.SIMPLE_HEAD, title="Predictions")
    table.title_justify = "left"
    table.add_column("confidence", justify="right")
    for description, amount, side, category, confidence, needs_review in connection.execute(
        """
        SELECT DISTINCT ON (category) description, amount, side, category, confidence, needs_review
        FROM transactions JOIN predictions USING (transaction_id)
        ORDER BY category, confidence DESC, transaction_id LIMIT 9
        """
    ):
        sign = "-" if side == "debit" else "+"
        review = Text(" review", style="yellow") if needs_review else Text("")
        table.add_row(
            description, f"{sign}{amount:,}", category, Text(f"{confidence:.2f}") + review
        )
    console.print(table)


def _print_rejects(connection: psycopg.Connection) -> None:
    table = Table("code", "field", box=box.SIMPLE_HEAD, title="Rejects, kept as dead letters")
    table.title_justify = "left"
    table.add_column("records", justify="right")
    for code, field, count in connection.execute(
        "SELECT code, field, count(*) FROM dead_letters GROUP BY code, field ORDER BY 3 DESC, 1"
    ):
        table.add_row(code, field or "", f"{count:,}")
    console.print(table)
    for (place,) in connection.execute("SELECT DISTINCT destination FROM dead_letters ORDER BY 1"):
        console.print(f"   Published under {place}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
