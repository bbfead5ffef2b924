"""How `assay top` looks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Final
from urllib.parse import urlsplit

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.domain.dependencies import OF_LETTERS, of_pipeline
from assay.domain.wording import counted
from assay_cli.output import printable
from assay_cli.services import DOORS, Lag, Service, lags, unread

_STATES: Final = {"ready": "green", "waiting": "yellow", "silent": "red"}
_WAITS: Final = {
    "relay": "letters wait: the topic, Kafka or PostgreSQL is away",
    "retry": "trying again waits",
}
_IN_ONE_COLUMN: Final = 4  # partitions; more of them stand in two
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Picture:
    """What is to be seen.

    Attributes:
        at: when.
        services: those that are shown, in order.
        letters: how many there are by state; None where that is not known.
        left_out: services that were killed, probably, and not days ago.
        notes: what else must be said.
    """

    at: datetime
    services: Sequence[Service]
    letters: Mapping[str, int] | None
    left_out: int
    notes: Sequence[str]


def drawn(picture: Picture) -> RenderableType:
    """The picture for a console of 80 columns and more."""
    parts: list[RenderableType] = [_head(picture)]
    if picture.services:
        parts += list(_paces(picture.services)) or [Text("")]
        parts.append(_services(picture.services))
        parts += [text for each in picture.services for text in (*_trouble(each), *_mail(each))]
    else:
        parts.append(Text("\nNo streaming service runs that PostgreSQL knows of."))
        parts.append(Text("Classifiers and connectors are shown where --url names them."))
    if found := lags(picture.services):
        parts += [Text(""), _lags(found)]
    return Group(*parts, Text(""), *_foot(picture))


def _head(picture: Picture) -> Text:
    number = len(picture.services)
    return Text.assemble(
        ("assay top", "bold"),
        f"   {picture.at:%Y-%m-%d %H:%M:%S} UTC   {number} service{'s' * (number != 1)}",
    )


def _services(services: Sequence[Service]) -> Table:
    rows = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    rows.add_column("service", overflow="fold")  # the only one that may become narrower
    rows.add_column("state", no_wrap=True)
    for name in ("records/s", *DOORS, "window"):
        rows.add_column(name, justify="right", no_wrap=True)
    for each in services:
        rows.add_row(_name(each), Text(each.state, _STATES.get(each.state, "")), *_numbers(each))
    if len(services) > 1:
        rows.add_row("together", "", *_sums(services), style="bold")
    return rows


def _numbers(service: Service) -> list[str]:
    latest = service.latest
    if latest is None or service.is_silent:
        return ["-"] * 5
    window = f"{latest.window_chunks}/{latest.window_bytes / _MIB:,.0f} MiB"
    return [_rate(service), *(f"{latest.totals[door]:,.0f}" for door in DOORS), window]


def _rate(service: Service) -> str:
    rates = service.rates()
    return "-" if rates is None else f"{sum(rates[door] for door in DOORS):,.0f}"


def _sums(services: Sequence[Service]) -> list[str]:
    known = [rates for each in services if (rates := each.rates()) is not None]
    rate = f"{sum(each[door] for each in known for door in DOORS):,.0f}" if known else "-"
    heard = [each.latest for each in services if each.latest and not each.is_silent]
    return [rate, *(f"{sum(each.totals[door] for each in heard):,.0f}" for door in DOORS), ""]


def _name(service: Service) -> str:
    told = service.latest.pipeline if service.latest else None
    return printable(f"{service.named.kind or told or 'service'} {_place(service.named.url)}")


def _place(url: str) -> str:
    """Machine and port, the former where it is another one."""
    where = urlsplit(url)
    local = where.hostname in {"127.0.0.1", "localhost"}
    return printable(f"{'' if local else where.hostname}:{where.port}")


def _trouble(service: Service) -> Iterator[Text]:
    """What a service waits for."""
    latest = service.latest
    if latest is None or service.is_silent:
        return
    names = of_pipeline(latest.pipeline) if latest.waiting is None else OF_LETTERS
    for each in sorted({*latest.away, *latest.open}):
        breaker = "breaker open" if each in latest.open else "asked again"
        waits = _WAITS.get(each, f"{printable(names.get(each, each))} is away")
        yield Text(f"{_name(service)}: {waits}, {breaker}", "yellow")


def _paces(services: Sequence[Service]) -> Iterator[Text]:
    """How much consumers take on at a time, those that take the same together."""
    groups: dict[tuple[int, int], list[Service]] = {}
    for each in services:
        if (pace := _pace(each)) is not None:
            groups.setdefault((pace["chunk_records"], pace["call_records"]), []).append(each)
    for (chunk, call), group in groups.items():
        paces = [pace for each in group if (pace := _pace(each)) is not None]
        under_way, most = (
            sum(each[name] for each in paces) for name in ("calls_under_way", "calls")
        )
        names = f"{', '.join(map(_name, group))}: " if len(groups) > 1 else ""
        yield Text(
            f"{names}chunks up to {chunk:,} records, calls up to {call:,};"
            f" {under_way} of {most} calls under way"
        )


def _pace(service: Service) -> Mapping[str, int] | None:
    """What a consumer says of it; a dead-letter service says it of each redrive alone."""
    latest = service.latest
    if latest is None or service.is_silent or latest.waiting is not None:
        return None
    return latest.pace or None


def _mail(service: Service) -> Iterator[Text]:
    """What a dead-letter service does besides the letters that it tries again."""
    latest = service.latest
    if latest is None or service.is_silent or latest.waiting is None:
        return
    rates = service.rates()
    rate = f" ({rates['published']:,.0f}/s)" if rates else ""
    waiting = sum(latest.waiting.values())
    letters = counted(int(latest.totals["published"]), "letter", "letters")
    wait = "waits" if waiting == 1 else "wait"
    yield Text(f"{_name(service)}: {letters} published{rate}, {waiting:,} {wait}")


def _lags(found: Sequence[Lag]) -> Table:
    columns = 1 if len(found) <= _IN_ONE_COLUMN else 2
    is_named = len({each.source for each in found}) > 1
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for _ in range(columns):
        grid.add_column("partition", no_wrap=True)
        grid.add_column("lag", justify="right", no_wrap=True, min_width=9)
        grid.add_column("read by", no_wrap=True, overflow="ellipsis")
    height = -(-len(found) // columns)
    parts = [found[at : at + height] for at in range(0, len(found), height)]
    for row in zip_longest(*parts):
        cells: list[str] = []
        for each in row:
            cells += _lag(each, is_named=is_named) if each is not None else [""] * 3
        grid.add_row(*cells)
    return grid


def _lag(each: Lag, *, is_named: bool) -> list[str]:
    topic = f"{(each.source or '').removeprefix('kafka/')} " if is_named else ""
    reader = "nobody" if each.url is None else _place(each.url)
    lag = "?" if each.lag is None else f"{each.lag:,}"
    return [printable(f"{topic}{each.partition}"), lag, reader]


def _foot(picture: Picture) -> list[RenderableType]:
    found = lags(picture.services)
    lines: list[Text] = []
    known = [each.lag for each in found if each.lag is not None]
    if known:
        to_come = sum(known)
        lines.append(Text(f"{to_come:,} offsets to come, of the partitions that consumers own"))
    for source, partitions in unread(picture.services).items():
        where = f"{source.removeprefix('kafka/')}: partition{'s' * (len(partitions) > 1)}"
        text = f"{where} {', '.join(partitions)}: no consumer is seen"
        lines.append(Text(printable(text), "yellow"))
    if picture.letters is not None:
        states = ", ".join(f"{number:,} {state}" for state, number in picture.letters.items())
        lines.append(Text(f"dead letters: {states}"))
    if picture.left_out:
        them = "service is" if picture.left_out == 1 else "services are"
        lines.append(
            Text(f"{picture.left_out} {them} left out: no answer, though no end is noted", "dim")
        )
    lines += [Text(printable(each), "yellow") for each in picture.notes]
    return [*lines]
