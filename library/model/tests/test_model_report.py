"""The report from the judged rows to its documents and pictures."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from assay.domain.errors import CONFIGURATION, Fatal
from assay_model.artifact import Artifact
from assay_model.card import Described
from assay_model.documents import FIGURES, documents
from assay_model.honest import honest, learnt_before
from assay_model.plots import draw
from assay_model.predict import Model
from assay_model.report import Report, from_json, judged_on, report, to_json
from assay_model.text import normalise

SINCE = date(2021, 1, 1)
NOTES = {
    "data": [{"file": "cards.csv", "licence": "ours", "attribution": "Us.", "sha256": 64 * "a"}],
    "fitted": {"rows": 10, "from": "2020-01-01", "to": "2020-12-31"},
    "calibrated": {"rows": 3, "from": "2020-07-01", "to": "2020-12-31", "accuracy": 0.95},
}


def traffic(labels: pl.DataFrame) -> pl.DataFrame:
    """The invented labels a day apart, eight of them later; a merchant seen once, and a new one."""
    first = SINCE - timedelta(days=labels.height - 8)
    dated = labels.sample(fraction=1, shuffle=True, seed=7).with_columns(
        date=pl.lit(first) + pl.duration(days=pl.int_range(pl.len())), amount=pl.lit(12.5)
    )
    more = pl.DataFrame(
        {
            "description": ["LONELY TAXI", "LONELY TAXI", "ZEBRA RIDES 7"],
            "category": ["Food", "Food", "Transportation"],
            "date": [first, SINCE, SINCE],
            "amount": [40.0] * 3,
        }
    )
    return pl.concat([dated, more.select(dated.columns)])


@pytest.fixture(scope="module")
def found(artifact: Artifact, labels: pl.DataFrame) -> Report:
    """The whole evaluation of the small model, whose training is not repeated."""
    model, rows = Model.of(artifact), traffic(labels)
    sections = honest(model, rows, SINCE, lambda _: model, lambda _: None)
    return report(model, rows, sections, {"without a label": 3})


@pytest.fixture(scope="module")
def written(found: Report, artifact: Artifact) -> dict[str, str]:
    """Its documents, card included."""
    return documents(found, Described(replace(artifact, notes=NOTES), 1_500_000, "b" * 64))


def rows_of(document: str, heading: str) -> list[list[str]]:
    """The first table below a heading."""
    below = document.split(f"\n## {heading}\n", maxsplit=1)[1]
    table = re.search(r"\|---.*\n((?:\|.*\n)+)", below)
    assert table
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_each_section_says_what_it_judged(found: Report, labels: pl.DataFrame) -> None:
    """Counts of rows: later ones, those of new merchants, all earlier strings, a fifth of these."""
    rows = {each.name: each.figures.rows for each in found.sections}
    earlier = traffic(labels).filter(pl.col("date") < SINCE)
    assert rows["later traffic"] == 10
    assert rows["merchants never seen"] == 1
    assert sum(count for name, count in rows.items() if name.startswith("descriptor")) == 10
    assert rows["merchant folds"] == earlier["description"].n_unique()
    assert (
        rows["merchant folds, normalised"]
        == earlier.select(normalise(pl.col("description")).n_unique()).item()
    )
    assert rows["random rows (leaky)"] == -(-earlier.height // 5)
    assert found.sections[-1].name == "random rows (leaky)"


def test_training_sees_no_row_that_judges(artifact: Artifact, labels: pl.DataFrame) -> None:
    """Six trainings: five without a fold's merchants, one without a fifth; none sees later rows."""
    model, rows = Model.of(artifact), traffic(labels)
    learnt: list[pl.DataFrame] = []

    def learn(known: pl.DataFrame) -> Model:
        learnt.append(known)
        return model

    honest(model, rows, SINCE, learn, lambda _: None)
    earlier = rows.filter(pl.col("date") < SINCE)
    *folds, random = learnt
    assert all(each["date"].max() < SINCE for each in learnt)  # type: ignore[operator] - a date
    assert sum(earlier.height - each.height for each in folds) == earlier.height
    assert random.height == earlier.height - -(-earlier.height // 5)


def test_a_frequency_is_that_of_the_normalised_descriptor(found: Report) -> None:
    """Another number on the receipt is the same descriptor."""
    rows = {each.name: each.figures.rows for each in found.sections}
    assert rows["descriptor never seen"] == 1
    assert rows["descriptor seen once"] == 1
    assert rows.get("descriptor seen 2 to 9 times", 0) > 0


def test_a_model_that_has_learnt_the_test_is_not_judged_by_it(artifact: Artifact) -> None:
    """Nor is one that does not say what it has learnt."""
    learnt_before(replace(artifact, notes=NOTES), SINCE)
    late = NOTES | {"fitted": {"to": "2021-01-01"}}
    for notes in (late, {}):
        with pytest.raises(Fatal, match="has learnt nothing from 2021-01-01 on") as refused:
            learnt_before(replace(artifact, notes=notes), SINCE)
        assert refused.value.exit_code == CONFIGURATION


def test_a_report_survives_json(found: Report) -> None:
    """What is written as JSON is read as the same report."""
    assert from_json(to_json(found)) == found


def test_the_documents_tell_the_figures(found: Report, written: dict[str, str]) -> None:
    """The table has a line for each section, with its rows and accuracy; the card has the same."""
    told = [[each.name, f"{each.figures.rows:,}"] for each in found.sections]
    assert [row[:2] for row in rows_of(written["model-report.md"], "Figures")] == told
    assert [row[:2] for row in rows_of(written["model-card.md"], "How it was evaluated")] == told
    first = found.sections[0].figures
    assert first.macro_f1 != first.accuracy
    assert rows_of(written["model-report.md"], "Figures")[0][2] == f"{100 * first.accuracy:.1f} %"
    assert "3 without a label" in written["model-report.md"]
    assert from_json(written[FIGURES]) == found


def test_categories_without_a_row_are_told(written: dict[str, str]) -> None:
    """A category that nothing is known of does not vanish from the table in silence."""
    assert "nothing is known of them here: Nothing." in written["model-report.md"]
    assert "not measured: Nothing." in written["model-card.md"]


def test_equal_reports_give_equal_documents(
    found: Report, written: dict[str, str], artifact: Artifact
) -> None:
    """No date of today, no order of a set."""
    described = Described(replace(artifact, notes=NOTES), 1_500_000, "b" * 64)
    assert documents(from_json(to_json(found)), described) == written


def test_no_content_of_a_record_is_told(written: dict[str, str], labels: pl.DataFrame) -> None:
    """No description, no merchant, no word of one."""
    words = {word for text in labels["description"] for word in text.split() if word.isalpha()}
    told = "\n".join(written.values()).upper()
    categories = {"FOOD", "AND"}  # a category's name, and a word of any text
    assert [word for word in words - categories if re.search(rf"\b{word}\b", told)] == []
    assert "ZEBRA" not in told


def test_lines_fit(written: dict[str, str]) -> None:
    """Text is wrapped, whatever the figures; tables, links and headings are as long as they are."""
    for name in ("model-report.md", "model-card.md"):
        lines = [line for line in written[name].splitlines() if line[:1] not in {"|", "!", "#"}]
        assert max(map(len, lines)) <= 110


def test_pictures_are_those_that_the_documents_name(
    found: Report, written: dict[str, str], tmp_path: Path
) -> None:
    """Each is a PNG of a size that fits a page."""
    drawn = draw(found, tmp_path)
    named = set(re.findall(r"\(model-report/([^)]+\.png)\)", "".join(written.values())))
    assert {each.name for each in drawn} == named
    assert sizes(drawn) == {each: pytest.approx(700, abs=500) for each in drawn}


def test_a_single_section_is_drawn_as_well(
    artifact: Artifact, labels: pl.DataFrame, tmp_path: Path
) -> None:
    """A report on one file has its pictures, and no card."""
    model = Model.of(artifact)
    section = judged_on(model, labels, "labelled rows", "all of them")
    alone = report(model, labels, (section,), {})
    assert len(draw(alone, tmp_path)) == 4
    assert documents(alone).keys() == {"model-report.md", FIGURES}


def sizes(files: Sequence[Path]) -> dict[Path, int]:
    """The width in pixels, from each file's head."""
    heads = {each: each.read_bytes()[:24] for each in files}
    assert all(each.startswith(b"\x89PNG\r\n\x1a\n") for each in heads.values())
    return {each: int.from_bytes(head[16:20], "big") for each, head in heads.items()}
