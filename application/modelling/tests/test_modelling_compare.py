"""`compare`: two models on a file and on stored transactions, as text, JSON and CSV."""

import dataclasses
import json
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.testing.frames import outcome, transaction
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.migrate import migrate
from assay_adapters.postgres.store import PostgresStore
from assay_model.artifact import FORMAT, SHIPPED, load, save

Command = Callable[..., subprocess.CompletedProcess[str]]
SHIPPED_VERSION = load(SHIPPED).version
ROWS = """\
description,merchant,amount,currency,truth
CITY TAXI 4711,,1000.00,EUR,Transportation
City Taxi 0815,,-20.00,USD,Food
CORNER BAKERY,,2.50,EUR,Food
TESCO STORES 3021,,40.00,EUR,Food
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two taxis, which are one descriptor, and food."""
    file = tmp_path / "rows.csv"
    file.write_text(ROWS)
    return file


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A version that takes taxis for healthcare, and wants to be asked of everything."""
    artifact = load(SHIPPED)
    names = list(DEFAULT.categories)
    ride, care = names.index("Transportation"), names.index("Healthcare")
    names[ride], names[care] = names[care], names[ride]
    taxonomy = dataclasses.replace(artifact.taxonomy, categories=tuple(names))
    file = tmp_path / "other.npz"
    save(dataclasses.replace(artifact, version="2-abc", taxonomy=taxonomy, review_below=1.0), file)
    return file


def row_of(text: str, *beginning: str) -> list[str]:
    """The words of the first line that begins so."""
    lines = [line.split() for line in text.splitlines()]
    return next(line for line in lines if line[: len(beginning)] == list(beginning))


def test_what_would_change_stands_in_tables(model: Command, rows: Path, other: Path) -> None:
    """In 80 columns, by category and amount, and without a descriptor."""
    ended = model("compare", "served", other, "--data", rows)
    assert (ended.returncode, ended.stderr) == (0, "")
    shown = ended.stdout
    assert shown.startswith(f"before  assay-linear {SHIPPED_VERSION}\nafter   assay-linear 2-abc\n")
    assert "on      4 rows of rows.csv" in shown
    assert row_of(shown, "another") == ["another", "category", "2", "50.0"]
    assert row_of(shown, "EUR") == ["EUR", "all", "3", "1,042.50"]
    assert row_of(shown, "USD") == ["USD", "all", "1", "20.00"]
    assert row_of(shown, "into") == ["into", "review", "4", "100.0"]
    assert row_of(shown, "Transportation", "Healthcare")[2:5] == ["2", "1,000.00", "EUR"]
    assert row_of(shown, "Healthcare") == ["Healthcare", "0", "2", "+2", "+1,000.00", "EUR"]
    assert row_of(shown, "Food") == ["Food", "2", "2"]
    assert "taxonomies" not in shown
    assert "taxi" not in shown.lower()
    assert max(map(len, shown.splitlines())) <= 80


def test_labels_say_who_is_right(model: Command, rows: Path, other: Path) -> None:
    """On the whole, and of each change; rows without a label are left out."""
    with rows.open("a") as file:
        file.write("VILLAGE BAKERY,,1.00,EUR,\n")
    words = ("compare", SHIPPED, other, "--data", rows, "--label", "truth")
    shown = model(*words).stdout
    assert "1 row left out: without a label" in shown
    assert "Right: 75.0 % before, 50.0 % after (-1 records)." in shown
    assert ["Transportation", "Healthcare", "2", "1", "0", "1"] in map(
        str.split, shown.splitlines()
    )
    told = json.loads(model(*words, "--json").stdout)
    assert told["right"] == {"right_before": 3, "right_after": 2}
    unknown = model("compare", SHIPPED, other, "--data", rows, "--label", "currency")
    assert (unknown.returncode, unknown.stdout) == (65, "")
    assert "lacks: EUR, USD" in " ".join(unknown.stderr.split())


def test_examples_are_shown_on_demand(model: Command, rows: Path, other: Path) -> None:
    """As the model reads them: one for equal descriptors, without reference numbers."""
    words = ("compare", "served", other, "--data", rows, "--examples", "3")
    shown = model(*words).stdout
    assert "Transportation → Healthcare" in shown
    assert row_of(shown, "2", "1,000.00") == ["2", "1,000.00", "EUR", "city", "taxi", "#"]
    assert "4711" not in shown
    (change,) = json.loads(model(*words, "--json").stdout)["changes"]
    (example,) = change["examples"]
    assert (example["descriptor"], example["records"]) == ("city taxi #", 2)
    assert example["amounts"] == {"EUR": "1000.00", "USD": "20.00"}
    (change,) = json.loads(model(*words[:-2], "--json").stdout)["changes"]
    assert "examples" not in change


def test_changed_descriptors_are_written(
    model: Command, rows: Path, other: Path, tmp_path: Path
) -> None:
    """A line each, for the owner's eyes only; no file is replaced unasked, none half-written."""
    out = tmp_path / "changes.csv"
    words = ("compare", "served", other, "--data", rows, "--csv", out)
    assert "Wrote 1 descriptor to" in model(*words).stdout
    assert out.stat().st_mode & 0o777 == 0o600
    (line,) = pl.read_csv(out).to_dicts()
    assert line["descriptor"] == "city taxi #"
    assert (line["before"], line["after"], line["records"]) == ("Transportation", "Healthcare", 2)
    assert line["amounts"] == "1000.00 EUR, 20.00 USD"
    assert (line["review_before"], line["review_after"]) == (False, True)
    refused = model(*words)
    assert (refused.returncode, refused.stdout) == (78, "")
    assert "--force" in refused.stderr
    out.write_text("old")
    assert model("compare", "served", other, "--data", "nowhere.csv", *words[-2:]).returncode != 0
    assert out.read_text() == "old"
    told = json.loads(model(*words, "--force", "--label", "truth", "--json").stdout)
    assert told["csv"] == {"file": str(out), "descriptors": 1, "let_go": 0}
    assert {"right_before", "right_after"} < set(pl.read_csv(out).columns)


def test_a_supplier_s_file_is_compared_by_its_contract(
    model: Command, other: Path, tmp_path: Path
) -> None:
    """What the contract rejects is left out and counted."""
    file = tmp_path / "cards.csv"
    file.write_text(
        "Transaction Date,Benificiary (Merchant),Amount,Merchant Category\n"
        '03/05/2024,CITY TAXI,"1,000.00",Taxis\n'
        "99/05/2024,CITY TAXI,1.00,Taxis\n"
    )
    contract = Path(__file__).parents[3] / "contracts" / "devon_pcard.odcs.yaml"
    ended = model("compare", "served", other, "--data", file, "--contract", contract, "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["records"], told["changed"]) == (1, 1)
    assert told["left_out"] == {"rejected by the contract": 1}
    assert told["changes"][0]["amounts"] == {"GBP": "1000.00"}


def test_taxonomies_are_compared_by_name(model: Command, rows: Path, tmp_path: Path) -> None:
    """What only one of them has is named; where nothing changes, that is said."""
    other = tmp_path / "yachts.npz"
    artifact = load(SHIPPED)
    names = ("Yachts" if each == "Rent" else each for each in DEFAULT.categories)
    save(
        dataclasses.replace(
            artifact, version="3", taxonomy=Taxonomy("t", "2", tuple(names)), fields={}
        ),
        other,
    )
    shown = " ".join(model("compare", "served", other, "--data", rows).stdout.split())
    assert "compared by name. Only before: Rent. Only after: Yachts." in shown
    assert "No record changes its category." in shown


def test_a_share_may_be_too_much(model: Command, rows: Path, other: Path) -> None:
    """65 above it, with everything that is told otherwise; 0 at it."""
    words = ("compare", "served", other, "--data", rows, "--json", "--fail-above")
    ended = model(*words, "0.49")
    assert ended.returncode == 65
    assert "50.00 % of the records change category" in ended.stderr
    assert json.loads(ended.stdout)["changed_share"] == 0.5
    assert model(*words, "0.5").returncode == 0


def test_what_is_the_same_is_not_compared(
    model: Command, model_file: Path, rows: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """99, whatever it is called; versions of the registry may be abbreviated."""
    monkeypatch.setenv("ASSAY_MODELS__REGISTRY", (tmp_path / "registry").as_uri())
    model("add")
    for before, after in (
        (f"{FORMAT}-", model_file),
        (SHIPPED_VERSION, f"{FORMAT}-"),
        ("served", SHIPPED),
    ):
        ended = model("compare", before, after, "--data", rows)
        assert ended.returncode == 99
        assert f"are the same: {SHIPPED_VERSION}" in " ".join(ended.stdout.split())
    assert json.loads(model("compare", f"{FORMAT}-", f"{FORMAT}-", "--json").stdout).keys() == {
        "nothing"
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--label", "truth"), "belongs to --data"),
        (("--contract", "x.yaml"), "belongs to --data"),
        (("--data", "x.csv", "--limit", "3"), "belongs to stored transactions"),
        ((), "ASSAY_POSTGRES__URL is missing"),
    ],
)
def test_what_makes_no_sense_is_refused(
    model: Command, other: Path, words: tuple[str, ...], said: str
) -> None:
    """78, and why."""
    ended = model("compare", "served", other, *words)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert said in " ".join(ended.stderr.replace("│", " ").split())


@pytest.fixture
def engine(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An empty database with all tables, which the settings name."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", postgres_url)
    config = PostgresConfig(url=SecretStr(postgres_url))
    migrate(config)
    made = engine_for(config)
    yield made
    made.dispose()


def test_stored_transactions_are_compared(model: Command, other: Path, engine: Engine) -> None:
    """All of them, or those that were committed last; whatever is stored stays as it is."""
    assert model("compare", "served", other).returncode == 99
    store = PostgresStore(engine, processing_type="batch")
    taxis = [
        transaction(f"t{number}", description=f"CITY TAXI {number}00", amount=Decimal("1.50"))
        for number in range(30)
    ]
    store.commit(outcome(taxis))
    store.commit(outcome(["b1", "b2"], first=30))
    told = json.loads(model("compare", "served", other, "--json").stdout)
    assert (told["records"], told["changed"], told["data"]) == (32, 30, "stored transactions")
    assert told["changes"][0]["amounts"] == {"EUR": "45.00"}
    told = json.loads(model("compare", "served", other, "--limit", "5", "--json").stdout)
    assert (told["records"], told["changed"]) == (5, 3)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM predictions").scalar_one() == 32


def test_postgres_away_is_temporary(
    model: Command, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """75; tables that are not there are a matter for `assay migrate`."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", "postgresql://somebody@127.0.0.1:1/nothing")
    assert model("compare", "served", other).returncode == 75


def test_tables_must_be_there(
    model: Command, other: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """78, and what to do."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", postgres_url)
    ended = model("compare", "served", other)
    assert ended.returncode == 78
    assert "assay migrate" in ended.stderr
