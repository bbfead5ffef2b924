"""What the producers do between their options and their exit codes."""

import secrets
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO
from uuid import uuid4

from rich.console import Console

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.contract.force import objection_to
from assay.domain.errors import DONE, NOTHING_TO_DO, Fatal
from assay.domain.wording import counted
from assay.wire.framed import Frame
from assay_streaming import bootstrap
from assay_streaming.bootstrap import files
from assay_streaming.ending import overridden, say
from assay_streaming.generator import Generator as Transactions
from assay_streaming.outlet import Outlet, Sent
from assay_streaming.produce import produce as produce_all
from assay_streaming.publish import Published, ending, find
from assay_streaming.publish import publish as publish_all
from assay_streaming.schedule import PresetName, schedule
from assay_streaming.shown import shown


def produce(
    *,
    preset: PresetName | None,
    rate: str | None,
    records: int | None,
    seconds: float | None,
    seed: int | None,
    faults: float,
    topic: str | None,
) -> int:
    """Produces as the options of `assay_streaming.cli` say; returns the exit code.

    From the moment when Kafka is reached the summary is the last line, whatever happens.

    Raises:
        Fatal: the options or settings are wrong, or there is no such topic.
        Unavailable: Kafka is away.
    """
    seed = secrets.randbits(32) if seed is None else seed
    due = schedule(preset, rate, seed)
    settings = overridden(bootstrap.read(bootstrap.KafkaSettings), {"topic": topic})
    transactions = Transactions(seed, datetime.now(UTC), faults=faults)

    def go(sent: Sent, asked: Any) -> None:
        produce_all(transactions, due, sent, asked, records=records, seconds=seconds)

    def summary(sent: Sent) -> dict[str, Any]:
        return {"seed": seed, "produced": sent.produced, "broken": dict(transactions.broken)}

    with bootstrap.outlet_for(settings) as (outlet, frame):
        return _send(outlet, frame, go, summary)


def publish(
    uris: Sequence[str], contract: Path, *, topic: str | None, rejects: Path | None, replace: bool
) -> int:
    """Publishes files as the options of `assay_streaming.cli` say; returns the exit code.

    Raises:
        Fatal: the options or settings are wrong, there is no such topic or file, or the contract
            is wrong or not in force.
        Unavailable: Kafka or S3 is away.
    """
    compiled = _in_force(contract)
    located = [files.located(each) for each in uris]
    settings = overridden(bootstrap.read(files.PublishSettings), {"topic": topic})
    objects = files.objects_for(located, settings)
    items = find(objects, located)
    run_id, published = str(uuid4()), Published()
    if rejects is not None:
        _require_free(rejects, [contract, *files.local_files(items)], replace=replace)

    def go(sent: Sent, asked: Any) -> None:
        with _kept(rejects, replace=replace) as keep:
            publish_all(
                objects,
                items,
                compiled,
                sent,
                asked,
                decompress=bootstrap.decompress,
                published=published,
                run_id=run_id,
                keep=keep,
                destination="" if rejects is None else rejects.absolute().as_uri(),
            )

    def ended() -> tuple[str, int]:
        if items:
            return ending(published)
        Console(stderr=True, highlight=False).print(f"no file matches {' '.join(uris)}")
        return "nothing_to_do", NOTHING_TO_DO

    def summary(sent: Sent) -> dict[str, Any]:
        for partition, error in published.problems.items():
            bootstrap.complain(f"{partition.rpartition('#')[0]}: {error}")
        if count := published.rejected.total():
            _say_rejected(count, published.read, rejects)
        codes = {
            f"{code} {name}".strip(): count
            for (code, name), count in published.rejected.most_common()
        }
        return {
            "run_id": run_id,
            "files": published.files,
            "read": published.read,
            "produced": sent.produced,
            "rejected": codes,
        }

    with bootstrap.outlet_for(settings) as (outlet, frame):
        return _send(outlet, frame, go, summary, ended)


def _send(
    outlet: Outlet,
    frame: Frame,
    go: Callable[[Sent, Any], None],
    summary: Callable[[Sent], dict[str, Any]],
    ending: Callable[[], tuple[str, int]] = lambda: ("done", DONE),
) -> int:
    """Lets `go` send, until it ends or a signal comes; then writes the summary.

    Returns:
        The exit code; `ending` gives it, and the status, where all messages were delivered.
    """
    console = Console(stderr=True)
    began = time.monotonic()
    stopped_by: Exception | None = None
    asked = Event()
    with bootstrap.on_signal(asked.set):
        with shown(console) as show:
            sent = Sent(outlet, asked.is_set, show, frame)
            try:
                go(sent, asked)
            except Exception as error:  # noqa: BLE001 - the summary comes last, whatever happens
                stopped_by = error
        try:
            sent.end()
        except Exception as error:  # noqa: BLE001 - as above
            stopped_by = stopped_by or error
    status, ends_with = ending()
    counts = summary(sent) | sent.counts(time.monotonic() - began)
    if trouble := sent.exit_code if stopped_by is None else say(stopped_by):
        status, ends_with = "incomplete", trouble
    if sent.unanswered:
        messages = counted(sent.unanswered, "message", "messages")
        bootstrap.complain(f"{messages} may not have been delivered")
    if failed := outlet.failed:
        names = ", ".join(f"{name} {count:,}" for name, count in failed.most_common())
        bootstrap.complain(f"messages were not delivered: {names}")
    bootstrap.last_line({"status": status} | counts)
    return ends_with


def _say_rejected(count: int, read: int, kept: Path | None) -> None:
    """Says how many records make no message, and where they are."""
    where = (
        "nor kept anywhere; --rejects FILE keeps them for `assay dead-letters import`"
        if kept is None
        else f"but in {kept}: `assay dead-letters import {kept}` takes them in"
    )
    make = "makes" if count == 1 else "make"
    bootstrap.complain(
        f"{count:,} of {counted(read, 'record', 'records')} {make} no message: not on the topic,"
        f" {where}"
    )


def _in_force(file: Path) -> Contract:
    text = bootstrap.read_text(file, "the contract")
    contract = parse(text, str(file))
    if objection := objection_to(contract, text):
        raise Fatal(f"the contract {file} {objection}")
    return contract


def _require_free(file: Path, read: Sequence[Path], *, replace: bool) -> None:
    """Returns if rejects may be kept in a file: a new one, unless it may be replaced.

    Raises:
        Fatal: the file exists, and may not be replaced or is one of those that are read.
    """
    if not file.exists():
        return
    if any(each.exists() and file.samefile(each) for each in read):
        raise Fatal(f"--rejects {file} is one of the files that are read; name another one")
    if not replace:
        raise Fatal(f"{file} exists; --force replaces it")


@contextmanager
def _kept(file: Path | None, *, replace: bool) -> Generator[Callable[[bytes], object]]:
    """Keeps rejects in a file, or nowhere.

    What is there stays as it is until something is to be kept, even if it is no bytes.

    Raises:
        Fatal: the file cannot be written, or is there meanwhile and may not be replaced.
    """
    if file is None:
        yield len
        return
    opened: list[BinaryIO] = []

    def keep(lines: bytes) -> None:
        with _writing(file):
            if not opened:
                opened.append(file.open("wb" if replace else "xb"))
            opened[0].write(lines)
            opened[0].flush()  # what does not fit is found out before more is published

    try:
        yield keep
    finally:
        for each in opened:
            with _writing(file):
                each.close()


@contextmanager
def _writing(file: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise Fatal(f"{file} cannot be written: {error.strerror}") from None
