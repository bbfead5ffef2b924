"""How quick a batch run is, from S3 over the model API into PostgreSQL, and what it costs."""

from pathlib import Path
from typing import Annotated, Any, Final

import boto3
import typer
from compare import Prepared, Work, compare
from contenders import ASSAY, Ready
from harness import Api, Bench, Rejects, alone, numbers
from sample import LEAST, Ids, write

from assay_local import Local

_CONTRACT: Final = Path(__file__).parents[1] / "contracts" / "transactions.odcs.yaml"


def batch(
    *,
    records: Annotated[int, typer.Option(min=LEAST, help="Records of the file.")] = 1_000_000,
    sizes: Annotated[
        str, typer.Option(help="Several such numbers, with commas: is peak memory the same?")
    ] = "",
    runs: Annotated[int, typer.Option(min=1, help="Runs of each way, in turns.")] = 3,
    against: Annotated[
        str, typer.Option(help="Who does the same work as well, with commas: plain, spark.")
    ] = "",
    api: Annotated[Api, typer.Option(help="Which API is asked: a stub, or the model's.")] = "model",
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
    compare(
        BATCH,
        sizes=numbers(sizes, LEAST) if sizes else [records],
        ids=ids,
        against=against,
        api=api,
        runs=runs,
        as_json=as_json,
        keep=keep,
    )


def _prepare(bench: Bench, rows: int, ids: Ids) -> Prepared:
    path = bench.folder / f"{rows}.csv"
    sample = alone(write, path, rows, ids)
    bucket = f"benchmark-{rows}"
    region = bench.local.s3.settings["ASSAY_S3__REGION"]
    client = s3_client(bench.local)
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    client.upload_file(str(path), bucket, path.name)
    if not bench.keep:
        path.unlink()

    def command(way: Ready, name: str) -> list[str]:
        del name
        if way.contender.name != "assay":
            return way.command("batch", bucket, path.name)
        file = f"s3://{bucket}/{path.name}"
        return [ASSAY, "batch", "run", file, "--contract", str(_CONTRACT)]

    def rejects(name: str) -> Rejects:
        del name
        return Rejects(table="errors")

    return Prepared(sample, command, rejects)


def s3_client(local: Local) -> Any:
    """Asks the local S3."""
    settings = local.s3.settings
    return boto3.client(  # pyright: ignore[reportUnknownMemberType] - partial stubs
        "s3",
        endpoint_url=settings["ASSAY_S3__ENDPOINT_URL"],
        aws_access_key_id=settings["ASSAY_S3__ACCESS_KEY_ID"],
        aws_secret_access_key=settings["ASSAY_S3__SECRET_ACCESS_KEY"],
        region_name=settings["ASSAY_S3__REGION"],
    )


BATCH: Final = Work("batch", "S3 to PostgreSQL", ("postgres", "s3", "api"), _prepare)


if __name__ == "__main__":
    typer.run(batch)
