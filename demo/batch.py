"""Files in S3 become classified rows."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import psycopg
from rich.text import Text

from demo.samples import csv
from demo.steps import assay, console, last_line, print_doors, table

CONTRACT = Path(__file__).parents[1] / "contracts" / "transactions.odcs.yaml"
BUCKET = "assay-demo"
FILES = {"2024-q1.csv": (2_500, 1), "2024-q2.csv.gz": (2_500, 2), "2024-q3.csv": (2_500, 3)}


def show(environment: Mapping[str, str]) -> None:
    """Shows it; the tables are there."""
    console.rule("Files", align="left")
    s3 = bucket(environment)
    for name, (records, seed) in FILES.items():
        _put(s3, f"inbox/{name}", records, seed)
    console.print(f"1. {len(FILES)} files of invented transactions lie in s3://{BUCKET}/inbox/.")
    first = _run(environment, "inbox/")

    console.print("\n2. Each record has left through one door.")
    print_doors(first)
    assay(environment, "reconcile", show=True)
    with psycopg.connect(environment["ASSAY_POSTGRES__URL"]) as connection:
        _print_predictions(connection)
        _print_rejects(connection)

    console.print("\n3. The same records come again, in files of other names.")
    for name, (records, seed) in FILES.items():
        _put(s3, f"again/{name}", records, seed)
    print_doors(_run(environment, "again/"))

    console.print("\n4. The first files are asked for once more.")
    _run(environment, "inbox/", expected=99)
    console.print("   Nothing to do: exit code 99.")
    assay(environment, "reconcile")


def _run(environment: Mapping[str, str], prefix: str, *, expected: int = 0) -> dict[str, Any]:
    uri = f"s3://{BUCKET}/{prefix}"
    arguments = ("batch", "run", uri, "--contract", str(CONTRACT))
    console.print(f"   [bold]assay batch run {uri} --contract {CONTRACT.name}[/]")
    return last_line(assay(environment, *arguments, expected=expected))


def bucket(environment: Mapping[str, str]) -> Any:
    """Makes the demo's bucket; returns a client."""
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


def _print_predictions(connection: psycopg.Connection) -> None:
    shown = table(
        "description",
        "amount",
        "category",
        "confidence",
        numbers=("confidence",),
        title="Predictions",
    )
    for description, amount, side, category, confidence, needs_review in connection.execute(
        """
        SELECT DISTINCT ON (category) description, amount, side, category, confidence, needs_review
        FROM transactions JOIN predictions USING (number)
        ORDER BY category, confidence DESC, transaction_id LIMIT 9
        """
    ):
        sign = "-" if side == "debit" else "+"
        review = Text(" review", style="yellow") if needs_review else Text("")
        shown.add_row(
            description, f"{sign}{amount:,}", category, Text(f"{confidence:.2f}") + review
        )
    console.print(shown)


def _print_rejects(connection: psycopg.Connection) -> None:
    shown = table(
        "code", "field", "records", numbers=("records",), title="Rejects, kept as dead letters"
    )
    for code, field, count in connection.execute(
        "SELECT code, field, count(*) FROM dead_letters GROUP BY code, field ORDER BY 3 DESC, 1"
    ):
        shown.add_row(code, field or "", f"{count:,}")
    console.print(shown)
    for (place,) in connection.execute("SELECT DISTINCT destination FROM dead_letters ORDER BY 1"):
        console.print(f"   Published under {place}", soft_wrap=True)
