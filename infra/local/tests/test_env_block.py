"""The block of addresses in `.env`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_local import dotenv
from assay_local.errors import SetupError


def test_own_lines_stay_where_they_are(tmp_path: Path) -> None:
    """Writing the block anew changes nothing above and below it, nor the file's mode."""
    path = tmp_path / ".env"
    path.write_text("A=1\n# a remark\n")
    path.chmod(0o640)
    dotenv.write_block(path, {"X": "1"})
    path.write_text(path.read_text() + "B=2\n")
    dotenv.write_block(path, {"X": "2", "Y": "3"})
    assert path.read_text() == (
        "A=1\n# a remark\n# >>> assay local\nX=2\nY=3\n# <<< assay local\nB=2\n"
    )
    assert path.stat().st_mode & 0o777 == 0o640
    assert dotenv.own_settings(path) == {"A": "1", "B": "2"}
    dotenv.write_block(path, {})
    assert path.read_text() == "A=1\n# a remark\nB=2\n"


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["C"]))))
def test_any_lines_survive(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """Whatever the user has in the file is there again when the block is gone."""
    path = tmp_path_factory.mktemp("project") / ".env"
    text = "".join(f"{line}\n" for line in lines)
    path.write_text(text)
    dotenv.write_block(path, {"X": "1"})
    dotenv.write_block(path, {})
    assert path.exists() == bool(lines)
    assert not lines or path.read_text() == text


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Where .env is a link, the file that it points to is written, and is never deleted."""
    (tmp_path / "real").touch()
    (tmp_path / ".env").symlink_to("real")
    dotenv.write_block(tmp_path / ".env", {"X": "1"})
    assert (tmp_path / ".env").is_symlink()
    assert "X=1" in (tmp_path / "real").read_text()
    dotenv.write_block(tmp_path / ".env", {})
    assert (tmp_path / ".env").read_text() == ""


@pytest.mark.parametrize(
    "text", ["# >>> assay local\nX=1\n", "# <<< assay local\n# >>> assay local\n"]
)
def test_a_broken_block_is_left_alone(tmp_path: Path, text: str) -> None:
    """With a mark missing nobody can tell whose lines they are, so that none is touched."""
    path = tmp_path / ".env"
    path.write_text(text)
    with pytest.raises(SetupError, match="by hand"):
        dotenv.write_block(path, {"X": "2"})
    assert path.read_text() == text


def test_no_file_is_made_for_nothing(tmp_path: Path) -> None:
    """Removing a block that is not there makes no file."""
    dotenv.write_block(tmp_path / ".env", {})
    assert not (tmp_path / ".env").exists()


def test_settings_are_read_as_dotenv_files_write_them(tmp_path: Path) -> None:
    """Quotes, `export` and remarks are understood."""
    path = tmp_path / ".env"
    path.write_text("export A='1'\n#B=2\n C = \"3\"\nnothing\n")
    assert dotenv.own_settings(path) == {"A": "1", "C": "3"}
