"""`assay stream produce` and `publish` as commands, on a real broker."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from rich.console import Console

from assay.contract.document import parse
from assay.domain.chunk import Chunk
from assay.domain.errors import Fatal
from assay.domain.transaction import Transaction
from assay.pipeline.files import FileSource, decode
from assay.wire.envelope import letters_from_jsonl
from assay.wire.json import loads
from assay_adapters.compression.decompress import decompress
from assay_adapters.files.location import located
from assay_adapters.files.objects import LocalObjects
from assay_adapters.kafka import topics as asked_first
from assay_local import topics
from assay_streaming import outlet
from assay_streaming import shown as progress
from assay_streaming.cli import main
from assay_streaming.generator import Generator
from assay_streaming.outlet import Message, Sent
from assay_streaming.produce import produce
from assay_streaming.schedule import PresetName, schedule

Ended = subprocess.CompletedProcess[str]
Assay = Callable[..., Ended]
NOWHERE = "127.0.0.1:1"
CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: cards
version: 1.0.0
status: active
servers: [{server: inbox, type: local, path: ./x.csv, format: csv, delimiter: ";"}]
schema:
  - name: cards
    logicalType: object
    properties:
      - name: transaction_id
        logicalType: string
        customProperties: [{property: derivation, value: {from: content}}]
      - {name: description, logicalType: string}
      - {name: amount, logicalType: number}
      - {name: currency, logicalType: string, customProperties: [{property: default, value: EUR}]}
      - name: timestamp
        logicalType: timestamp
        logicalTypeOptions: {format: ISO_OFFSET_DATE_TIME}
      - {name: operation_type, logicalType: string}
      - {name: side, logicalType: string}
"""
HEADER = "description;amount;timestamp;operation_type;side\n"
GOOD = "BAKERY 12;12.50;2024-01-02T10:11:12Z;payment;debit\n"


@pytest.fixture
def assay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Assay:
    """Runs a command line to its end, in this process and in an empty folder."""

    def run(*words: str, servers: str = NOWHERE) -> Ended:
        for name in os.environ.keys() - environment(servers).keys():
            monkeypatch.delenv(name)
        for name, value in environment(servers).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        if servers == NOWHERE:
            monkeypatch.setattr(asked_first, "_TIMEOUT", 0.3)
        monkeypatch.setattr(sys, "argv", ["assay-stream", *words])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # Typer sets its own
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(words, ended.value.code, out, err)

    return run


def environment(servers: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    return clean | {"ASSAY_KAFKA__BOOTSTRAP_SERVERS": servers, "COLUMNS": "80"}


def summary(ended: Ended) -> dict[str, Any]:
    return json.loads(ended.stdout.splitlines()[-1])


# ------------------------------------------------------------------ produce


def test_what_is_produced_is_on_the_topic(assay: Assay, kafka_servers: str, topic: str) -> None:
    """As many as asked for, all valid, spread over the partitions; the summary says so."""
    ended = assay("produce", "--rate", "max", "--records", "12345", "--seed", "7", "--topic", topic,
                  servers=kafka_servers)  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    found = summary(ended)
    assert found.pop("rate") > 0
    assert found.pop("seconds") > 0
    assert found == {
        "status": "done",
        "seed": 7,
        "produced": 12_345,
        "broken": {},
        "delivered": 12_345,
        "undelivered": 0,
        "failed": {},
    }
    read = topics.read(kafka_servers, topic)
    assert len(read) == 12_345
    for _, value in islice(read, 0, None, 100):
        Transaction.model_validate(loads(value or b""))
    assert len({json.loads(value or b"")["transaction_id"] for _, value in read}) == len(read)


def test_a_signal_stops_it_and_what_is_under_way_is_delivered(
    kafka_servers: str, topic: str
) -> None:
    """SIGTERM: exit 0, and the topic has what the summary counts."""
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("assay-stream")), "produce", "--rate", "300",
         "--faults", "0.5", "--topic", topic],
        env=environment(kafka_servers),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        while not topics.read(kafka_servers, topic):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    found = json.loads(out)
    read = topics.read(kafka_servers, topic)
    assert found["delivered"] == found["produced"] == len(read)
    assert sum(found["broken"].values()) > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "trickle", "--rate", "max"], "not both"),
        (["--preset", "flood"], "Invalid value for '--preset': 'flood' is not one of 'trickle'"),
        (["--rate", "0"], "neither a number"),
        (["--rate", "nan"], "neither a number"),
        (["--rate", "1e-10"], "--rate 1e-10 is too slow: give 0.000001"),
        (["--rate", "5e-324"], "too slow"),
        (["--faults", "2"], "--faults"),
        (["--topic", ""], "--topic: must have 1 or more characters"),
        (["--topic", "errors"], "EVENT_TOPIC: must be another topic than"),
    ],
)
def test_options_that_have_no_meaning_end_with_78(
    assay: Assay, words: list[str], message: str
) -> None:
    """Before Kafka is asked for anything."""
    ended = assay("produce", *words)
    assert ended.returncode == 78
    assert message in " ".join(ended.stderr.replace("│", "").split())


def test_a_topic_that_is_not_there_ends_with_78(
    assay: Assay, contract: Path, kafka_servers: str
) -> None:
    """None is made by the way."""
    path = contract.with_name("cards.csv")
    path.write_text(HEADER + GOOD)
    for words in (["produce"], ["publish", str(path), "--contract", str(contract)]):
        ended = assay(*words, "--topic", "no-such", servers=kafka_servers)
        assert ended.returncode == 78
        assert "there is no topic no-such; `assay stream topics` makes" in ended.stderr
        assert not ended.stdout


def test_kafka_away_ends_with_75(assay: Assay) -> None:
    """In seconds, with a word about it, and without a line for each attempt."""
    ended = assay("produce", "--rate", "5")
    assert ended.returncode == 75
    assert ended.stderr.startswith("error: Kafka is away")
    assert len(ended.stderr.splitlines()) == 1


# ------------------------------------------------------------------ pace


def due(preset: PresetName | None, rate: str | None, count: int) -> list[tuple[float, int]]:
    return list(islice(schedule(preset, rate, seed=1), count))


@pytest.mark.parametrize(
    ("preset", "every", "least", "most"), [("trickle", 0.5, 1, 10), ("gusts", 1.0, 5, 20)]
)
def test_presets(preset: PresetName, every: float, least: int, most: int) -> None:
    """So many records every so often, by chance, all numbers between the bounds."""
    found = due(preset, None, 1_000)
    assert [at for at, _ in found] == [tick * every for tick in range(1_000)]
    assert {count for _, count in found} == set(range(least, most + 1))
    if preset == "trickle":
        assert found == due(None, None, 1_000)


@pytest.mark.parametrize("rate", ["0.000001", "0.1", "3", "7.5", "333", "250000"])
def test_a_rate_is_kept(rate: str) -> None:
    """At any time as many are due as the rate says, in portions that a buffer takes."""
    sent = 0
    for at, count in due(None, rate, 500):
        sent += count
        assert 0 < count <= 5_000
        assert sent <= at * float(rate) + 1e-3
    last = due(None, rate, 500)[-1][0]
    assert sent > last * float(rate) - 5_000


# ------------------------------------------------------------------ what is not delivered


@dataclass
class Blocked:
    """An outlet that takes two messages at a time, of so many at all, and delivers none."""

    failed: Counter[str] = field(default_factory=Counter[str])
    waiting: int = 0
    delivered: int = 0
    room: int = 1_000

    def send(self, messages: Sequence[Message], within: float) -> Sequence[Message]:
        taken = min(2, len(messages), self.room - self.waiting)
        if not taken:
            time.sleep(within)
        self.waiting += taken
        return messages[taken:]

    def flush(self, within: float) -> int:  # noqa: ARG002 - same
        return self.waiting


def test_what_is_not_delivered_is_counted() -> None:
    """Stopped in the middle: what was taken is undelivered, what was not taken is not produced."""
    asked = Event()
    seen: list[int] = []

    def show(sent: Sent) -> None:
        seen.append(sent.produced)
        if len(seen) == 2:
            asked.set()

    sent = Sent(Blocked(), asked.is_set, show)
    sent.put([(None, b"1")] * 7)
    sent.end()
    assert seen == [2, 4]
    assert (sent.produced, sent.unanswered, sent.exit_code) == (4, 4, 75)


def test_what_was_produced_is_delivered_or_undelivered() -> None:
    """The latter has failed, or had no answer by the end."""
    outlet = Blocked(Counter({"UNKNOWN_TOPIC_OR_PART": 3}), delivered=2)
    sent = Sent(outlet, bool, lambda _: None, produced=6, unanswered=1)
    counts = sent.counts(1)
    assert (counts["delivered"], counts["undelivered"]) == (2, 4)
    assert counts["failed"] == {"UNKNOWN_TOPIC_OR_PART": 3}


def test_time_is_over_also_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not taken by then is not produced."""
    monkeypatch.setattr(outlet, "_ROOM", 0.01)
    gives_up = time.monotonic() + 5
    sent = Sent(Blocked(room=3), lambda: time.monotonic() > gives_up, lambda _: None)
    transactions = Generator(1, datetime.now(UTC), faults=0)
    produce(transactions, schedule(None, "max", 1), sent, Event(), seconds=1)
    assert time.monotonic() < gives_up
    sent.end()
    assert (sent.produced, sent.exit_code) == (3, 75)


@pytest.mark.parametrize(
    ("failed", "code"),
    [({}, 0), ({"_MSG_TIMED_OUT": 1}, 75), ({"MSG_SIZE_TOO_LARGE": 1}, 65),
     ({"MSG_SIZE_TOO_LARGE": 1, "_MSG_TIMED_OUT": 1}, 75)],
)  # fmt: skip
def test_the_exit_code_says_whether_to_try_again(failed: dict[str, int], code: int) -> None:
    """What the message itself is the reason of fails again."""
    assert Sent(Blocked(Counter(failed)), bool, lambda _: None).exit_code == code


def test_a_terminal_shows_that_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of 80 columns says what is under way, and that it has stalled."""
    monkeypatch.setattr(progress, "_OFTEN", 0.0)
    monkeypatch.setattr(progress, "_STALLED", -1.0)
    screen = StringIO()
    console = Console(force_terminal=True, file=screen, width=80)
    with progress.shown(console) as show:
        Sent(Blocked(), lambda: False, show).put([(None, b"1")] * 5)
    assert "5 records, 0/s: 0 delivered, 5 under way, 0 failed (stalled)" in screen.getvalue()


# ------------------------------------------------------------------ publish


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / "cards.odcs.yaml"
    path.write_text(CONTRACT)
    return path


def by_batch(path: Path) -> Iterator[dict[str, Any]]:
    """The candidates of a batch run over a file."""
    objects, contract = LocalObjects(), parse(CONTRACT, "cards")
    items = list(objects.list(located(str(path))))
    for event in FileSource(objects, items, contract, decompress).events(lambda _: {}):
        if isinstance(event, Chunk):
            yield from decode(event, contract)[0].iter_rows(named=True)
            return


def test_a_file_is_published(
    assay: Assay, kafka_servers: str, topic: str, contract: Path, tmp_path: Path
) -> None:
    """Every record that makes a message is on the topic under a batch's id; the rest is kept."""
    path = tmp_path / "cards.csv.gz"
    bad = ["MANY;CELLS;1;2;3;4;5\n", "AMOUNT;twelve;2024-01-02T10:11:12Z;payment;debit\n"]
    invalid = "SIDE;1.00;2024-01-02T10:11:12Z;payment;sideways\n"
    path.write_bytes(gzip.compress((HEADER + GOOD + GOOD + "".join(bad) + invalid).encode()))
    ended = assay("publish", str(path), "--contract", str(contract), "--topic", topic,
                  "--rejects", "left.jsonl", servers=kafka_servers)  # fmt: skip
    assert ended.returncode == 65
    assert (
        "error: 2 of 5 records make no message: not on the topic, but in left.jsonl" in ended.stderr
    )
    found = summary(ended)
    run_id = found.pop("run_id")
    assert found.pop("rate") > 0
    assert found.pop("seconds") > 0
    assert found == {
        "status": "some_rejected",
        "files": 1,
        "read": 5,
        "produced": 3,
        "rejected": {"wrong_field_count": 1, "invalid_amount amount": 1},
        "delivered": 3,
        "undelivered": 0,
        "failed": {},
    }

    read = topics.read(kafka_servers, topic)
    published = {key: json.loads(value or b"") for key, value in read}
    expected = list(by_batch(path))
    assert set(published) == {each["transaction_id"].encode() for each in expected}
    assert len(published) == 3  # two equal purchases stay two
    for each in expected:
        message = published[each["transaction_id"].encode()]
        assert {name: message[name] for name in ("currency", "mcc", "timestamp")} == {
            "currency": "EUR",
            "mcc": None,
            "timestamp": "2024-01-02T10:11:12.000000Z",
        }
        assert message["side"] == each["side"]

    letters = letters_from_jsonl((tmp_path / "left.jsonl").read_bytes())
    assert letters["raw"].to_list() == [line.rstrip().encode() for line in bad]
    assert letters["position"].to_list() == [2, 3]
    assert set(letters["source"]) == {"files/cards"}
    assert set(letters["header"]) == {HEADER.rstrip().encode()}
    assert set(letters["run_id"]) == {run_id}
    assert set(letters["destination"]) == {(tmp_path / "left.jsonl").as_uri()}


def test_published_again_it_is_on_the_topic_again(
    assay: Assay, kafka_servers: str, topic: str, contract: Path, tmp_path: Path
) -> None:
    """Under the same ids and with the same content, so that it is a duplicate."""
    path = tmp_path / "cards.csv"
    path.write_text(HEADER + GOOD)
    for _ in range(2):
        ended = assay("publish", str(path), "--contract", str(contract), "--topic", topic,
                      "--rejects", "left.jsonl", "--force", servers=kafka_servers)  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    first, second = topics.read(kafka_servers, topic)
    assert first == second


@pytest.mark.parametrize(
    ("trouble", "code", "message"),
    [
        ("draft", 78, "draft"),
        ("no contract", 78, "cannot be read"),
        ("no file", 65, "does not exist"),
        ("rejects exist", 78, "left.jsonl exists; --force replaces it"),
        ("Kafka away", 75, "Kafka is away"),
    ],
)
def test_what_cannot_be_published_is_said(
    assay: Assay,
    kafka_servers: str,
    topic: str,
    contract: Path,
    *,
    trouble: str,
    code: int,
    message: str,
) -> None:
    """Before anything is sent."""
    path = contract.with_name("cards.csv")
    path.write_text(HEADER + GOOD)
    match trouble:
        case "draft":
            contract.write_text(CONTRACT.replace("active", "draft"))
        case "no contract":
            contract.unlink()
        case "no file":
            path.unlink()
        case "rejects exist":
            path.with_name("left.jsonl").touch()
        case _:
            pass
    servers = NOWHERE if trouble == "Kafka away" else kafka_servers
    ended = assay("publish", str(path), "--contract", str(contract), "--topic", topic,
                  "--rejects", "left.jsonl", servers=servers)  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr


def test_what_is_read_is_not_replaced(
    assay: Assay, kafka_servers: str, topic: str, contract: Path
) -> None:
    """Neither a file under any of its names nor the contract, even with `--force`."""
    path = contract.with_name("cards.csv")
    path.write_text(HEADER + GOOD)
    path.with_name("hard.csv").hardlink_to(path)
    path.with_name("soft.csv").symlink_to(path)
    for name in ("cards.csv", "hard.csv", "soft.csv", contract.name):
        ended = assay("publish", str(path), "--contract", str(contract), "--topic", topic,
                      "--rejects", name, "--force", servers=kafka_servers)  # fmt: skip
        assert ended.returncode == 78
        assert f"--rejects {name} is one of the files that are read" in ended.stderr
    assert path.read_text() == HEADER + GOOD
    assert topics.read(kafka_servers, topic) == []


def test_rejects_are_replaced_when_there_are_records(
    assay: Assay, kafka_servers: str, topic: str, contract: Path
) -> None:
    """A publish that fails before leaves no file, or the one that was there."""
    path, left = contract.with_name("cards.csv"), contract.with_name("left.jsonl")

    def publish(content: str, rejects: str = "left.jsonl") -> Ended:
        path.write_text(content)
        return assay("publish", str(path), "--contract", str(contract), "--topic", topic,
                     "--rejects", rejects, "--force", servers=kafka_servers)  # fmt: skip

    assert publish("<html>\n").returncode == 65
    assert not left.exists()
    left.write_text("old")
    assert publish("<html>\n").returncode == 65
    assert left.read_text() == "old"
    nowhere = publish(HEADER + GOOD, "gone/left.jsonl")
    assert nowhere.returncode == 78
    assert "gone/left.jsonl cannot be written" in nowhere.stderr
    assert topics.read(kafka_servers, topic) == []
    assert publish(HEADER + GOOD).returncode == 0
    assert left.read_bytes() == b""


@pytest.mark.parametrize("nothing", ["nothing*.csv", "empty/"])
def test_where_no_file_matches_there_is_nothing_to_do(
    assay: Assay, kafka_servers: str, topic: str, contract: Path, nothing: str
) -> None:
    """Exit 99, as a batch run has it."""
    contract.with_name("empty").mkdir()
    ended = assay("publish", nothing, "--contract", str(contract), "--topic", topic,
                  servers=kafka_servers)  # fmt: skip
    assert (ended.returncode, summary(ended)["status"]) == (99, "nothing_to_do")
    assert ended.stderr == f"no file matches {nothing}\n"


def test_rejects_that_do_not_fit_end_it(
    assay: Assay, kafka_servers: str, topic: str, contract: Path
) -> None:
    """What is under way is delivered and counted by the summary, which is the last line."""
    path = contract.with_name("cards.csv")
    path.write_text(HEADER + GOOD + "AMOUNT;twelve;2024-01-02T10:11:12Z;payment;debit\n")
    ended = assay("publish", str(path), "--contract", str(contract), "--topic", topic,
                  "--rejects", "/dev/full", "--force", servers=kafka_servers)  # fmt: skip
    assert ended.returncode == 78
    assert ended.stderr == "error: /dev/full cannot be written: No space left on device\n"
    found = summary(ended)
    assert [found[name] for name in ("status", "produced", "delivered", "read")] == [
        "incomplete", 1, 1, 0
    ]  # fmt: skip
    assert len(topics.read(kafka_servers, topic)) == 1


def test_a_fault_hides_no_summary(
    assay: Assay, kafka_servers: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1; its message, which may hold content, is not shown."""

    def fail(*_: object) -> None:
        raise ValueError(topic)

    monkeypatch.setattr(Generator, "take", fail)
    ended = assay("produce", "--topic", topic, servers=kafka_servers)
    assert (ended.returncode, summary(ended)["status"]) == (1, "incomplete")
    assert "a fault of Assay" in ended.stderr
    assert topic not in ended.stderr


def test_a_file_of_something_else_fails_alone(
    assay: Assay, kafka_servers: str, topic: str, contract: Path, tmp_path: Path
) -> None:
    """The other files are published; the exit code says that one was not."""
    (tmp_path / "a.csv").write_text("<html>\n")
    (tmp_path / "b.csv").write_text(HEADER + GOOD)
    ended = assay("publish", f"{tmp_path}/*.csv", "--contract", str(contract), "--topic", topic,
                  servers=kafka_servers)  # fmt: skip
    assert ended.returncode == 65
    assert "a.csv" in ended.stderr
    assert len(topics.read(kafka_servers, topic)) == 1


def test_places_of_two_kinds_are_two_runs() -> None:
    """A Fatal, as for batch runs."""
    from assay_streaming.bootstrap import files  # noqa: PLC0415 - with all its libraries

    with pytest.raises(Fatal, match="once for each"):
        files.objects_for(["s3://a/b", "file:///c"], Any)  # pyright: ignore[reportArgumentType] - never read
