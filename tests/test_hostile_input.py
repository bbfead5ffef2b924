"""Files that hurt: every record leaves through one door, and the other files are still done."""

import gzip
import json
import os
import re
import time
from collections import Counter
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import psutil
import pytest
import zstandard
from demo.samples import HEADER, csv
from hostile_files import AMOUNTS, CASES, HEAD, TIMES, Bad, Case, line
from system import Done, System

from assay.domain.reject import RAW_LIMIT
from assay.pipeline.pump import Policy
from assay.wire.envelope import letters_from_jsonl

MIB = 1 << 20
ANY = Policy(reject_limit=1, patience=60, alone=True)


@pytest.fixture(scope="module")
def done(shared_system: System) -> Done:
    """One run over all of the files."""
    for each in CASES:
        shared_system.objects.write(shared_system.uri(f"in/{each.name}"), each.body)
    arguments = (shared_system.uri("in/"), "--reject-limit", "1")
    return shared_system.batch(*arguments, COLUMNS="10000")  # a line for each complaint


def partition(system: System, name: str) -> str:
    """A file as a partition."""
    items = system.objects.list(system.uri("in/"))
    (found,) = (each.partition for each in items if each.uri.endswith(f"/{name}"))
    return found


def test_the_run_ends_with_65_and_balances(shared_system: System, done: Done) -> None:
    """Each file that cannot be read is complained of, no other is, and briefly."""
    assert (done.exit_code, done.summary["status"]) == (65, "incomplete"), done.errors
    assert "Traceback" not in done.errors
    assert done.summary["files"] == sum(each.says is None for each in CASES)
    complaints = re.split("^error: ", done.errors, flags=re.MULTILINE)[1:]
    assert len(complaints) == sum(each.says is not None for each in CASES)
    assert max(len(each.partition("\n")[0]) for each in complaints) < 1_000
    assert shared_system.balances()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_record_leaves_through_one_door(
    shared_system: System, done: Done, case: Case
) -> None:
    """Counts, codes, fields and bytes are those of the file, or nothing is kept and it is named."""
    at = partition(shared_system, case.name)
    entries = shared_system.query(
        "SELECT read, classified, rejected, duplicate, end_state FROM ledger WHERE partition = %s",
        at,
    )
    if case.says is not None:
        assert not entries
        uri = at.partition("#")[0]
        (complaint,) = (each for each in done.errors.splitlines() if f"error: {uri}" in each)
        assert case.says in complaint
        return
    good = [each for each in case.records if not isinstance(each, Bad)]
    doors = len(set(good)), len(case.rejects), len(good) - len(set(good))
    assert entries == [(len(case.records), *doors, "finished")]
    letters = shared_system.query(
        "SELECT position, code, field, raw FROM dead_letters WHERE partition = %s ORDER BY 1", at
    )
    assert letters == case.rejects
    predicted = shared_system.query(
        "SELECT count(*) FROM transactions_with_predictions WHERE partition = %s",
        at,
    )
    assert predicted == [(len(set(good)),)]


def test_rejects_are_published_byte_by_byte(shared_system: System, done: Done) -> None:
    """The lines under `errors/` hold the same bytes, whatever they are."""
    folder = shared_system.uri(f"errors/{done.summary['run_id']}/")
    published = pl.concat(
        letters_from_jsonl(b"".join(shared_system.objects.read(item)))
        for item in shared_system.objects.list(folder)
    )
    assert Counter(published["raw"]) == Counter(raw for case in CASES for *_, raw in case.rejects)


@pytest.mark.parametrize(
    ("prefix", "column", "meanings"),
    [
        ("AMT-", "amount", AMOUNTS),
        ("TIM-", "timestamp AT TIME ZONE 'UTC'", TIMES),
    ],
    ids=["amounts", "timestamps"],
)
@pytest.mark.usefixtures("done")
def test_what_is_read_means_what_was_written(
    shared_system: System, prefix: str, column: str, meanings: dict[str, str]
) -> None:
    """No amount is rounded and no time is shifted."""
    question = f"SELECT transaction_id, ({column})::text FROM transactions"  # noqa: S608 - ours
    found = shared_system.query(question + " WHERE starts_with(transaction_id, %s)", prefix)
    numbered = {f"{prefix}{number}": meaning for number, meaning in enumerate(meanings.values())}
    assert dict(found) == {name: each for name, each in numbered.items() if each[0].isdigit()}


@pytest.mark.usefixtures("done")
def test_text_is_kept_as_it_was_written(shared_system: System) -> None:
    """Newlines, quotes, marks and what databases and spreadsheets take for commands."""
    found = shared_system.query("SELECT transaction_id, description, merchant FROM transactions")
    texts = {name: (description, merchant) for name, description, merchant in found}
    assert texts["QUO-1"] == ("CORNER\nBAKERY", None)
    assert texts["QUO-2"] == ('CORNER\r\n;"BAKERY";', "\n\\.\n".strip())
    assert texts["QUO-6"] == ('CORNER "BAKERY"', None)
    assert texts["QUO-7"] == (('x"y;\n' * 100).strip(), None)
    assert texts["ENC-4"] == ("\u2615 \ufeff \u202e \U0001f600", None)
    assert texts["RUL-13"] == ("\\N", "NULL")
    assert texts["\\."] == ("\\.", "\\.")
    assert texts["\u20ac\u2615"][0].startswith("=cmd")
    assert texts["utf-16-le-1"] == texts["utf-32-le-1"] == ("CAF\u00c9 \u2615 \U0001f600", None)


def test_thousands_as_the_contract_says(system: System, tmp_path: Path) -> None:
    """What is no number under one contract is one under another, and never a different one."""
    path = system.contract("transactions")
    decimal = '            value: ","\n'
    thousands = '          - property: thousandsSeparator\n            value: "."\n'
    contract = path.read_text("utf-8").replace(decimal, decimal + thousands)
    written = {"-1.234,50": "1234.50", "(1.234.567,8)": "1234567.80", "12.345-": "12345.00"}
    wrong = ["1,234.50", "1.23,50", "12.34", "1.2345", "1.234,505", "1..234"]
    lines = [line(f"T-{number}", amount=text) for number, text in enumerate([*written, *wrong])]
    (tmp_path / "a.csv").write_bytes(b"\n".join([HEAD, *lines]))
    result, _ = system.batch_here(f"{tmp_path}/", contract, ANY)
    assert (result.tally.classified, result.tally.rejected) == (len(written), len(wrong))
    rows = system.query("SELECT amount::text FROM transactions ORDER BY transaction_id")
    assert [amount for (amount,) in rows] == list(written.values())


def test_a_file_that_is_cut_short_is_mended_by_another_delivery(system: System) -> None:
    """What was read of it is kept; the whole file then brings the rest, and nothing twice."""
    whole = csv(30_000, seed=1, broken=0.01)
    packed = {
        "in/a.csv.gz": gzip.compress(whole),
        "in/b.csv.zst": zstandard.compress(csv(30_000, seed=2, broken=0.01)),
    }
    for name, body in packed.items():
        system.objects.write(system.uri(name), body[: len(body) // 2])
    system.put("in/c.csv", csv(100, seed=3, broken=0.0))
    contract = system.contract("transactions").read_text("utf-8")

    result, _ = system.batch_here(system.uri("in/"), contract, ANY)
    assert (result.exit_code, result.files, len(result.problems)) == (65, 1, 2)
    assert all("cut short" in str(each) for each in result.problems.values())
    kept = result.tally
    assert 10_000 < kept.read < 50_000
    again, _ = system.batch_here(system.uri("in/"), contract, ANY)
    assert (again.exit_code, again.tally.read, len(again.problems)) == (65, 0, 2)

    for name, body in packed.items():
        system.objects.write(system.uri(name), body)
    mended, _ = system.batch_here(system.uri("in/"), contract, ANY)
    assert (mended.exit_code, mended.files, mended.tally.read) == (0, 2, 60_000)
    assert mended.tally.duplicate == kept.classified - 100
    assert system.balances()


def test_an_unclosed_quote_near_the_top_costs_one_record(system: System) -> None:
    """Those behind it are read, in the file and in the time that it would take without."""
    records = [line(f"U-{number}", f"SHOP {number % 50}") for number in range(60_000)]
    records[2] = records[2].replace(b";", b';"', 1)
    system.put("in/a.csv", b"\n".join([HEAD, *records]))
    contract = system.contract("transactions").read_text("utf-8")
    result, _ = system.batch_here(system.uri("in/"), contract, ANY)
    assert (result.tally.read, result.tally.classified) == (60_000, 59_999)
    letters = system.query("SELECT position, code, raw FROM dead_letters")
    assert letters == [(2, "unclosed_quote", records[2])]


def measured(system: System, *arguments: str) -> tuple[Done, int]:
    """Runs a batch; how it ended and the most memory that it held, in MiB."""
    contract = str(system.contract("transactions"))
    process = system.start("batch", "run", *arguments, "--contract", contract, COLUMNS="10000")
    # The kernel's own maximum counts the memory of this process too, which was forked from.
    held = [0]
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            held.append(psutil.Process(process.pid).memory_info().rss)
        time.sleep(0.01)
    return system.end(process), max(held) >> 20


def test_lines_without_end_take_no_memory(system: System, tmp_path: Path) -> None:
    """A file of one line is unreadable; a record of 200 MB keeps head, length and digest."""
    folder = tmp_path / "in"
    folder.mkdir()
    size = 200_000_000
    with (folder / "one-line.csv").open("wb") as file:
        file.truncate(size)  # takes no room on disk
    with (folder / "record.csv").open("wb") as file:
        file.write(HEAD + b"\n" + line("L-1") + b"\nL-2;")
        file.truncate(file.tell() + size)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + line("L-3"))
    done, peak = measured(system, f"{folder}/", "--reject-limit", "1")
    assert done.exit_code == 65, done.errors
    assert done.summary["read"] == 3
    assert "one-line.csv" in done.errors
    assert "record.csv" not in done.errors
    digest = sha256(b"L-2;")
    for _ in range(size // 1_000_000):
        digest.update(bytes(1_000_000))
    letters = system.query(
        "SELECT position, code, length, sha256, raw = %s FROM dead_letters",
        b"L-2;" + bytes(RAW_LIMIT - 4),
    )
    assert letters == [(1, "record_too_long", size + 4, digest.digest(), True)]
    assert peak < 600, peak
    assert system.balances()


def test_many_long_records_take_no_memory(system: System, tmp_path: Path) -> None:
    """Chunks, commits and what is published are bounded in bytes, not in records alone."""
    head = (HEADER + ";remark" * 8_000).encode()
    short = line("S-%d") + b";" * 8_000
    long = line("L-%d") + b";" * 7_999 + b";" + b"x" * (MIB - 9_000)
    with (tmp_path / "a.csv").open("wb") as file:
        file.write(head)
        for number in range(40):
            file.write(b"\n" + long % number)
            file.write((b"\n" + short.replace(b"-1,00", b"?")) % number)
    (tmp_path / "b.csv").write_bytes(head + b"".join(b"\n%d" % each for each in range(2_000)))
    done, peak = measured(system, f"{tmp_path}/", "--reject-limit", "1")
    assert done.exit_code == 0, done.errors
    assert (done.summary["classified"], done.summary["rejected"]) == (40, 2_040)
    assert peak < 600, peak
    assert system.balances()


def collected(*names: str) -> dict[str, bytes]:
    """What others have collected because it hurts."""
    hostile = Path(os.environ["ASSAY_TEST_DATA"]) / "hostile"
    files = [each for name in names for each in sorted((hostile / name).rglob("*"))]
    return {
        "-".join(each.relative_to(hostile).parts): each.read_bytes()
        for each in files
        if each.is_file()
    }


@pytest.mark.corpus
def test_files_of_others_are_each_named(system: System, tmp_path: Path) -> None:
    """Under a contract whose headers they do not have; those without any header are done."""
    files = collected("csv-spectrum", "csvkit", "duckdb")
    assert len(files) > 200
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    contract = str(system.contract("transactions"))
    arguments = ("batch", "run", f"{tmp_path}/", "--contract", contract)
    done = system.run(*arguments, COLUMNS="10000")
    assert done.exit_code == 65
    assert "Traceback" not in done.errors
    empty = [name for name, body in files.items() if not body.strip(b"\r\n")]
    assert (done.summary["files"], done.summary["read"]) == (len(empty), 0)
    complaints = [each for each in done.errors.splitlines() if each.startswith("error: ")]
    told = [each.removeprefix("error: ") for each in complaints]
    named = [re.split(": | is ", each, maxsplit=1)[0] for each in told]
    others = files.keys() - set(empty)
    assert sorted(named) == sorted(str(tmp_path.resolve() / name) for name in others)
    assert system.balances()


@pytest.mark.corpus
def test_files_of_others_leave_record_by_record(system: System, tmp_path: Path) -> None:
    """Under a header of ours every byte of them is kept, but for line ends between records."""
    files = {
        f"{name}.csv": body
        for name, body in collected("csv-spectrum", "csvkit", "duckdb").items()
        if not name.endswith((".gz", ".bz2"))
    }
    head = b"Transaction Date,Benificiary (Merchant),Amount\n"
    for name, body in files.items():
        (tmp_path / name).write_bytes(head + body)
    contract = system.contract("devon_pcard").read_text("utf-8")
    result, stopped = system.batch_here(f"{tmp_path}/", contract, ANY)
    assert (stopped, result.exit_code, result.files) == (None, 0, len(files))
    assert result.tally.rejected > 10_000
    kept: dict[str, list[bytes]] = {name: [] for name in files}
    letters = system.query("SELECT partition, raw, code FROM dead_letters ORDER BY 1, position")
    for at, raw, _ in letters:
        kept[unquote(at.partition("#")[0].rpartition("/")[2])].append(raw)
    rows = system.query("SELECT partition FROM ledger WHERE classified > 0 OR duplicate > 0")
    mixed = {unquote(at.partition("#")[0].rpartition("/")[2]) for (at,) in rows}
    assert len(mixed) < 5
    for name in files.keys() - mixed:
        assert _bare(b"".join(kept[name])) == _bare(files[name]), name
    assert system.balances()


def _bare(content: bytes) -> bytes:
    return content.translate(None, b"\r\n")


@pytest.mark.corpus
def test_naughty_strings_as_descriptions(system: System, tmp_path: Path) -> None:
    """Each is kept as it is, but for blanks around it, or rejected for a rule that it breaks."""
    path = Path(os.environ["ASSAY_TEST_DATA"]) / "hostile" / "blns" / "blns.json"
    texts = {f"B-{number}": text for number, text in enumerate(json.loads(path.read_text("utf-8")))}
    lines = [line(name, '"' + text.replace('"', '""') + '"') for name, text in texts.items()]
    (tmp_path / "a.csv").write_bytes(b"\n".join([HEAD, *lines]))
    contract = system.contract("transactions").read_text("utf-8")
    result, _ = system.batch_here(f"{tmp_path}/", contract, ANY)
    assert result.tally.read == len(texts) > 500
    found = dict(system.query("SELECT transaction_id, description FROM transactions"))
    rejects = dict(system.query("SELECT transaction_id, code FROM dead_letters"))
    for name, text in texts.items():
        if not text.strip():
            assert rejects.pop(name) == "missing_description"
        elif "\0" in text:
            assert rejects.pop(name) == "invalid_description"
        else:
            assert found.pop(name) == text.strip()
    assert not found
    assert not rejects
