"""`dead-letters redrive`, `discard` and `import`: what is asked for, and what is refused."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, text

from assay.domain.reject import LETTERS
from assay_adapters.postgres import lookup
from assay_cli import bootstrap

Assay = Callable[..., subprocess.CompletedProcess[str]]

CONTRACT = Path(__file__).parents[3] / "contracts" / "transactions.odcs.yaml"


@pytest.fixture
def letters(books: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Three letters of files, and an API that nobody should need to ask."""
    monkeypatch.setenv("ASSAY_API__URL", "http://127.0.0.1:1")
    with books.begin() as connection:
        connection.execute(
            text(
                "UPDATE ledger SET source = 'files/transactions'; "
                "UPDATE positions SET source = 'files/transactions'; "
                "UPDATE dead_letters SET source = 'files/transactions', raw = 'T;A;1', header ="
                " 'id;description;amount;timestamp;merchant;operation_type;side'"
            )
        )
    return books


def _rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(query)).all())


def _summary(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return json.loads(ended.stdout.splitlines()[-1])


def _words(ended: subprocess.CompletedProcess[str]) -> str:
    return " ".join((ended.stdout + ended.stderr).split())


def test_what_fails_again_is_said(assay: Assay, letters: Engine) -> None:
    """A dry run and a run find the same; no model is asked about what cannot be decoded."""
    dry = assay("dead-letters", "redrive", "--all", "--contract", str(CONTRACT), "--dry-run")
    assert dry.returncode == 0
    assert "Would be rejected again" in dry.stderr
    assert _summary(dry)["rejected"] == 3
    ended = assay("dead-letters", "redrive", "--all", "--contract", str(CONTRACT), "--limit", "2")
    assert ended.returncode == 0
    assert "2 tried = 0 classified + 0 duplicate + 2 rejected again" in ended.stderr
    assert all(len(line) <= 80 for line in (ended.stderr + dry.stderr).splitlines())
    summary = _summary(ended)
    assert (summary["status"], summary["letters"], summary["closed"]) == ("done", 2, 0)
    assert _rows(letters, "SELECT kind, status FROM runs") == [("redrive", "done")]
    assert _rows(letters, "SELECT code, attempt FROM dead_letters ORDER BY id") == [
        ("wrong_field_count", 2),
        ("wrong_field_count", 2),
        ("missing_side", 1),
    ]
    proved = assay("reconcile")
    assert proved.returncode == 0
    assert "2 of those read are dead letters that were tried again." in proved.stdout
    assert "taken in" not in proved.stdout


def test_a_dry_run_that_fails_has_closed_nothing(
    assay: Assay, letters: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its summary counts what it has read by then."""
    monkeypatch.setattr(lookup, "_PAGE", 1)
    raw = "T1;COFFEE;-3,80;2024-05-02 08:15:00;Bar;payment;debit"
    with letters.begin() as connection:
        connection.execute(text("UPDATE dead_letters SET raw = :raw"), {"raw": raw.encode()})
        connection.execute(text("UPDATE dead_letters SET source = 'files/other' WHERE id > 1"))
    ended = assay("dead-letters", "redrive", "--all", "--contract", str(CONTRACT), "--dry-run")
    assert ended.returncode == 78
    summary = _summary(ended)
    assert (summary["status"], summary["classified"], summary["closed"]) == ("failed", 1, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "files/transactions (3 letters)"),
        (["--edit", "colour=red"], "colour is no column"),
        (["--edit", "side"], "side names no value; write COLUMN=VALUE"),
        (["--edit", "side=debit", "--edit", "side=credit"], "edited twice"),
        (["--edit", "timestamp=31.05.2024"], "RFC 3339, as 2024-05-31T18:03:09Z"),
        (["--edit", "amount=1,50"], "amount is not a number, as 1234.50; nothing was claimed"),
        (["--edit", "currency=EURO"], "currency is not an ISO 4217 code"),
        (["--edit", "description="], "description is missing"),
        (["--edit", "amount=-1", "--edit", "side=credit"], "only a debit may be"),
        (["--contract", "gone.yaml"], "gone.yaml cannot be read: No such file"),
        (["--contract", "binary.yaml"], "it is no UTF-8"),
        (["--contract", "draft.yaml"], "draft.yaml is draft"),
        (["--contract", str(CONTRACT), "--contract", str(CONTRACT)], "second contract"),
        (["--patience", "soon"], "soon is no duration"),
    ],
)
def test_what_cannot_be_done_is_refused(
    assay: Assay, letters: Engine, words: list[str], said: str
) -> None:
    """Exit 78, before anything is claimed."""
    Path("binary.yaml").write_bytes(b"\xff")
    draft = CONTRACT.read_text("utf-8").replace("status: active", "status: draft")
    Path("draft.yaml").write_text(draft, "utf-8")
    ended = assay("dead-letters", "redrive", "--all", *words)
    assert ended.returncode == 78
    assert said.replace(" ", "") in _words(ended).replace(" ", "").replace("│", "")
    assert _rows(letters, "SELECT redrive FROM dead_letters WHERE redrive IS NOT NULL") == []


def test_what_has_to_be_read_again_wants_settings(assay: Assay, letters: Engine) -> None:
    """Exit 78 before anything is claimed, unless others are chosen."""
    with letters.begin() as connection:
        connection.execute(
            text(
                "UPDATE dead_letters SET source = 'kafka/t';"
                " UPDATE dead_letters SET sha256 = sha256(raw) WHERE id = (SELECT min(id) FROM"
                " dead_letters)"
            )
        )
    ended = assay("dead-letters", "redrive", "--all")
    assert ended.returncode == 78
    assert "ASSAY_KAFKA__BOOTSTRAP_SERVERS" in _words(ended)
    assert _rows(letters, "SELECT redrive FROM dead_letters WHERE redrive IS NOT NULL") == []
    others = _rows(letters, "SELECT id FROM dead_letters WHERE sha256 IS NULL")
    chosen = [word for (number,) in others for word in ("--id", str(number))]
    assert _summary(assay("dead-letters", "redrive", *chosen))["rejected"] == 2


_BEYOND = str(2**63)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--since", "999999d"], "999999d ago is before the year 1"),
        (["list", "--until", "999999d"], "999999d ago is before the year 1"),
        (["list", "--id", _BEYOND], "must be a whole number, as"),
        (["list", "--max-attempts", _BEYOND], "or less"),
        (["list", "--limit", _BEYOND], "or less"),
        (["show", _BEYOND], "must be a whole number, as"),
        (["redrive", "--all", "--limit", _BEYOND], "or less"),
        (["redrive", "--all", "--max-attempts", _BEYOND], "or less"),
        (["discard", "--all", "--reason", " "], "say why"),
    ],
)
def test_what_no_table_holds_is_a_usage_error(assay: Assay, words: list[str], said: str) -> None:
    """Times before all calendars, numbers beyond those of PostgreSQL, and no reason."""
    ended = assay("dead-letters", *words)
    assert ended.returncode == 78
    assert said.replace(" ", "") in _words(ended).replace(" ", "").replace("│", "")


def test_the_greatest_numbers_are_asked_for(assay: Assay, letters: Engine) -> None:
    """They find nothing, or all."""
    greatest = str(2**63 - 1)
    assert assay("dead-letters", "list", "--id", greatest, "--limit", "1000000000").returncode == 0
    assert assay("dead-letters", "list", "--max-attempts", "32767").returncode == 0
    assert assay("dead-letters", "show", greatest).returncode == 65
    ended = assay("dead-letters", "redrive", "--id", greatest, "--limit", "1000000000")
    assert ended.returncode == 99
    assert _rows(letters, "SELECT DISTINCT state FROM dead_letters") == [("open",)]


@pytest.mark.parametrize("command", [["redrive"], ["discard", "--reason", "x"]], ids=" ".join)
def test_letters_that_nobody_chose_are_left_alone(
    assay: Assay, letters: Engine, command: list[str]
) -> None:
    """Without a choice it is refused, as is `--all` beside one; the message names the ways."""
    for words in ([], ["--all", "--id", "1"]):
        ended = assay("dead-letters", *command, *words)
        assert ended.returncode == 78
        assert "by --code, --id, --run, --until, …, or else --all" in _words(ended)
    assert _rows(letters, "SELECT DISTINCT state, redrive, attempt FROM dead_letters") == [
        ("open", None, 1)
    ]


def test_where_the_model_is_away_the_letters_are_freed(assay: Assay, letters: Engine) -> None:
    """Exit 75 after the patience; nothing has changed."""
    raw = "T1;COFFEE;-3,80;2024-05-02 08:15:00;Bar;payment;debit"
    with letters.begin() as connection:
        connection.execute(text("UPDATE dead_letters SET raw = :raw"), {"raw": raw.encode()})
    ended = assay(
        "dead-letters", "redrive", "--contract", str(CONTRACT), "--patience", "1s", "--id", "1"
    )
    assert ended.returncode == 75
    assert _summary(ended)["status"] == "failed"
    assert "assay doctor" in _words(ended)
    assert _rows(letters, "SELECT attempt FROM dead_letters WHERE attempt > 1") == []
    assert _rows(letters, "TABLE redrives") == []
    assert _rows(letters, "SELECT status FROM runs") == [("failed",)]


def test_a_discard_says_what_it_does(assay: Assay, letters: Engine) -> None:
    """Who, when and why is kept; a dry run changes nothing."""
    because = "--reason", "test data", "--by", "ann"
    dry = assay("dead-letters", "discard", *because, "--run", "run-1", "--dry-run")
    assert dry.returncode == 0
    assert "2 dead letters are to be discarded." in dry.stdout
    assert _rows(letters, "SELECT state FROM dead_letters WHERE state <> 'open'") == []
    ended = assay("dead-letters", "discard", *because, "--run", "run-1", "--json")
    assert json.loads(ended.stdout) == {"discarded": 2, "open": 0, "held": 0}
    noted = _rows(letters, "SELECT letter, action, by, reason, code FROM dead_letter_actions")
    assert noted == [(n, "discarded", "ann", "test data", "missing_side") for n in (1, 2)]
    assert assay("dead-letters", "discard", *because, "--run", "run-1").returncode == 99
    assert assay("reconcile").returncode == 0


def test_what_was_exported_is_imported(
    assay: Assay, letters: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As JSON lines; a line that is none is named."""
    out = assay("dead-letters", "export", "--out", "letters.jsonl", "--format", "jsonl", "--json")
    assert json.loads(out.stdout) == {"file": "letters.jsonl", "letters": 3}
    assert Path("letters.jsonl").stat().st_mode & 0o077 == 0
    ended = assay("dead-letters", "import", "letters.jsonl")
    assert (ended.returncode, _summary(ended)["known"]) == (99, 3)
    assert "3 of 3 letters were known here already" in _words(ended)
    with letters.begin() as connection:
        connection.execute(
            text("TRUNCATE dead_letters, ledger, positions, transactions, predictions")
        )
    body = Path("letters.jsonl").read_bytes()
    standard = io.TextIOWrapper(io.BytesIO(body + b"{}\n"))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=standard.buffer))
    broken = assay("dead-letters", "import", "-")
    assert broken.returncode == 65
    assert "standard input: line 4 is no dead letter" in _words(broken)
    assert _summary(broken)["status"] == "failed"
    ended = assay("dead-letters", "import", "letters.jsonl", "--by", "ann")
    assert (ended.returncode, _summary(ended)["imported"]) == (0, 3)
    assert "3 letters are open now, also what was closed or discarded where it" in _words(ended)
    assert _rows(letters, "SELECT DISTINCT action, by FROM dead_letter_actions") == [
        ("imported", "ann")
    ]
    assert assay("reconcile").returncode == 0
    assert assay("dead-letters", "import", "gone.jsonl").returncode == 65

    later = body.replace(b'"assay.attempt":1', b'"assay.attempt":2', 2)
    Path("later.jsonl").write_bytes(later)
    ended = assay("dead-letters", "import", "later.jsonl")
    counts = [_summary(ended)[name] for name in ("status", "imported", "renewed", "known")]
    assert (ended.returncode, counts) == (0, ["done", 0, 2, 1])
    assert "2 letters that were imported before" in _words(ended)
    assert assay("dead-letters", "import", "later.jsonl").returncode == 99


def test_one_letter_is_a_letter(assay: Assay, letters: Engine) -> None:
    """In whatever is said of it."""
    out = ("dead-letters", "export", "--out", "one.jsonl", "--format", "jsonl", "--id", "1")
    assert "Wrote 1 dead letter to one.jsonl." in _words(assay(*out))
    assert "1 of 1 letter was known here already, and is refused." in _words(
        assay("dead-letters", "import", "one.jsonl")
    )
    dry = assay("dead-letters", "redrive", "--id", "1", "--contract", str(CONTRACT), "--dry-run")
    assert "0 of 1 letter are valid now" in _words(dry)
    with letters.begin() as connection:
        connection.execute(text("TRUNCATE dead_letters, ledger, positions"))
    ended = assay("dead-letters", "import", "one.jsonl")
    assert "1 letter is open now, also what was closed" in _words(ended)


def test_only_who_reads_standard_input_needs_it(
    assay: Assay, letters: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is closed, as under cron, files are taken in all the same."""
    assert _rows(letters, "SELECT count(*) FROM dead_letters") == [(3,)]
    monkeypatch.setattr(sys, "stdin", None)
    assay("dead-letters", "export", "--out", "all.jsonl", "--format", "jsonl")
    ended = assay("dead-letters", "import", "all.jsonl")
    assert (ended.returncode, _summary(ended)["known"]) == (99, 3)
    ended = assay("dead-letters", "import", "-")
    assert ended.returncode == 65
    assert "error: standard input is closed" in ended.stderr


def test_an_export_replaces_files_alone(assay: Assay, letters: Engine) -> None:
    """Neither a pipe nor a folder; a link stays one, and its file is replaced."""
    os.mkfifo("pipe")
    Path("folder").mkdir()
    for name in ("pipe", "folder"):
        ended = assay("dead-letters", "export", "--out", name, "--force")
        assert ended.returncode == 78
        assert f"{name} is no regular file" in ended.stderr
    assert Path("pipe").is_fifo()
    Path("folder", "there.csv").touch()
    Path("link").symlink_to("folder/there.csv")
    assert assay("dead-letters", "export", "--out", "link").returncode == 78
    assert assay("dead-letters", "export", "--out", "link", "--force").returncode == 0
    assert Path("link").is_symlink()
    assert Path("folder", "there.csv").read_text("utf-8-sig").count("\n") == 4
    assert [each.name for each in Path("folder").iterdir()] == ["there.csv"]
    assert _rows(letters, "SELECT count(*) FROM dead_letters") == [(3,)]


def test_a_file_of_something_else_is_refused(assay: Assay, engine: Engine) -> None:
    """It is said what is taken in; nothing is."""
    Path("cards.csv").write_text("Reference;Date\nA-1;02/05/2024\n")
    ended = assay("dead-letters", "import", "cards.csv")
    assert ended.returncode == 65
    said = "cards.csv: line 1 is no dead letter: the line: must be JSON; what is taken in are"
    assert said in _words(ended)
    assert _rows(engine, "SELECT id FROM dead_letters") == []


@pytest.mark.usefixtures("engine")
def test_a_topic_of_something_else_is_refused(
    assay: Assay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that holds messages, but no letter; one that holds nothing is none of that."""

    def on(topic: str) -> Iterator[tuple[pl.DataFrame, int]]:
        yield pl.DataFrame(schema=LETTERS), 3 if topic == "transactions" else 0

    monkeypatch.setattr(bootstrap, "letters_on", on)
    ended = assay("dead-letters", "import", "--topic", "transactions")
    assert ended.returncode == 65
    assert "transactions holds 3 messages and no dead letters: name one" in _words(ended)
    assert assay("dead-letters", "import", "--topic", "empty").returncode == 99
