"""What the model in the package answers, and that it is what its notes say."""

import json
import re
from datetime import date
from pathlib import Path
from string import ascii_uppercase
from typing import Final

import numpy as np
import polars as pl
import pytest

from assay.domain.taxonomy import DEFAULT
from assay_model import corpus
from assay_model.artifact import SHIPPED, arrays, load, save
from assay_model.documents import FIGURES
from assay_model.honest import by_time
from assay_model.knowledge import taught
from assay_model.predict import Model
from assay_model.report import from_json
from assay_model.train import TESTED_FROM, Learner, measure

DOCS: Final = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("description", "category"),
    [
        ("SALARY ACME LTD", "Salary Income"),
        ("PAYROLL ACH GLOBEX", "Salary Income"),
        ("MONTHLY RENT", "Rent"),
        ("NETFLIX.COM", "Subscriptions"),
        ("TESCO STORES 3241", "Food"),
        ("UBER *TRIP", "Transportation"),
        ("HMRC VAT", "Government & Taxes"),
        ("ATM WITHDRAWAL", "Cash & Fees"),
        ("TRANSFER TO SAVINGS 12345678", "Transfers"),
        ("BLUE LAGOON CAFE", "Restaurant"),
        ("JOE PLUMBING", "Home"),
        ("VODAFONE BILL", "Utilities"),
        ("RIVERSIDE DENTAL CARE", "Healthcare"),
        ("RYANAIR FR123", "Travel"),
        ("VANGUARD ISA", "Investment"),
        ("CAR INSURANCE PREMIUM", "Insurance"),
        ("DONATION RED CROSS", "Charity & Membership"),
        ("CITY COLLEGE TUITION", "Education"),
        ("CINEMA TICKETS", "Entertainment"),
        ("DEPARTMENT STORE", "Shopping"),
        ("SMITH SOLICITORS LLP", "Client Expenses"),
        ("DOCTOR", "Healthcare"),
        ("RENT", "Rent"),
        ("LLOYDS BANK MORTGAGE", "Cash & Fees"),
        ("PENSION FUND PAYMENT", "Investment"),
    ],
)
def test_plain_descriptions_are_understood(shipped: Model, description: str, category: str) -> None:
    """Every category has a text that anybody would put there, and so does the model."""
    answer = shipped.predict(pl.DataFrame({"description": [description]})).row(0, named=True)
    assert (answer["category"], answer["needs_review"]) == (category, False)


CUES: Final = {
    "Salary Income": "SALARY ACME LTD|EMPLOYER PAYROLL 0325|BGC WAGES JUNE|VIREMENT SALAIRE MARS|"
    "VIREMENT PAIE MARS|GEHALT MAERZ|LOHN ACME GMBH|NOMINA ACME SL|SALARIO MARZO",
    "Rent": "MONTHLY RENT|RENT STANDING ORDER|LOYER MARS|LOYER APPARTEMENT|MIETE WOHNUNG|"
    "MIETE APRIL|ALQUILER PISO|ALQUILER VIVIENDA",
    "Insurance": "HOME INSURANCE DD|LIFE INSURANCE|ASSURANCE HABITATION|MUTUELLE SANTE|"
    "HAFTPFLICHTVERSICHERUNG|KFZ VERSICHERUNG|SEGURO HOGAR|SEGURO COCHE",
    "Investment": "ISA CONTRIBUTION|STOCKS AND SHARES ISA|SHARE DEALING|ASSURANCE VIE VERSEMENT|"
    "ACHAT TITRES|DEPOT SPARPLAN|WERTPAPIERKAUF|FONDO INVERSION APORTACION|COMPRA VALORES",
    "Transfers": "TRANSFER FROM J DOE|FASTER PAYMENT TO|VIREMENT VERS LIVRET A|VIREMENT INTERNE|"
    "UMBUCHUNG SPARKONTO|UEBERTRAG|TRASPASO CUENTA|TRANSFERENCIA A AHORRO",
    "Government & Taxes": "COUNCIL TAX DD|HMRC SELF ASSESSMENT|IMPOTS DGFIP|TAXE FONCIERE|"
    "FINANZAMT EINKOMMENSTEUER|KFZ STEUER|AGENCIA TRIBUTARIA|IBI AYUNTAMIENTO",
    "Cash & Fees": "CASH WITHDRAWAL HIGH ST|OVERDRAFT FEE|LOAN INTEREST CHARGE|RETRAIT DAB|"
    "FRAIS BANCAIRES|COTISATION CARTE|BARGELDABHEBUNG|KONTOFUEHRUNGSENTGELT|RETIRADA CAJERO|"
    "COMISION MANTENIMIENTO",
    "Utilities": "ELECTRICITY BILL|FACTURE ELECTRICITE|STROM ABSCHLAG|STADTWERKE GAS|RECIBO LUZ|"
    "AGUA RECIBO",
}


@pytest.mark.parametrize("category", CUES)
def test_the_wording_of_banks_is_understood(shipped: Model, category: str) -> None:
    """What cards do not pay for, as banks in four languages print it."""
    texts = CUES[category].split("|")
    answers = shipped.predict(pl.DataFrame({"description": texts}))["category"]
    assert dict(zip(texts, answers, strict=True)) == dict.fromkeys(texts, category)


def test_what_makes_no_sense_needs_review(shipped: Model) -> None:
    """Letters and digits at random, scripts it has not learnt, words that say nothing."""
    random = np.random.default_rng(3)
    letters = [
        "".join(random.choice([*ascii_uppercase], size)) for size in random.integers(4, 14, 400)
    ]
    foreign = [
        "אוטובוס חיפה",
        "ローソン 東京",
        "北京 餐厅",
        "한국 편의점",
        "ร้านอาหาร",
        "مطعم بيروت",
    ]
    for texts, least in (
        (letters, 0.99),
        (foreign, 1.0),
        (["4711", "123 456", "1A2B3C", "X"], 1.0),
        (["THE", "FOR", "COM", "INC", "LTD", "A" * 1024], 1.0),
    ):
        answers = shipped.predict(pl.DataFrame({"description": texts}))
        assert answers["needs_review"].to_numpy().mean() >= least


def test_a_code_is_nearly_the_answer(shipped: Model) -> None:
    """It decides what the text leaves open, and the text decides what the code leaves open."""
    asked = pl.DataFrame(
        {
            "description": ["JDH 4 LTD", "JDH 4 LTD", "CITY CINEMA TICKETS", "SALARY ACME LTD"],
            "mcc": ["5812", None, "5999", None],
            "side": ["debit", "debit", "debit", "credit"],
        }
    )
    answers = shipped.predict(asked)
    assert answers["category"].to_list()[::3] == ["Restaurant", "Salary Income"]
    assert answers["category"][2] == "Entertainment"
    assert answers["confidence"][0] > 0.85
    assert not answers["needs_review"][0]
    assert answers["confidence"][1] < 0.6


def test_nothing_to_go_by_needs_review(shipped: Model) -> None:
    """A text of which nothing is left is not judged with confidence."""
    blank = pl.DataFrame({"description": ["\U0001f937", "  ", "***"]})
    assert shipped.predict(blank)["needs_review"].all()


def test_it_speaks_the_default_taxonomy(shipped: Model) -> None:
    """The taxonomy in the artifact is the product's."""
    assert shipped.taxonomy == DEFAULT


@pytest.mark.corpus
def test_the_notes_hold_what_is_measured(shipped: Model, corpora: Path) -> None:
    """On the traffic after the fit, figures are those that the artifact states."""
    traffic = corpus.traffic(corpora)
    later = pl.col("date") >= TESTED_FROM
    found = measure(shipped.artifact, traffic.filter(~later), traffic.filter(later))
    stated = shipped.artifact.notes["tested"]["measured"]
    assert found.keys() == stated.keys()
    for name, figures in stated.items():
        assert figures == pytest.approx({each: found[name][each] for each in figures}, abs=2e-6)
    assert found["all rows"]["accuracy"] > 0.935
    assert found["all rows"]["calibration_error"] < 0.03
    assert found["all rows"]["coverage_at_95"] > 0.92
    assert found["all rows"]["accepted_accuracy"] > 0.95
    assert found["merchants never seen"]["accuracy"] > 0.6
    assert found["merchants never seen"]["calibration_error"] < 0.06


@pytest.mark.corpus
def test_the_report_holds_what_is_measured(shipped: Model, corpora: Path) -> None:
    """What needs no training comes out again, figure by figure."""
    traffic, day = corpus.traffic(corpora), pl.col("date")
    learnt, later = traffic.filter(day < TESTED_FROM), traffic.filter(day >= TESTED_FROM)
    written = from_json((DOCS / FIGURES).read_text("utf-8")).sections
    assert tuple(by_time(shipped, learnt, later, TESTED_FROM)) == written[:-3]


@pytest.mark.corpus
def test_the_report_holds_no_merchant(corpora: Path) -> None:
    """No description of the traffic can be read in the report or the card."""
    # What is as short as a word of English may well be one.
    names = {
        text.upper() for text in corpus.traffic(corpora)["description"].unique() if len(text) > 12
    }
    for name in ("model-report.md", "model-card.md", FIGURES):
        told = (DOCS / name).read_text("utf-8").upper()
        assert not [each for each in names if each in told]


@pytest.mark.corpus
def test_the_artifact_holds_no_description(corpora: Path) -> None:
    """No description of the traffic and no brand can be read in the shipped file."""
    described = corpus.traffic(corpora)["description"].unique()
    brands = pl.read_csv(corpora / corpus.BRANDS)["brand"]
    # Five random bytes may well be five letters: shorter names prove nothing.
    names = {name for text in (*described, *brands) if len(name := text.strip().upper()) > 6}
    artifact = load(SHIPPED)
    said = json.dumps(
        [artifact.notes, artifact.taxonomy.categories, *arrays(artifact.weights)]
    ).upper()
    printable = b"\n".join(re.findall(rb"[ -~]{7,}", SHIPPED.read_bytes())).decode().upper()
    assert not [name for name in names if name in printable and name not in said]


@pytest.mark.corpus
def test_training_on_real_traffic_repeats(corpora: Path, tmp_path: Path) -> None:
    """Two trainings on the same part of the traffic write the same bytes."""
    rows = corpus.traffic(corpora)
    day = pl.col("date")
    rows = rows.filter(day < TESTED_FROM, day >= date(2020, 6, 1)).head(4000)
    written: list[bytes] = []
    for name in ("one.npz", "two.npz"):
        known = taught(
            corpus.lessons(corpora).head(500), corpus.phrases(corpora).head(500), DEFAULT, bits=12
        )
        learner = Learner(known, {}, DEFAULT, progress=lambda _: None)
        save(learner(rows), tmp_path / name)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
