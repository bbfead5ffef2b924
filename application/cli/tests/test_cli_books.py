"""`reconcile` and `dead-letters`: what the tables say."""

import csv
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from assay.domain.books import Report, Unfinished
from assay.domain.tally import Tally
from assay_cli import bootstrap
from assay_cli.offsets import Bounds, Topic
from assay_cli.output import decoded, printable
from assay_cli.spreadsheet import cell

Assay = Callable[..., subprocess.CompletedProcess[str]]

_NONE = set[str | None]()


def _list(assay: Assay, *words: str) -> dict[str, Any]:
    ended = assay("dead-letters", "list", "--json", *words)
    assert ended.returncode == 0
    return json.loads(ended.stdout)


def _update(engine: Engine, values: str, **parameters: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE dead_letters SET {values}"), parameters)  # noqa: S608 - ours


@pytest.mark.parametrize("words", [["reconcile"], ["dead-letters", "list"]], ids=" ".join)
def test_without_tables_the_way_to_them_is_named(
    assay: Assay, empty: str, words: list[str]
) -> None:
    """Exit 78: `assay migrate` is due."""
    del empty
    ended = assay(*words)
    assert ended.returncode == 78
    assert "assay migrate" in ended.stderr


def test_balanced_books_are_proved(assay: Assay, books: Engine) -> None:
    """The doors add up to what was read; partitions that are open are no fault."""
    del books
    ended = assay("reconcile", "--json")
    assert ended.returncode == 0
    document = json.loads(ended.stdout)
    assert document["balanced"] is True
    assert (document["read"], document["classified"], document["rejected"]) == (5, 2, 3)
    assert document["differences"] == []
    assert [each["partition"] for each in document["unfinished"]] == ["s3://cards/june.csv#v1"]
    ended = assay("reconcile")
    assert ended.returncode == 0
    assert "The books balance" in ended.stdout


def test_every_difference_is_named(assay: Assay, books: Engine) -> None:
    """A letter and a prediction have gone: exit 65, and where."""
    with books.begin() as connection:
        connection.execute(text("DELETE FROM dead_letters WHERE transaction_id = 'd'"))
        connection.execute(
            text(
                "DELETE FROM predictions USING transactions"
                " WHERE predictions.number = transactions.number AND transaction_id = 'a'"
            )
        )
    ended = assay("reconcile", "--json")
    assert ended.returncode == 65
    named = {(each["what"], each["partition"]) for each in json.loads(ended.stdout)["differences"]}
    assert ("dead letters", "s3://cards/june.csv#v1") in named
    assert ("transactions with a prediction", "s3://cards/may.csv#v1") in named
    ended = assay("reconcile")
    assert ended.returncode == 65
    assert "The books do not balance" in ended.stdout
    assert "s3://cards/june.csv#v1" in ended.stdout
    assert "expected 1, found 0" in ended.stdout


def test_a_proof_is_noted_for_those_who_watch(assay: Assay, books: Engine) -> None:
    """With how many differences it has found; a role that may only read proves all the same."""
    noted = text(
        "SELECT status, (summary ->> 'differences')::int FROM runs WHERE kind = 'reconcile'"
    )
    assert assay("reconcile").returncode == 0
    with books.begin() as connection:
        connection.execute(text("DELETE FROM dead_letters WHERE transaction_id = 'd'"))
    assert assay("reconcile").returncode == 65
    with books.begin() as connection:
        assert connection.execute(noted).all() == [("balanced", 0), ("unbalanced", 1)]
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    ended = assay("reconcile")
    assert ended.returncode == 65
    assert "the result is not noted" in ended.stderr


def test_a_topic_made_anew_waits_as_a_whole_and_the_way_on_is_named(
    assay: Assay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many partitions differ, the command stands there once; a topic that fits has none."""
    there = [Unfinished(f"kafka/{name}", "0", 90, 0, "old") for name in ("anew", "gone", "same")]
    books = (*there, Unfinished("kafka/anew", "1", 9, 0, "old"))
    report = Report(1, Tally(), 0, 0, 0, 0, (), books, ())
    topics = {
        "anew": Topic("new", {0: Bounds(2, 60)}),
        "same": Topic("old", {0: Bounds(0, 100)}),
    }
    monkeypatch.setattr(bootstrap, "reconcile", lambda: report)
    monkeypatch.setattr(bootstrap, "topics", lambda: topics.get)
    document = json.loads(assay("reconcile", "--json").stdout)
    assert [each["to_come"] for each in document["topics"]] == [58, 10]
    ended = assay("reconcile")
    assert ended.returncode == 65
    assert "The books do not balance: 3 differences." in ended.stdout
    assert [line for line in ended.stdout.splitlines() if line.startswith("To go on")] == [
        f"To go on, if this is the right cluster: assay stream accept-gap --topic {each}"
        for each in ("anew", "gone")
    ]
    del topics["anew"], topics["same"]
    monkeypatch.setattr(bootstrap, "reconcile", lambda: replace(report, unfinished=books[1:2]))
    assert "The books do not balance: 1 difference." in assay("reconcile").stdout


def test_letters_are_counted_and_listed(assay: Assay, books: Engine) -> None:
    """All are counted, the latest are listed, and no content is shown."""
    del books
    found = _list(assay, "--limit", "2")
    assert found["total"] == 3
    assert [each["letters"] for each in found["counts"]] == [3]
    assert [each["position"] for each in found["letters"]] == [0, 3]
    ended = assay("dead-letters", "list")
    assert ended.returncode == 0
    assert "missing_side" in ended.stdout
    assert "june.csv @ 0" in ended.stdout
    assert "record 0" not in ended.stdout
    assert all(len(line) <= 80 for line in ended.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["--run", "run-2"], {"d"}),
        (["--source", "files", "--code", "missing_side"], {"c", None, "d"}),
        (["--code", "missing_side", "--code", "invalid_side"], {"c", None, "d"}),
        (["--code", "invalid_side"], _NONE),
        (["--stage", "validate"], {"c", None, "d"}),
        (["--stage", "classify", "--stage", "commit"], _NONE),
        (["--state", "closed"], {"c"}),
        (["--state", "closed", "--state", "open"], {"c", None, "d"}),
        (["--since", "1h"], {None, "d"}),
        (["--since", "2024-05-01T08:00", "--until", "2024-05-02"], {"c"}),
        (["--since", "2024-05-01T08:30+02:00", "--until", "2024-05-01T08:30"], _NONE),
        (["--until", "2024-05-01T08:30:01"], {"c"}),
    ],
)
def test_filters_choose_letters(
    assay: Assay, books: Engine, words: list[str], ids: set[str | None]
) -> None:
    """All that is given must apply; counts, list and export agree."""
    _update(
        books,
        "state = 'closed', created_at = '2024-05-01 08:30Z' WHERE transaction_id = 'c'",
    )
    found = _list(assay, *words)
    assert {each["transaction_id"] for each in found["letters"]} == ids
    assert found["total"] == len(ids)
    ended = assay("dead-letters", "export", "--out", "x.csv", "--json", *words)
    assert json.loads(ended.stdout) == {"file": "x.csv", "letters": len(ids)}


def test_positions_are_explained_by_their_kind(assay: Assay, books: Engine) -> None:
    """Those of files and of topics, as far as they are shown."""
    shown = assay("dead-letters", "list").stdout
    assert "A file's positions" in shown
    assert "A topic's positions" not in shown
    _update(books, "source = 'kafka/transactions', partition = '2' WHERE transaction_id = 'd'")
    shown = assay("dead-letters", "list").stdout
    assert "A file's positions" in shown
    assert "A topic's positions" in shown
    shown = assay("dead-letters", "list", "--source", "kafka/transactions").stdout
    assert "A file's positions" not in shown
    assert "2 @ 0" in shown


def test_no_letters_are_no_fault(assay: Assay, engine: Engine) -> None:
    """Empty tables: exit 0, and it is said."""
    del engine
    ended = assay("dead-letters", "list")
    assert ended.returncode == 0
    assert "No dead letters." in ended.stdout


def test_no_letters_like_these(assay: Assay, books: Engine) -> None:
    """Where there are others it is not said that there are none, and their codes are named."""
    del books
    ended = assay("dead-letters", "list", "--code", "invalid_side")
    assert ended.returncode == 0
    assert "No dead letters match." in ended.stdout
    assert "other codes: missing_side." in ended.stdout


_CHOOSE = pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["export", "--out", "x.csv"],
        ["redrive", "--dry-run"],
        ["discard", "--reason", "x"],
    ],
    ids=" ".join,
)


@_CHOOSE
def test_a_source_that_is_a_slip_is_refused(
    assay: Assay, books: Engine, command: list[str]
) -> None:
    """The message names what it was meant for; one that nothing was read from yet passes."""
    _update(books, "source = 'kafka/transactions'")
    with books.begin() as connection:
        connection.execute(text("UPDATE positions SET source = 'kafka/transactions-2'"))
    ended = assay("dead-letters", *command, "--source", "kafka/transactionz")
    assert ended.returncode == 78
    said = "no letter is of kafka/transactionz; did you mean kafka/transactions?"
    assert said in " ".join(ended.stderr.split())
    for source in ("kafka/transactions-2", "kafka/cards"):  # has books; is not known
        ended = assay("dead-letters", *command, "--source", source)
        assert "did you mean" not in ended.stderr


@_CHOOSE
def test_a_code_that_nothing_has_is_refused(
    assay: Assay, books: Engine, command: list[str]
) -> None:
    """The message names what it was meant for; codes that an API alone gives pass."""
    _update(books, "code = 'odd_weekday' WHERE transaction_id = 'c'")
    for code, hint in (
        ("mising_side", "did you mean missing_side?"),
        ("odd_weekdays", "did you mean odd_weekday?"),
        ("xyz", "the letters here have missing_side, odd_weekday"),
    ):
        ended = assay("dead-letters", *command, "--code", code)
        assert ended.returncode == 78
        assert f"nothing is rejected as {code}; {hint}" in ended.stderr
    assert (
        "nothing is rejected" not in assay("dead-letters", *command, "--code", "odd_weekday").stderr
    )


def test_a_time_that_is_none_is_a_usage_error(assay: Assay, engine: Engine) -> None:
    """The message says how times are written; exit 78."""
    del engine
    ended = assay("dead-letters", "list", "--since", "yesterday")
    assert ended.returncode == 78
    assert "2024-05-01T08:30" in ended.stderr


def test_a_letter_is_shown_with_its_content(assay: Assay, books: Engine) -> None:
    """Facts, header and raw bytes, of which no terminal obeys any."""
    raw = b"d;\x1b[31mred\x07\r\n;\xff;[bold]caf\xc3\xa9[/]\xe2\x80\xae"
    _update(books, "raw = :raw WHERE transaction_id = 'd'", raw=raw)
    letter = str(_list(assay, "--run", "run-2")["letters"][0]["id"])
    ended = assay("dead-letters", "show", letter)
    assert ended.returncode == 0
    assert "missing_side" in ended.stdout
    assert "s3://cards/june.csv#v1" in ended.stdout
    assert r"d;\x1b[31mred\x07\r\n;\xff;[bold]café[/]\u202e" in ended.stdout
    assert "id;side" in ended.stdout
    assert not set(ended.stdout) & set("\x1b\x07\r\u202e")
    document = json.loads(assay("dead-letters", "show", letter, "--json").stdout)
    assert document["header"] == "id;side"
    assert "raw" not in document
    assert document["raw_base64"]


def test_what_was_done_with_a_letter_is_shown(assay: Assay, books: Engine) -> None:
    """Who, what and why, in order; nothing where nothing was done."""
    del books
    letter = str(_list(assay, "--run", "run-2")["letters"][0]["id"])
    assert json.loads(assay("dead-letters", "show", letter, "--json").stdout)["actions"] == []
    assay("dead-letters", "discard", "--id", letter, "--by", "ann", "--reason", "[b]test[/] data")
    shown = assay("dead-letters", "show", letter).stdout
    assert "discarded by ann" in shown
    assert "[b]test[/] data" in shown
    (action,) = json.loads(assay("dead-letters", "show", letter, "--json").stdout)["actions"]
    assert (action["action"], action["reason"]) == ("discarded", "[b]test[/] data")


def test_a_letter_that_was_cut_says_so(assay: Assay, books: Engine) -> None:
    """Beyond 1 MiB only the head of a record is kept."""
    _update(books, "length = 2000000, sha256 = '\\xabcd' WHERE transaction_id = 'd'")
    letter = str(_list(assay, "--run", "run-2")["letters"][0]["id"])
    ended = assay("dead-letters", "show", letter)
    assert "the first 8 of 2,000,000 bytes" in ended.stdout
    assert "abcd" in ended.stdout


def test_a_letter_that_is_not_there(assay: Assay, books: Engine) -> None:
    """Exit 65."""
    del books
    ended = assay("dead-letters", "show", "4711", "--json")
    assert ended.returncode == 65
    assert not ended.stdout
    assert "4711" in ended.stderr


def test_letters_go_into_a_spreadsheet(assay: Assay, books: Engine) -> None:
    """UTF-8 with a mark, a row each in order, no formulas, for the owner's eyes only."""
    _update(books, "raw = '=1+cmd' WHERE transaction_id = 'c'")
    _update(books, "message = '@SUM(1)', raw = 'Café' WHERE transaction_id = 'd'")
    ended = assay("dead-letters", "export", "--out", "review.csv", "--delimiter", ";")
    assert ended.returncode == 0
    out = Path("review.csv")
    assert out.read_bytes().startswith(b"\xef\xbb\xbfid;state;")
    assert out.stat().st_mode & 0o077 == 0
    with out.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert [row["transaction_id"] for row in rows] == ["c", "", "d"]
    assert [row["raw"] for row in rows] == ["'=1+cmd", "record 3", "Café"]
    assert rows[2]["message"] == "'@SUM(1)"
    assert {row["header"] for row in rows} == {"id;side"}
    assert [each.name for each in Path().iterdir()] == ["review.csv"]


def test_an_export_replaces_nothing_unasked(assay: Assay, books: Engine) -> None:
    """A file that exists stays as it is, but with --force."""
    del books
    Path("review.csv").write_text("mine")
    ended = assay("dead-letters", "export", "--out", "review.csv")
    assert ended.returncode == 78
    assert "--force" in ended.stderr
    assert Path("review.csv").read_text() == "mine"
    assert assay("dead-letters", "export", "--out", "review.csv", "--force").returncode == 0
    assert Path("review.csv").read_text(encoding="utf-8-sig").startswith("id,state,")
    ended = assay("dead-letters", "export", "--out", "no/such/folder.csv")
    assert ended.returncode == 78
    assert "cannot be written" in ended.stderr


@given(st.text() | st.binary())
def test_no_cell_is_a_formula_or_breaks_its_row(value: str | bytes) -> None:
    """Whatever a record holds."""
    text_of = cell(value)
    assert text_of.isprintable()
    assert not text_of.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))
    assert len(text_of) <= 32_767


def test_a_cell_holds_no_more_than_a_spreadsheet_can() -> None:
    """Excel would put what is beyond it into the next row."""
    assert len(cell("x" * 40_000)) == 32_767
    assert cell("x" * 40_000).endswith("…")


@given(st.text())
def test_nothing_is_printed_that_a_terminal_obeys(value: str) -> None:
    """Text stays as it is where it is printable, and becomes so otherwise."""
    assert printable(value).isprintable()
    assert not value.isprintable() or printable(value) == value
    assert decoded(value.encode("utf-8", "surrogatepass")).isprintable()
