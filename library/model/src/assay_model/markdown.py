"""A report as Markdown: tables, with pictures where there are some."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import fill
from typing import Final

from assay_model.evaluate import Figures
from assay_model.measures import BINS, FEW
from assay_model.report import Confusion, Cost, Detail, Report, Section

CONFUSIONS: Final = 10
"""So many of the most frequent ones are told."""

_WIDTH: Final = 105

_WORDS: Final = f"""\
## What the words mean

- **accuracy**: share of rows whose category is right. Its 95 % interval is Wilson's (1927) at
  the effective number of rows by merchant (Kish 1965; Dean and Pagano 2015): a thousand payments
  to one shop are not a thousand witnesses. Intervals of single categories take rows for
  independent, so they are rather too narrow.
- **macro-F1**: mean of F1 over the categories with {FEW} rows or more (Sokolova and Lapalme
  2009), for F1 of a few rows is mostly chance; with the number of these categories.
- **calibration error**: mean distance between confidence and accuracy over {BINS} bins of equal
  width, weighted by rows (Guo et al. 2017, equation 3).
- **accepted**: share of rows that the model's own threshold spares a review, and how much of
  that is right.
- **coverage at 95 %**: largest share of rows that some threshold on confidence accepts with 95 %
  of them right (El-Yaniv and Wiener 2010). That threshold is found on the rows judged; the
  model's own is not.
- **confidence** of a category: the mean over the answers of this category, to be held against
  precision.
- **amount**: refunds count with the size of theirs.
- **merchant**: the first eight letters of the upper-cased description, A to Z only.
"""


def markdown(report: Report, title: str, about: str, pictures: str | None = None) -> str:
    """The report as a document; equal reports give equal text.

    Args:
        report: to tell.
        title: of the document.
        about: a sentence on how it came to be.
        pictures: the folder of `assay_model.plots.draw`, as a link from the document names it;
            None leaves them out.
    """
    details = [(each, each.detail) for each in report.sections if each.detail is not None]
    parts = [
        f"# {title}\n",
        _about(report, about),
        "## Figures\n",
        figures_table(report.sections),
        splits(report.sections) + "\n",
    ]
    if pictures is not None:
        parts += [
            f"![Accuracy against confidence]({pictures}/reliability.png)\n",
            f"![Accuracy against the share accepted]({pictures}/coverage.png)\n",
            f"![F1 of each category]({pictures}/categories.png)\n",
        ]
    for each, detail in details:
        parts += _section(each, detail, report.categories, pictures)
    parts.append(_WORDS)
    return "\n".join(parts)


def figures_table(sections: Iterable[Section]) -> str:
    """The figures of each section, a line each, as a Markdown table."""
    return table(
        f"split | rows | accuracy | 95 % interval | macro-F1, {FEW} rows or more "
        "| calibration error | accepted | right of these | coverage at 90 % | 95 % | 98 %",
        ((each.name, f"{each.figures.rows:,}", *_shares(each.figures)) for each in sections),
    )


def splits(sections: Iterable[Section]) -> str:
    """How the rows of each section were chosen, as a Markdown list."""
    return bullets(f"**{each.name}**: {each.split}." for each in sections)


def bullets(lines: Iterable[str]) -> str:
    """A Markdown list, its lines wrapped."""
    return "\n".join(fill(f"- {each}", _WIDTH, subsequent_indent="  ") for each in lines)


def categories_table(detail: Detail) -> str:
    """What there is to say of each category, a line each, as a Markdown table."""
    return table(
        "category | rows | answered | precision | recall | 95 % interval | F1 | confidence",
        (
            (
                each.category,
                f"{each.rows:,}",
                f"{each.answered:,}",
                percent(each.precision),
                percent(each.recall),
                f"{percent(each.recall_low)} to {percent(each.recall_high)}" if each.rows else "-",
                f"{each.f1:.3f}",
                "-" if each.confidence is None else f"{each.confidence:.3f}",
            )
            for each in detail.categories
        ),
    )


def confusions(detail: Detail) -> list[Confusion]:
    """The most frequent ones, where the answer is wrong."""
    wrong = [each for each in detail.confusion if each.truth != each.predicted]
    return wrong[:CONFUSIONS]


def absent(detail: Detail, categories: Iterable[str]) -> list[str]:
    """The categories that no row has."""
    measured = {each.category for each in detail.categories if each.rows}
    return [each for each in categories if each not in measured]


def percent(share: float | None) -> str:
    """A share as a person reads it, or a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f} %"


def macro(figures: Figures) -> str:
    """Macro-F1 over the categories with rows enough, and how many these are."""
    if figures.macro_f1 is None:
        return "-"
    return f"{figures.macro_f1:.3f} of {figures.common}"


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    columns = head.count("|") + 1
    lines = [f"| {head} |", f"|---|{'---:|' * (columns - 1)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _about(report: Report, about: str) -> str:
    given = ", ".join(f"`{name}`" for name in report.given)
    left_out = [f"{count:,} {reason}" for reason, count in report.left_out.items()]
    lines = [
        f"model: `{report.model}`, version `{report.version}`, taxonomy {report.taxonomy}",
        f"its threshold: answers with a confidence below {report.review_below:.3f} need a review",
        f"given to it, whether it uses them or not: {given}",
    ]
    if left_out:
        lines.append(f"rows left out: {'; '.join(left_out)}")
    return f"{fill(about, _WIDTH)}\n\n{bullets(lines)}\n"


def _shares(figures: Figures) -> Iterator[str]:
    yield percent(figures.accuracy)
    yield f"{percent(figures.accuracy_low)} to {percent(figures.accuracy_high)}"
    yield macro(figures)
    yield f"{figures.calibration_error:.3f}"
    yield percent(figures.accepted)
    yield percent(figures.accepted_accuracy)
    yield percent(figures.coverage_at_90)
    yield percent(figures.coverage_at_95)
    yield percent(figures.coverage_at_98)


def _section(
    section: Section, detail: Detail, categories: Sequence[str], pictures: str | None
) -> Iterator[str]:
    figures = section.figures
    yield f"## {section.name[:1].upper()}{section.name[1:]}\n"
    yield fill(f"Split: {section.split}.", _WIDTH) + "\n"
    yield (
        f"{figures.rows:,} rows of {figures.descriptors:,} descriptions and {figures.merchants:,} "
        "merchants.\n"
    )
    yield categories_table(detail)
    if silent := [each.category for each in detail.categories if not each.answered]:
        yield fill(f"Never answered, though they occur: {', '.join(silent)}.", _WIDTH) + "\n"
    if unmeasured := absent(detail, categories):
        without = f"Without a row, so that nothing is known of them here: {', '.join(unmeasured)}."
        yield fill(without, _WIDTH) + "\n"
    if pictures is not None:
        yield f"![What is taken for what]({pictures}/{picture(section)})\n"
    if wrong := confusions(detail):
        yield "The most frequent confusions:\n"
        yield table(
            "true category | answered | rows | share of the true category's rows",
            ((each.truth, each.predicted, f"{each.rows:,}", percent(each.share)) for each in wrong),
        )
    yield "Confidence against accuracy:\n"
    yield table(
        "confidence from | rows | mean confidence | accuracy",
        (
            (
                f"{each.least:.3f}",
                f"{each.rows:,}",
                f"{each.confidence:.3f}",
                f"{each.accuracy:.3f}",
            )
            for each in detail.reliability
        ),
    )
    if detail.costs:
        yield "What lies in a wrong category, by amount:\n"
        yield table(
            "currency | amount | wrong | share | accepted | wrong of it | share",
            map(_cost, detail.costs),
        )


def picture(section: Section) -> str:
    """The file's name of a section's confusion matrix."""
    words = "".join(each if each.isalnum() else " " for each in section.name.lower()).split()
    return f"confusion-{'-'.join(words)}.png"


def _cost(cost: Cost) -> tuple[str, ...]:
    return (
        cost.currency or "-",
        f"{cost.amount:,.0f}",
        f"{cost.wrong:,.0f}",
        percent(cost.wrong / cost.amount if cost.amount else None),
        f"{cost.accepted:,.0f}",
        f"{cost.accepted_wrong:,.0f}",
        percent(cost.accepted_wrong / cost.accepted if cost.accepted else None),
    )
