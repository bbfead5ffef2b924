"""The documents that tell a report: Markdown, all figures as JSON, and the card of a model."""

from typing import Final

from assay_model.card import Described, card
from assay_model.markdown import markdown
from assay_model.report import Report, to_json

FIGURES: Final = "model-report/figures.json"


def documents(report: Report, described: Described | None = None) -> dict[str, str]:
    """The text of each document by its path; equal arguments give equal texts.

    `assay_model.plots.draw` makes the pictures that they name, in the folder `model-report`.

    Args:
        report: to tell.
        described: the model that the report is about, where it is that of
            `assay_model.honest.honest`; adds the card.
    """
    pictures = FIGURES.partition("/")[0]
    made_by = "`assay model evaluate`" if described is None else "`poe model-report`"
    about = (
        f"Made by {made_by}; [figures.json]({FIGURES}) holds every figure. It tells categories and "
        "counts, and nothing of a "
        "record."
    )
    texts = {
        "model-report.md": markdown(report, f"Report on {report.model}", about, pictures),
        FIGURES: to_json(report) + "\n",
    }
    if described is not None:
        texts["model-card.md"] = card(report, described)
    return texts
