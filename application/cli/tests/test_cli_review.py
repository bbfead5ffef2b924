"""`review`: what needs review is listed, corrected, taken in from spreadsheets, and published."""

import csv
import json
import stat
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from assay.domain.taxonomy import DEFAULT
from assay.testing.frames import outcome, transaction
from assay.wire.corrections import read
from assay_adapters.postgres.store import PostgresStore
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_cli.review_file import WrongFile, known
from assay_cli.review_file import read as filled_in
from assay_local.pytest_plugin import S3Settings

Assay = Callable[..., subprocess.CompletedProcess[str]]

A, B, NUMBER = "aaaa000000000001", "bbbb000000000002", "0001234567e89012"


@pytest.fixture
def unsure(engine: Engine) -> Engine:
    """Three groups that need review, of three, two and one transactions."""

    def row(name: str, group: str, **columns: Any) -> dict[str, Any]:
        told = {"needs_review": True, "feature_hash": group, "confidence": 0.41}
        return transaction(name, **told | columns)

    rows = [
        *(row(f"a{n}", A, description=f"SHOP {n}", merchant="[red]Shop") for n in range(3)),
        *(row(f"b{n}", B, amount=Decimal("1099.00"), category="Home") for n in range(2)),
        row("n", NUMBER, description="=HYPERLINK(1)", currency="USD"),
    ]
    PostgresStore(engine, processing_type="batch").commit(outcome(rows))
    return engine


def _said(engine: Engine) -> list[tuple[Any, ...]]:
    query = "SELECT feature_hash, transaction_id, category, by, reason FROM corrections ORDER BY id"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def _listed(assay: Assay, *words: str) -> dict[str, Any]:
    return json.loads(assay("review", "list", *words, "--json").stdout)


def _words(ended: subprocess.CompletedProcess[str]) -> str:
    return " ".join((ended.stdout + ended.stderr).split())


@pytest.mark.usefixtures("unsure")
def test_what_needs_review_is_listed(assay: Assay) -> None:
    """The largest first, within 80 columns; by number or by amount."""
    ended = assay("review", "list")
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["aaaa0000", "bbbb0000", "00012345"]
    assert "SHOP 0 · [red]Shop" in _words(ended)
    assert "3 of 3 groups, the largest; 6 transactions need review in all." in ended.stdout
    assert all(len(line) <= 80 for line in lines)
    ended = assay("review", "list", "--by", "amount", "--limit", "1")
    assert "2,198.00 EUR" in ended.stdout
    assert "1 of 3 groups, the largest by their sum in EUR" in ended.stdout
    told = json.loads(
        assay("review", "list", "--by", "amount", "--currency", "usd", "--json").stdout
    )
    assert (told["total"], told["transactions"]) == (3, 6)
    assert told["groups"][0] == {
        "group": NUMBER,
        "transactions": 1,
        "amounts": {"USD": "12.50"},
        "category": "Food",
        "confidence": 0.41,
        "description": "=HYPERLINK(1)",
        "merchant": None,
    }
    told = json.loads(
        assay("review", "list", "--category", "Home", "--model", "1", "--json").stdout
    )
    assert [each["group"] for each in told["groups"]] == [B]


def test_the_list_is_read_at_80_columns(assay: Assay, engine: Engine) -> None:
    """No word is cut, each currency has its line, and one that is named stands alone."""
    told = {"needs_review": True, "feature_hash": A, "category": "Charity & Membership"}
    rows = [
        transaction(code, **told, currency=code, amount=Decimal("12345.50"), description="ROYAL")
        for code in ("EUR", "USD")
    ]
    PostgresStore(engine, processing_type="batch").commit(outcome(rows))
    first, second, *_ = assay("review", "list").stdout.splitlines()[1:]
    begin = "aaaa0000       2  12,345.50 EUR  Charity & Membership   0.75  ROYAL"
    assert (first.rstrip(), second.split()) == (begin, ["12,345.50", "USD"])
    narrow = assay("review", "list", "--by", "amount", "--currency", "usd").stdout
    assert "12,345.50 USD" in narrow
    assert "EUR" not in narrow
    shown = assay("review", "show", "aaaa").stdout
    assert "Charity & Membership" in shown
    assay("review", "correct", "aaaa", "Transportation")
    assert "Charity & Membership" in assay("review", "history").stdout


@pytest.mark.usefixtures("engine")
def test_where_nothing_needs_review_it_is_said(assay: Assay) -> None:
    """Exit 0, as for every question."""
    ended = assay("review", "list")
    assert (ended.returncode, ended.stdout) == (0, "Nothing needs review.\n")
    told = _listed(assay)
    assert told == {"total": 0, "transactions": 0, "groups": []}
    assert assay("review", "history").stdout == "Nobody has corrected anything.\n"


def test_a_group_is_corrected_and_withdrawn(assay: Assay, unsure: Engine) -> None:
    """By the beginning of its name; who and why is kept; 99 where it stands so already."""
    because = ("--reason", "a hotel", "--by", "ann")
    ended = assay("review", "correct", "aaaa", "Travel", *because)
    assert ended.returncode == 0
    assert f"Noted: the group {A} is Travel." in ended.stdout
    assert assay("review", "correct", "AAAA0000", "Travel").returncode == 99
    assert _said(unsure) == [(A, None, "Travel", "ann", "a hotel")]
    told = json.loads(assay("review", "show", "aaaa", "--json").stdout)
    assert told["correction"]["category"] == "Travel"
    assert "Corrected: Travel, says ann at" in assay("review", "show", A).stdout
    assert [
        each["group"] for each in json.loads(assay("review", "list", "--json").stdout)["groups"]
    ] == [B, NUMBER]
    assert assay("review", "withdraw", "aaaa").returncode == 0
    again = assay("review", "withdraw", "aaaa", "--json")
    assert again.returncode == 99
    assert json.loads(again.stdout) == {"group": A, "transaction": None, "noted": False}
    shown = assay("review", "history", "aaaa")
    assert "(withdrawn)" in shown.stdout
    assert "a hotel" in shown.stdout
    told = json.loads(assay("review", "history", "--limit", "1", "--json").stdout)
    assert [each["category"] for each in told["corrections"]] == [None]


def test_a_transaction_is_corrected_alone(assay: Assay, unsure: Engine) -> None:
    """One that is not of the group is refused, since it may be a slip."""
    ended = assay("review", "correct", "aaaa", "Rent", "--transaction", "a1", "--by", "ann")
    assert "Noted: the transaction a1 is Rent." in ended.stdout
    assert _said(unsure) == [(None, "a1", "Rent", "ann", None)]
    shown = assay("review", "show", "aaaa")
    assert [line.split()[-1] for line in shown.stdout.splitlines() if line.startswith("a1")] == [
        "Rent"
    ]
    ended = assay("review", "correct", "aaaa", "Rent", "--transaction", "b0")
    assert (ended.returncode, len(_said(unsure))) == (65, 1)
    assert f"no transaction b0 in the group {A}" in _words(ended)
    assert assay("review", "withdraw", "aaaa", "--transaction", "a1").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["correct", "aaaa", "food"], 78, "did you mean Food? There are Rent, Salary Income,"),
        (["correct", "aaaa", "SECRET"], 78, "there is no such category. There are Rent,"),
        (["correct", "eeee", "Food"], 65, "there is no group eeee"),
        (["correct", "aaa", "Food"], 65, "4 digits of a group are needed"),
        (["show", "%%%%"], 65, "4 digits of a group are needed"),
        (["history", "eeee"], 65, "there is no group eeee"),
        (["list", "--category", "Fod"], 78, "did you mean Food?"),
        (["list", "--currency", "EUR"], 78, "belongs to --by amount"),
        (["publish"], 78, "set ASSAY_MODELS__REGISTRY"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    assay: Assay, unsure: Engine, words: list[str], code: int, said: str
) -> None:
    """Nothing is noted, and what was given for a category is not repeated."""
    ended = assay("review", *words)
    assert ended.returncode == code
    assert said.replace(" ", "") in _words(ended).replace(" ", "").replace("│", "")
    assert "SECRET" not in _words(ended)
    assert _said(unsure) == []


def test_a_name_that_several_groups_begin_with_is_refused(assay: Assay, unsure: Engine) -> None:
    """All of them are named; a whole name is always one."""
    other = f"{A[:-1]}2"
    rows = [transaction("other", needs_review=True, feature_hash=other)]
    PostgresStore(unsure, processing_type="batch").commit(outcome(rows, partition="other"))
    ended = assay("review", "correct", "aaaa", "Food")
    assert ended.returncode == 65
    assert f"several groups begin with aaaa: {A}, {other}" in _words(ended)
    assert assay("review", "correct", other, "Food").returncode == 0


def test_a_group_without_a_word_is_not_corrected_as_one(assay: Assay, engine: Engine) -> None:
    """It holds whatever has no content; single transactions can be, and words of any script are."""
    texts = ("\N{MONEY BAG}", "12345 A1B2C3", "\u0431\u0430\u0440 777")
    rows = [
        transaction(f"t{n}", needs_review=True, feature_hash=f"cccc{n:012}", description=each)
        for n, each in enumerate(texts)
    ]
    PostgresStore(engine, processing_type="batch").commit(outcome(rows))
    for group in ("cccc000000000000", "cccc000000000001"):
        ended = assay("review", "correct", group, "Food")
        assert ended.returncode == 65
        assert f"there is no word in what is in the group {group}" in _words(ended)
        Path("all.csv").write_text(f"group,category\n{group},Food\ncccc000000000002,Food\n")
        assert assay("review", "import", "all.csv").returncode == 65
    assert _said(engine) == []
    assert assay("review", "correct", "cccc000000000002", "Food").returncode == 0
    words = ("correct", "cccc000000000000", "Food", "--transaction", "t0")
    assert assay("review", *words).returncode == 0
    assert assay("review", "withdraw", "cccc000000000000").returncode == 99


def _fill(file: Path, delimiter: str, **said: str) -> None:
    """Fills in what people say, as a spreadsheet saves it."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.DictReader(opened, delimiter=delimiter))
    for row in rows:
        row["category"] = said.get(row["group"].removeprefix("'"), "")
        row["reason"] = "seen" if row["category"] else ""
    with file.open("w", encoding="utf-8-sig", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_spreadsheet_is_filled_in_and_taken_in(
    assay: Assay, unsure: Engine, delimiter: str
) -> None:
    """A cell hides no formula, and no name turns into a number; repeated, it changes nothing."""
    out = Path("review.csv")
    ended = assay("review", "list", "--csv", str(out), "--delimiter", delimiter)
    assert ended.stdout == "Wrote 3 groups to review.csv.\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert assay("review", "list", "--csv", str(out)).returncode == 78
    written = out.read_text("utf-8-sig")
    assert f"'{NUMBER}" in written
    assert "'=HYPERLINK(1)" in written
    assert assay("review", "import", str(out)).returncode == 99
    _fill(out, delimiter, **{A: "Travel", NUMBER: "Home"})
    ended = assay("review", "import", str(out), "--by", "ann")
    assert (ended.returncode, ended.stdout) == (0, "2 groups were corrected.\n")
    assert sorted(_said(unsure)) == [
        (NUMBER, None, "Home", "ann", "seen"),
        (A, None, "Travel", "ann", "seen"),
    ]
    again = assay("review", "import", str(out), "--json")
    assert (again.returncode, json.loads(again.stdout)) == (99, {"noted": 0, "known": 2})


def test_a_file_with_wrong_lines_is_refused_as_a_whole(assay: Assay, unsure: Engine) -> None:
    """Each is named by its number; what stands in it is not repeated. Exit 65."""
    lines = [
        "Group,Description,Category",
        f'{A},"over\ntwo lines",Travel',
        f"{B},SECRET,SECRET",
        f"{A},x,food",
        f"{A},x,Rent",
        f"{A},x,Travel",
        ",x,Travel",
        "",
        "short",
    ]
    Path("wrong.csv").write_text("\n".join(lines))
    ended = assay("review", "import", "wrong.csv")
    assert ended.returncode == 65
    assert "nothing of wrong.csv was noted" in ended.stderr
    assert [line.strip() for line in ended.stderr.splitlines()[1:]] == [
        "line 4: there is no such category.",
        "line 5: there is no such category; did you mean Food?",
        "line 6: another category than in line 3",
        "line 8: there is no group",
    ]
    Path("strange.csv").write_text(f"group,category\n{A},Travel\neeee,Food\nffff,Food\n")
    ended = assay("review", "import", "strange.csv")
    assert ended.returncode == 65
    assert "line 3: there is no such group\n  line 4: there is no such group" in ended.stderr
    assert _said(unsure) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "has no columns group and category"),
        (b"group;description\n", "has no columns group and category"),
        (b"group,category\n\xff,Food\n", "is no UTF-8"),
        (b'group,category\n"open,Food\n', "is no CSV"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, body: bytes | None, said: str) -> None:
    """It is named, and what to do."""
    file = tmp_path / "file.csv"
    if body is not None:
        file.write_bytes(body)
    with pytest.raises(WrongFile, match=said) as refused:
        filled_in(file)
    assert refused.value.exit_code == 65


def test_only_the_first_faults_of_a_file_are_named(tmp_path: Path) -> None:
    """And how many more there are."""
    file = tmp_path / "file.csv"
    file.write_text("group\tcategory\n" + "aaaa\tx\n" * 13)
    with pytest.raises(WrongFile) as refused:
        filled_in(file)
    lines = str(refused.value).splitlines()
    assert len(lines) == 12
    assert lines[-1].strip() == "and 3 more"


def _published(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return json.loads(ended.stdout)


def test_corrections_are_published_in_a_folder(
    assay: Assay, unsure: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of groups, as a whole; written only where they differ from what is there."""
    del unsure
    registry = tmp_path / "models"
    registry.mkdir()
    monkeypatch.setenv("ASSAY_MODELS__REGISTRY", str(registry))
    assay("review", "correct", "aaaa", "Travel")
    assay("review", "correct", "bbbb", "Rent", "--transaction", "b0")
    ended = assay("review", "publish")
    assert (ended.returncode, ended.stdout.partition(",")[0]) == (0, "Published: 1 correction")
    found = read((registry / "corrections.json").read_bytes())
    assert found.drop("at").rows() == [("SHOP 0", "[red]Shop", "Travel")]
    before = (registry / "corrections.json").stat().st_mtime_ns
    again = assay("review", "publish", "--json")
    assert again.returncode == 99
    assert not _published(again)["written"]
    assert (registry / "corrections.json").stat().st_mtime_ns == before
    assay("review", "withdraw", "aaaa")
    assert _published(assay("review", "publish", "--json"))["corrections"] == 0
    assert read((registry / "corrections.json").read_bytes()).is_empty()


@pytest.mark.usefixtures("unsure")
def test_corrections_are_published_in_s3(
    assay: Assay, s3: S3Settings, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the models; while S3 is away, exit 75."""
    monkeypatch.setenv("ASSAY_MODELS__REGISTRY", f"s3://{bucket}/models")
    assay("review", "correct", "aaaa", "Travel")
    assert _published(assay("review", "publish", "--json"))["written"]
    objects = S3Objects(s3_client(S3Config.model_validate(vars(s3))))
    (item,) = objects.list(f"s3://{bucket}/models/corrections.json")
    assert read(b"".join(objects.read(item)))["category"].to_list() == ["Travel"]
    assert assay("review", "publish").returncode == 99
    monkeypatch.setenv("ASSAY_S3__ENDPOINT_URL", "http://127.0.0.1:1")
    assert assay("review", "publish").returncode == 75


@pytest.mark.parametrize(
    "words",
    [["list"], ["show", "aaaa"], ["correct", "aaaa", "Food"], ["withdraw", "aaaa"], ["history"]],
    ids=" ".join,
)
def test_a_database_that_is_away_is_said(
    assay: Assay, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Exit 75, naming the command that says more."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", "postgresql://somebody@127.0.0.1:1/books")
    ended = assay("review", *words)
    assert ended.returncode == 75
    assert "assay doctor" in _words(ended)


def test_every_category_can_be_said() -> None:
    """Each of the taxonomy that services and models speak."""
    assert tuple(map(known, DEFAULT.categories)) == DEFAULT.categories
