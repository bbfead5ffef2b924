"""A report as a terminal shows it, in 80 columns."""

from dataclasses import asdict

from rich.table import Column

from assay_model.markdown import absent, confusions, percent
from assay_model.measures import FEW
from assay_model.report import Detail, Report
from assay_modelling.output import print_json, say, show, table

_CONFUSIONS = 5


def show_report(report: Report, *, as_json: bool) -> None:
    """Prints the figures of each section and the detail of the first one; or all, as JSON."""
    if as_json:
        print_json(asdict(report))
        return
    say(
        f"{report.model} {report.version}, which leaves answers below {report.review_below:.3f} to "
        f"a person; it was given {', '.join(report.given)}"
    )
    for reason, count in report.left_out.items():
        say(f"{count:,} rows left out: {reason}")
    say("")
    _show_figures(report)
    first = report.sections[0]
    if first.detail is not None:
        say(f"\n{first.name}:\n")
        _show_detail(first.detail, report.categories)


def _show_figures(report: Report) -> None:
    names = (
        "rows",
        "accuracy",
        "macro\nF1 *",
        "calibr.\nerror",
        "no\nreview",
        "right\nof it",
        "at\n95 %",
    )
    rows = table("in %", *(Column(name, justify="right") for name in names))
    for each in report.sections:
        figures = each.figures
        rows.add_row(
            each.name,
            f"{figures.rows:,}",
            *(
                "-" if share is None else f"{100 * share:.1f}"
                for share in (
                    figures.accuracy,
                    figures.macro_f1,
                    figures.calibration_error,
                    figures.accepted,
                    figures.accepted_accuracy,
                    figures.coverage_at_95,
                )
            ),
        )
    show(rows)
    figures = report.sections[0].figures
    say(
        "\nNo review: accepted by the model's threshold. At 95 %: what some threshold accepts with "
        "95 % of it right."
    )
    say(
        f"Accuracy on {report.sections[0].name} lies between {percent(figures.accuracy_low)} and "
        f"{percent(figures.accuracy_high)} (95 % interval by merchant)."
    )
    say(f"* Over the categories with {FEW} rows or more, {figures.common} of {figures.categories}.")
    if figures.wrong_amount is not None:
        say(
            f"Of the amount {percent(figures.wrong_amount)} lies in a wrong category, of the "
            f"accepted amount {percent(figures.accepted_wrong_amount)}."
        )


def _show_detail(detail: Detail, categories: tuple[str, ...]) -> None:
    names = ("rows", "answered", "precision", "recall", "F1", "confidence")
    rows = table("category", *(Column(name, justify="right") for name in names))
    for each in detail.categories:
        rows.add_row(
            each.category,
            f"{each.rows:,}",
            f"{each.answered:,}",
            percent(each.precision),
            percent(each.recall),
            f"{each.f1:.3f}",
            "-" if each.confidence is None else f"{each.confidence:.3f}",
        )
    show(rows)
    if unmeasured := absent(detail, categories):
        say(f"\nWithout a row: {', '.join(unmeasured)}.")
    if wrong := confusions(detail)[:_CONFUSIONS]:
        say("\nMost often confused:\n")
        names = ("true category", "answered", "rows", "of its rows")
        rows = table(*names[:2], *(Column(name, justify="right") for name in names[2:]))
        for each in wrong:
            rows.add_row(each.truth, each.predicted, f"{each.rows:,}", percent(each.share))
        show(rows)
