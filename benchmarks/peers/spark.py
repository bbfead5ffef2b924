# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "httpx==0.28.1",
#     "pandas>=2.3,<3",
#     "pyarrow==26.0.1",
#     "pyspark==4.2.0",
# ]
# ///
"""PySpark on `local[*]`, with the sources and sinks that come with it.

All but the call of the API runs in the JVM. Structured Streaming reads up to 200,000 messages a
micro-batch (`availableNow`), `from_json` reads them; a batch is one CSV file in S3 over S3A, read
with a schema. What breaks a rule goes to the dead-letter topic, or to a table of errors. The others
go to `mapInPandas` in Arrow batches of 10,000, each of which is one call of the API, as JSON. Both
tables are written by JDBC with `reWriteBatchedInserts` and 10,000 rows a batch, from a cached
frame, so that nothing is asked twice. Serial GC, a heap of up to 2 GiB, no user interface, as many
partitions as the topic or the file has. The jars are fetched before.

At least once: a micro-batch whose tables were written and whose checkpoint was not fails at the
first key that is there already, as the two tables are two transactions (each a transaction a
partition). It keeps no books. There is no retry of a call but that of Spark's task.

It needs Java 17 or 21 (`apt-get install openjdk-17-jre-headless`, `brew install openjdk@17`), on
the path or named in `JAVA_HOME`.

Run as a process: `spark.py stream TOPIC GROUP RECORDS LETTERS`, which ends with the topic;
`spark.py batch BUCKET KEY`; `spark.py fetch`, which fetches the jars. `BENCHMARK_SPARK_JARS` names
their folder.
"""

# pyright: basic, reportMissingImports=false
# Its packages are in an environment of its own (see README.md), where nothing is checked.

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

_PACKAGES: Final = (
    "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0",
    "org.postgresql:postgresql:42.7.8",
    "org.apache.hadoop:hadoop-aws:3.5.0",
    # In place of the bundle, which is 600 MB of all of AWS.
    *(
        f"software.amazon.awssdk:{each}:2.35.4"
        for each in ("s3", "s3-transfer-manager", "sts", "apache-client")
    ),
)
# Spark carries its own of all but the bundle.
_EXCLUDED: Final = (
    "software.amazon.awssdk:bundle",
    "org.apache.hadoop:hadoop-client-api",
    "org.apache.hadoop:hadoop-client-runtime",
    *(f"{each}:*" for each in ("io.netty", "org.slf4j", "org.xerial.snappy", "at.yawk.lz4")),
)
_CALL: Final = 10_000
_TURN: Final = 200_000

_MESSAGE: Final = (
    "transaction_id string, description string, amount string, currency string, timestamp string,"
    " merchant string, operation_type string, side string, broken string"
)
_LINE: Final = (
    "id string, description string, amount string, timestamp string, merchant string,"
    " operation_type string, side string, broken string"
)
_ANSWERED: Final = (
    "transaction_id string, description string, amount string, currency string,"
    " timestamp timestamp, merchant string, operation_type string, side string,"
    " model_version string, category string, confidence double, needs_review boolean"
)
_TRANSACTION: Final = (
    *("transaction_id", "description", "amount", "currency", "timestamp", "merchant"),
    *("operation_type", "side"),
)
_PREDICTION: Final = ("transaction_id", "model_version", "category", "confidence", "needs_review")


def _session(**more: str) -> SparkSession:
    os.environ["PYSPARK_PYTHON"] = sys.executable  # of the workers
    folder = os.environ["BENCHMARK_SPARK_JARS"]
    settings = {
        "spark.driver.extraClassPath": f"{folder}/jars/*",
        "spark.driver.memory": "2g",
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(_CALL),
        "spark.log.level": "ERROR",
        **more,
    }
    builder: Any = SparkSession.builder.master("local[*]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _stop(session: SparkSession) -> None:
    """Ends the JVM as well, so that its CPU seconds count."""
    gateway: Any = session.sparkContext._gateway  # noqa: SLF001 - there is no public way
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()


def _ask(url: str) -> Any:
    """A function that adds what the API says of each row."""

    def ask(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        with httpx.Client(base_url=url, timeout=30) as client:
            for frame in frames:
                if frame.empty:
                    continue
                asked = frame.assign(timestamp=frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
                response = client.post(
                    "/predict",
                    content=asked.to_json(orient="records", date_format="iso"),
                    headers={"content-type": "application/json"},
                )
                answers = pd.DataFrame(json.loads(response.raise_for_status().content))
                if not answers["transaction_id"].equals(
                    frame["transaction_id"].reset_index(drop=True)
                ):
                    raise ValueError("the API answered for other records than it was asked about")
                answers.index = frame.index
                yield frame.assign(
                    model_version=answers["model_version"],
                    category=answers["category"],
                    confidence=answers["confidence_score"],
                    needs_review=answers["needs_review"],
                )

    return ask


def _table(frame: DataFrame, name: str) -> None:
    url = urlsplit(os.environ["ASSAY_POSTGRES__URL"])
    (
        frame.write.format("jdbc")
        .option(
            "url",
            f"jdbc:postgresql://{url.hostname}:{url.port}{url.path}"
            "?reWriteBatchedInserts=true&stringtype=unspecified",
        )
        .option("driver", "org.postgresql.Driver")
        .option("user", url.username or "")
        .option("password", url.password or "")
        .option("dbtable", name)
        .option("batchsize", 10_000)
        .mode("append")
        .save()
    )


def _store(transactions: DataFrame) -> None:
    """Asks the API about these, and writes both tables."""
    answered = transactions.mapInPandas(_ask(os.environ["ASSAY_API__URL"]), _ANSWERED).persist()
    _table(answered.select(*_TRANSACTION), "transactions")
    _table(answered.select(*_PREDICTION), "predictions")
    answered.unpersist()


def _valid() -> Any:
    """What the other contenders hold a record against as well."""
    return f.coalesce(
        f.length("transaction_id").between(1, 128)
        & f.length("description").between(1, 1024)
        & (f.length("currency") == 3)  # noqa: PLR2004 - ISO 4217
        & f.col("amount").rlike(r"^\d{1,16}(\.\d{1,2})?$")
        & f.col("timestamp").isNotNull()
        & f.col("operation_type").isin("payment", "direct_debit", "transfer", "refund")
        & f.col("side").isin("debit", "credit"),
        f.lit(False),  # noqa: FBT003 - a literal
    )


def stream(topic: str, group: str, records: str, letters: str) -> None:
    """Reads a topic to its end; the last line of output has the time."""
    del records
    began = time.monotonic()
    session = _session()
    servers = os.environ["ASSAY_KAFKA__BOOTSTRAP_SERVERS"]
    messages = (
        session.readStream.format("kafka")
        .option("kafka.bootstrap.servers", servers)
        .option("subscribe", topic)
        .option("groupIdPrefix", group)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", _TURN)
        .load()
    )

    def keep(batch: DataFrame, number: int) -> None:
        del number
        read = f.from_json(
            f.col("value").cast("string"), _MESSAGE, {"columnNameOfCorruptRecord": "broken"}
        )
        rows = (
            batch.select("value", read.alias("read"))
            .select("value", "read.*")
            .withColumn("timestamp", f.try_to_timestamp("timestamp"))
            .withColumn("valid", _valid() & f.col("broken").isNull())
            .persist()
        )
        _store(rows.where("valid").select(*_TRANSACTION))
        (
            rows.where("NOT valid")
            .select("value")
            .write.format("kafka")
            .option("kafka.bootstrap.servers", servers)
            .option("topic", letters)
            .save()
        )
        rows.unpersist()

    with tempfile.TemporaryDirectory() as folder:
        query = (
            messages.writeStream.foreachBatch(keep)
            .option("checkpointLocation", folder)
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
    seconds = time.monotonic() - began
    _stop(session)
    print(json.dumps({"seconds": round(seconds, 3)}))


def batch(bucket: str, key: str) -> None:
    """Moves one file; the last line of output has the time."""
    began = time.monotonic()
    session = _session(
        **{
            "spark.hadoop.fs.s3a.endpoint": os.environ["ASSAY_S3__ENDPOINT_URL"],
            "spark.hadoop.fs.s3a.endpoint.region": os.environ["ASSAY_S3__REGION"],
            "spark.hadoop.fs.s3a.access.key": os.environ["ASSAY_S3__ACCESS_KEY_ID"],
            "spark.hadoop.fs.s3a.secret.key": os.environ["ASSAY_S3__SECRET_ACCESS_KEY"],
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
            "spark.sql.session.timeZone": "Europe/Paris",
            "spark.sql.files.maxPartitionBytes": "16m",
        }
    )
    lines = session.read.csv(
        f"s3a://{bucket}/{key}",
        schema=_LINE,
        sep=";",
        header=True,
        mode="PERMISSIVE",
        columnNameOfCorruptRecord="broken",
    )
    amount = f.regexp_replace(f.regexp_replace("amount", "^-", ""), ",", ".")
    moment = f.try_to_timestamp("timestamp", f.lit("yyyy-MM-dd HH:mm:ss"))
    rows = (
        lines.withColumnRenamed("id", "transaction_id")
        .withColumns({"amount": amount, "timestamp": moment, "currency": f.lit("EUR")})
        .withColumn("valid", _valid() & f.col("broken").isNull())
    )
    _store(rows.where("valid").select(*_TRANSACTION))
    _table(
        rows.where("NOT valid").select(
            f.to_json(f.struct("transaction_id", "description", "broken")).alias("line"),
            f.lit("breaks a rule").alias("error"),
        ),
        "errors",
    )
    seconds = time.monotonic() - began
    _stop(session)
    print(json.dumps({"seconds": round(seconds, 3)}))


def fetch() -> None:
    """Fetches the jars."""
    session = _session(
        **{
            "spark.jars.ivy": os.environ["BENCHMARK_SPARK_JARS"],
            "spark.jars.packages": ",".join(_PACKAGES),
            "spark.jars.excludes": ",".join(_EXCLUDED),
        }
    )
    _stop(session)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"stream": stream, "batch": batch, "fetch": fetch}[command](*arguments)
