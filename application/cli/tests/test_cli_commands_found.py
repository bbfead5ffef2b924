"""Which commands there are, how they are found, and how soon."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from typer.main import get_group

from assay_cli import registry
from assay_cli.main import application

Assay = Callable[..., subprocess.CompletedProcess[str]]

_OWN = {"config", "contract", "dead-letters", "doctor", "migrate", "reconcile", "version"}


def _distribution(folder: Path, name: str, entry: str, source: str) -> None:
    """Installs an invented package in a folder."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[assay.commands]\n{entry}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages can be installed in."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return folder


def test_the_list_shows_the_commands_of_all_packages(assay: Assay) -> None:
    """Our own and those of other packages stand in one list, each with its help."""
    ended = assay("--help")
    assert ended.returncode == 0
    names = {line.split()[1] for line in ended.stdout.splitlines() if line.startswith("│ ")}
    assert names >= _OWN
    assert "Prove that every record" in ended.stdout
    assert all(len(line) <= 80 for line in ended.stdout.splitlines())


def test_the_list_says_what_the_commands_say_of_themselves() -> None:
    """The help that is read from the source is that of the command when it is imported."""
    entries = registry.installed()
    assert entries
    listed = get_group(application(set())).commands
    loaded = get_group(application({entry.name for entry in entries})).commands
    assert {name: listed[name].help for name in listed} == {
        name: loaded[name].help for name in loaded
    }


def test_a_command_without_its_libraries_breaks_no_other(assay: Assay, site: Path) -> None:
    """It says what to install, in the list and when it is run with whatever options."""
    source = "import not_installed_here\n\ndef lonely() -> None:\n    ...\n"
    _distribution(site, "assay_lonely", "lonely = assay_lonely:lonely", source)
    listed = assay("--help")
    assert listed.returncode == 0
    assert "not available" in listed.stdout
    for words in (["lonely"], ["lonely", "sub", "--option", "3"]):
        ended = assay(*words)
        assert ended.returncode == 78
        assert "not_installed_here" in ended.stderr
        assert "pip install 'assay_lonely'" in ended.stderr
    assert assay("version").returncode == 0


def test_a_library_that_is_missed_deep_inside_is_named_too(assay: Assay, site: Path) -> None:
    """What the list cannot see without importing is said when the command is run."""
    (site / "assay_inner.py").write_text("import not_installed_here\n")
    source = "import assay_inner\n\ndef deep() -> None:\n    '''Dig.'''\n"
    _distribution(site, "assay_deep", "deep = assay_deep:deep", source)
    assert "Dig." in assay("--help").stdout
    ended = assay("deep")
    assert ended.returncode == 78
    assert "not_installed_here" in ended.stderr


def test_a_package_that_cannot_be_imported_breaks_no_list(assay: Assay, site: Path) -> None:
    """Neither one whose own beginning fails, nor one whose module has gone."""
    package = site / "assay_outer"
    package.mkdir()
    (package / "__init__.py").write_text("import not_installed_here\n")
    (package / "cli.py").write_text("def outer() -> None:\n    ...\n")
    _distribution(site, "assay_first", "outer = assay_outer.cli:outer", "")
    _distribution(site, "assay_second", "gone = assay_second.cli:gone", "")
    ended = assay("--help")
    assert ended.returncode == 0
    assert ended.stdout.count("not available") == 2
    assert assay("outer").returncode == assay("gone").returncode == 78


def test_help_that_is_computed_is_shown_too(assay: Assay, site: Path) -> None:
    """A command whose help is not in its source is imported for the list."""
    source = "import typer\nTEXT = 'Com' + 'puted.'\napp = typer.Typer(help=TEXT)\n"
    source += "@app.command()\ndef one() -> None:\n    ...\n"
    _distribution(site, "assay_made", "made = assay_made:app", source)
    assert "Computed." in assay("--help").stdout


def test_an_unknown_command_is_guessed(assay: Assay) -> None:
    """A typing error is answered with what was meant; exit 78."""
    ended = assay("reconcil")
    assert ended.returncode == 78
    assert "reconcile" in ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["batch", "run"],
        ["config"],
        ["dead-letters", "redrive"],
        ["doctor"],
        ["migrate"],
        ["model", "promote"],
        ["reconcile"],
        ["version"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    """Who asks what there is, or presses Tab, waits for no driver, data frame or settings."""
    # Not pydantic: Typer itself reads the options of a command with it.
    heavy = {"polars", "sqlalchemy", "psycopg", "boto3", "httpx", "pydantic_settings", "alembic"}
    code = (
        f"import sys; sys.argv = ['assay', *{words}, '--help']\n"
        "from assay_cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: print('ended:', end.code)\n"
        f"print('heavy:', sorted({heavy} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["ended: 0", "heavy: []"]


def test_a_shell_completes_names_and_options() -> None:
    """Completion knows the commands of a group, which is imported for that, and all names."""

    def completed(words: str) -> set[str]:
        environment = {
            **os.environ,
            "_ASSAY_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        done = subprocess.run(
            [Path(sys.executable).with_name("assay")],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(done.stdout.split())

    assert completed("assay rec") == {"reconcile"}
    assert completed("assay dead-letters r") == {"redrive"}


def _on_a_terminal(*words: str, **environment: str) -> str:
    """What a command writes to a terminal of 80 columns."""
    ours, its = os.openpty()
    command = [Path(sys.executable).with_name("assay"), *words]
    inherited = {
        name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}
    }
    process = subprocess.Popen(
        command, env=inherited | {"TERM": "xterm", **environment}, stdout=its, stderr=its
    )
    os.close(its)
    written = b""
    with suppress(OSError):  # which is how a terminal ends
        while piece := os.read(ours, 4096):
            written += piece
    os.close(ours)
    process.wait()
    return written.decode()


def test_colours_are_for_terminals_that_want_them(assay: Assay) -> None:
    """A pipe gets no escape sequences, and with NO_COLOR a terminal gets no colour."""
    assert "\x1b" not in assay("doctor").stdout
    colour = re.compile(r"\x1b\[(?:\d+;)*3\d")
    assert colour.search(_on_a_terminal("doctor"))
    assert not colour.search(_on_a_terminal("doctor", NO_COLOR="1"))


_GROUPS = ("batch", "contract", "dead-letters", "model", "stream")


def test_help_is_whole_and_speaks_of_no_types(assay: Assay) -> None:
    """Nothing is cut at 80 columns, and Python's types are not named, whichever command it is."""
    commands = [[each.name] for each in registry.installed() if each.name not in _GROUPS]
    for group in _GROUPS:
        lines = assay(group, "--help").stdout.partition("─ Commands")[2].splitlines()
        commands += [
            [group, line.split()[1]] for line in lines if line.startswith("│ ") and line[2] != " "
        ]
    assert len(commands) > 25
    for words in commands:
        shown = assay(*words, "--help").stdout
        assert "Usage" in shown
        assert not re.search(r"<\w+|…|int range", shown), words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dead-letters", "list", "--limit", "x"], "'--limit': must be a whole number"),
        (["dead-letters", "list", "--limit", "-1"], "'--limit': must be 0 or more"),
        (["dead-letters", "show", "x"], "'ID': must be a whole number"),
        (["dead-letters", "list", "--stage", "x"], "'--stage': 'x' is not one of 'decode'"),
        (["stream", "consume", "--reject-limit", "2"], "'--reject-limit': must be 1 or less"),
    ],
)
def test_wrong_values_are_explained_in_plain_words(
    assay: Assay, words: list[str], said: str
) -> None:
    """Exit 78; pydantic is not quoted."""
    ended = assay(*words)
    assert ended.returncode == 78
    assert said in " ".join(ended.stderr.split())
