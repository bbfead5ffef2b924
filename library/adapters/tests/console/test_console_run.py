"""Exit codes and messages of commands."""

import json
import os
import subprocess
import sys

import pytest
import typer

from assay.domain.errors import Fatal, Unavailable, Unreadable
from assay_adapters.console.run import complain, last_line, run

app = typer.Typer()


@app.command()
def fail(kind: str, *, code: int = 0) -> None:
    """Ends as it is told."""
    errors = {"away": Unavailable, "wrong": Fatal, "data": Unreadable}
    if kind in errors:
        raise errors[kind]("it is [so]")
    raise typer.Exit(code)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["fine"], 0),
        (["fine", "--code", "99"], 99),
        (["away"], 75),
        (["wrong"], 78),
        (["data"], 65),
        (["fine", "--nonsense"], 78),
        ([], 78),
    ],
)
def test_a_command_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
) -> None:
    """Errors of the core have theirs; a wrong command line counts as settings."""
    monkeypatch.setattr(sys, "argv", ["assay", *arguments])
    with pytest.raises(SystemExit) as end:
        run(app)
    assert (end.value.code or 0) == code
    out, err = capsys.readouterr()
    assert not out
    assert ("error: it is [so]" in err) == (code in {75, 65} or arguments == ["wrong"])


@pytest.mark.parametrize("word", ["\udcff", "--code=\udce9t\udce9", "ok\ud800"])
def test_words_that_are_no_utf8_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    """Before any command sees them."""
    monkeypatch.setattr(sys, "argv", ["assay", "fine", word])
    with pytest.raises(SystemExit) as end:
        run(app)
    assert end.value.code == 78
    assert capsys.readouterr().err == f"error: {word!a} is no UTF-8\n"


def test_a_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """However long, where it does not go to a terminal: logs are searched by line."""
    complain("so long " * 40)
    assert capsys.readouterr().err.count("\n") == 1


def test_the_last_line_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output, whatever the values hold."""
    last_line({"a": "x\ny", "b": None})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": "x\ny", "b": None}


ENDING = """
import logging
import typer
from assay_adapters.console.run import last_line, run

app = typer.Typer()


@app.command()
def end() -> None:
    logging.warning("said before")
    last_line({"status": "done"})
    raise typer.Exit(65)


run(app)
"""


@pytest.mark.parametrize(
    ("redirected", "told"),
    [
        (">/dev/full", "(No space left on device)"),
        (">&-", "(Bad file descriptor)"),
        ("| true", "(Broken pipe)"),
        (">/dev/null 2>&-", None),
        (">&- 2>&-", None),
        ("2>&1 | true", None),
        (">/dev/full 2>/dev/full", None),
    ],
)
def test_a_summary_that_cannot_be_written_changes_no_exit_code(
    redirected: str, told: str | None
) -> None:
    """It goes to standard error in one line, where there is one."""
    # The reader of the pipe is gone before anything is written.
    ended = f"(sleep 0.2; {sys.executable} -c '{ENDING}'; echo $? >&3)"
    command = f"{{ {ended} {redirected}; }} 3>&1"
    done = subprocess.run(
        ["bash", "-c", command],  # noqa: S607 - dash redirects this wrongly
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "65\n"
    expected = (
        ""
        if told is None
        else f"WARNING:root:said before\nerror: standard output takes no summary {told}"
    )
    assert done.stderr.startswith(expected)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (0 if told is None else 2)
    if told is not None:
        assert json.loads(done.stderr[done.stderr.index("{") :]) == {"status": "done"}


def test_what_a_terminal_lacks_is_escaped() -> None:
    """A command does not fail for an arrow, on standard output or error."""
    program = (
        "import typer\nfrom assay_adapters.console.run import complain, run\n"
        "app = typer.Typer()\n"
        "@app.command()\ndef fail() -> None:\n    print('\\u2192')\n    complain('\\u2192')\n"
        "run(app)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert ended.stdout == b"\\u2192\n"
    assert b"error: \\u2192" in ended.stderr
