"""A time series database as a target: what there was in each minute, by category.

Points are lines of InfluxDB's protocol
(https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/), one for each minute,
category, currency, side and partition (`<topic>/<topic's id>/<number>`) in a range: `count`, the
sums `amount` and `confidence`, and `first`, where the range begins. Whoever wants a minute adds up
its points; a mean is a sum by the count. So nothing is held until a minute is over, and a record
that comes late, however late, is one more point of its minute.

A point stands in its minute as many nanoseconds after the full one as its range's first position,
modulo a minute. That makes it another point than those of other ranges, and the same one when its
range comes again: InfluxDB puts it in the place of the one before. QuestDB counts microseconds at
most, and does so by the table's keys, `first` among them.
"""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

import httpx
import polars as pl

from assay.domain.errors import AssayError, Fatal, Unavailable
from assay.domain.outcome import Outcome
from assay.domain.position import TOPICS, Range
from assay.domain.reject import faults, no_rejects
from assay_adapters.http.exchange import Exchange
from assay_adapters.http.statuses import retry_after
from assay_adapters.series.config import SeriesConfig

_MINUTE: Final = 60_000_000_000  # nanoseconds
_TIMES: Final = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
"""What 63 bits of nanoseconds hold."""

_TEXT: Final = {"content-type": "text/plain; charset=utf-8"}
_SLICE: Final = 5_000  # lines of a request
_KEYS: Final = ("category", "currency", "side", "partition")
_TABLE: Final = (
    'CREATE TABLE IF NOT EXISTS "{name}" ("category" SYMBOL, "currency" SYMBOL, "side" SYMBOL,'
    ' "partition" SYMBOL, "count" LONG, "amount" DOUBLE, "confidence" DOUBLE, "first" LONG,'
    ' "timestamp" TIMESTAMP) TIMESTAMP("timestamp") PARTITION BY DAY WAL DEDUP UPSERT'
    ' KEYS("timestamp", "category", "currency", "side", "partition", "first")'
)
_AWAY: Final = frozenset({408, 425, 429})
_ADVICE: Final = {
    401: "it wants a login: set ASSAY_SERIES__TOKEN, or __USERNAME and __PASSWORD",
    403: "this login may not write there",
    404: "check ASSAY_SERIES__URL, and that the database or bucket is there",
}


class SeriesTarget:
    """The port `assay.ports.target.Target` on a time series database.

    It never takes records of a category that no line can hold, and of times before 1970, after
    2262, or older than is kept.
    """

    by_range = True

    def __init__(self, config: SeriesConfig, now: Callable[[], float] = time.time) -> None:
        """Connects at the first record.

        Args:
            config: where, and how.
            now: seconds since 1970, for what is too old.
        """
        self._config, self._now = config, now
        url = httpx.URL(str(config.url))
        self._path = url.raw_path.decode()
        self._exchange = Exchange(
            str(url.copy_with(raw_path=b"")),
            config,
            name="the time series database",
            section="SERIES",
            headers=_login(config),
        )
        self._is_made = config.kind == "influxdb"

    def deliver(self, outcome: Outcome) -> pl.DataFrame:
        """Writes the points of an outcome's ranges, as the port says.

        Raises:
            Unavailable: it is away, or has no room just now: 408, 425, 429, 5xx.
            Fatal: another answer.
        """
        classified = outcome.classified.with_columns(
            partition=outcome.records["partition"].gather(outcome.classified["row"])
        )
        is_held = self._is_held()
        held = classified.filter(is_held)
        for each in outcome.ranges:
            own = held.filter(partition=each.partition)
            topic = f"{outcome.source.removeprefix(TOPICS)}/{each.numbering}"
            named = own.with_columns(partition=pl.lit(f"{topic}/{each.partition}"))
            for lines in self._lines(named, each):
                self._write(lines)
        return _rejects(classified.filter(~is_held))

    def close(self) -> None:
        """Closes the connections."""
        self._exchange.close()

    def _is_held(self) -> pl.Expr:
        earliest, latest = _TIMES
        if self._config.keep_days is not None:
            now = datetime.fromtimestamp(self._now(), UTC)
            earliest = max(earliest, now - timedelta(days=self._config.keep_days))
        is_in_time = pl.col("timestamp").is_between(earliest, latest, closed="left")
        # Of a backslash before a blank or at the end it does not say what it means.
        return is_in_time & pl.col("category").str.contains(r"^[^\n\r\\]+$")

    def _lines(self, records: pl.DataFrame, own: Range) -> Iterator[bytes]:
        """The points of a range, in slices."""
        points = (
            records.with_columns(minute=pl.col("timestamp").dt.truncate("1m"))
            .group_by("minute", *_KEYS, maintain_order=True)
            .agg(pl.len().alias("count"), pl.sum("amount"), pl.sum("confidence"))
        )
        tags = [f"{name}={{}}" for name in _KEYS]
        line = pl.format(
            f"{self._config.measurement},{','.join(tags)}"
            " count={}i,amount={},confidence={},first={}i {}\n",
            *(pl.col(name).cast(pl.String).str.replace_all(r"([ ,=])", r"\${1}") for name in _KEYS),
            "count",
            pl.col("amount").cast(pl.String),
            pl.col("confidence").cast(pl.String),
            pl.lit(own.first),
            pl.col("minute").dt.epoch("ns") + own.first % _MINUTE,
        )
        for part in points.select(line.alias("line")).iter_slices(_SLICE):
            yield "".join(part["line"]).encode()

    def _write(self, lines: bytes) -> None:
        if not self._is_made:
            query = quote(_TABLE.format(name=self._config.measurement))
            self._require(self._exchange.send("GET", f"/exec?query={query}", {}, b""))
            self._is_made = True
        self._require(self._exchange.send("POST", self._path, _TEXT, lines))

    def _require(self, response: httpx.Response) -> None:
        if not response.is_success:
            raise self._meant(response)

    def _meant(self, response: httpx.Response) -> AssayError:
        status, said = response.status_code, f"{self._exchange.where} answered"
        if status in _AWAY or response.is_server_error:
            return Unavailable(f"{said} {status}", retry_after=retry_after(response.headers))
        advice = _ADVICE.get(status, "check ASSAY_SERIES__URL and __KIND")
        return Fatal(f"{said} {status}: {advice}")


def _rejects(refused: pl.DataFrame) -> pl.DataFrame:
    if refused.is_empty():
        return no_rejects()
    found = refused.select(
        "row",
        "transaction_id",
        code=pl.lit("target_refused"),
        message=pl.lit("its time is not kept, or its category has no place in a line"),
    )
    return faults(found, stage="commit")


def _login(config: SeriesConfig) -> dict[str, str]:
    if config.token is not None:
        scheme = "Token" if config.kind == "influxdb" else "Bearer"
        return {"authorization": f"{scheme} {config.token.get_secret_value()}"}
    if config.username is None:
        return {}
    password = "" if config.password is None else config.password.get_secret_value()
    pair = b64encode(f"{config.username}:{password}".encode()).decode()
    return {"authorization": f"Basic {pair}"}
