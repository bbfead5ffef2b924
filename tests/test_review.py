"""From what the model is unsure of, over what a person says, to what the model answers."""

from pathlib import Path

import polars as pl
from demo.samples import HEADER
from system import System

from assay.pipeline.pump import Policy
from assay.wire.corrections import read
from assay_model.corrections import corrected
from assay_model.predict import Model


def test_the_model_learns_from_a_person(system: System, tmp_path: Path) -> None:
    """Records that the real API is unsure of are one group; corrected, the views have it at once.

    Published, the model answers with it for a record that differs in its number.
    """
    (tmp_path / "in").mkdir()
    records = [
        f"T{n}{text[0]};{text} {4711 + n};-3,80;2024-05-02 08:15:00;;payment;debit"
        for text in ("ZZZZ UNKNOWN", "QZXV WOBBLY", "ζωη ξψφ")
        for n in range(3)
    ]
    (tmp_path / "in" / "a.csv").write_text("\n".join([HEADER, *records, ""]), "utf-8")
    contract = system.contract("transactions").read_text("utf-8")
    assert system.batch_here(f"{tmp_path}/in/", contract, Policy())[1] is None
    group = system.quick("review", "list", "--json").summary["groups"][0]
    text, _, number = group["description"].rpartition(" ")
    assert (group["transactions"], number) == (3, "4711")

    name = group["group"]
    assert system.quick("review", "correct", name[:8], "Healthcare", "--by", "ann").exit_code == 0
    shown = (
        "SELECT count(*), bool_or(needs_review), min(corrected_by)"
        " FROM transactions_with_predictions WHERE category = 'Healthcare'"
    )
    assert system.query(shown) == [(3, False, "ann")]

    registry = {"ASSAY_MODELS__REGISTRY": system.uri("models/")}
    done = system.quick("review", "publish", "--json", **registry)
    assert (done.exit_code, done.summary["corrections"]) == (0, 1)
    (item,) = system.objects.list(system.uri("models/corrections.json"))
    model = corrected(Model.load(), read(b"".join(system.objects.read(item))))
    asked = {"description": [f"{text.lower()} - 999", "GREENLEAF SUPERMARKET"], "merchant": None}
    answered = model.predict(
        pl.DataFrame(asked, schema={"description": pl.String, "merchant": pl.String})
    )
    assert answered["category"].to_list()[0] == "Healthcare"
    assert answered["feature_hash"][0] == name
    assert answered["confidence"].to_list()[0] == 1.0
    assert model.version.startswith(f"{Model.load().version}+")
