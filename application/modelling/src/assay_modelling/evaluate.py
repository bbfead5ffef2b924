"""The command `assay model evaluate`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Final

import typer

from assay.domain.errors import Fatal
from assay_modelling.given import given
from assay_modelling.options import Contract, Json, ModelName
from assay_modelling.output import progress

if TYPE_CHECKING:
    from assay_model.labels import Categories, Labelled
    from assay_model.predict import Model
    from assay_model.report import Report
    from assay_modelling.chosen import Chosen

NEEDS_EXTRA: Final = "this needs an extra: pip install 'assay-modelling[training]'"


def evaluate(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Labelled rows, a CSV; .gz and .zst too."),
    ] = None,
    *,
    model: ModelName = None,
    contract: Contract = None,
    label: Annotated[
        str, typer.Option(metavar="COLUMN", help="The column with the true category.")
    ] = "category",
    by_mcc: Annotated[
        bool,
        typer.Option(
            "--label-mcc",
            help="That column holds merchant category codes; --data has their categories.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The training data; without FILE, run the whole evaluation on them.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the report there, with pictures."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a model, on labelled rows or on the training data.

    FILE has columns description and category, and may have merchant, amount,
    currency, side, operation_type and mcc. The model never sees the column that
    the label is read from, which cannot be the description. The report names
    categories and counts, and holds nothing of a record.

    With --data and without FILE: by time (on traffic later than what the model
    has learnt), on merchants never seen, by how often a descriptor was seen, in
    cross-validation by merchant, and once on random rows, which is leaky. That
    trains six models, which takes some minutes each.

    Examples:
      assay model evaluate labels.csv --model 1-3f9a
      assay model evaluate cards.csv --contract cards.odcs.yaml --label Kind
      assay model evaluate cards.csv --label mcc --label-mcc --data data/
      assay model evaluate --data data/ --out report/

    Exit codes: 0 done; 65 the labels or the data cannot be used; 75 the registry
    is away; 78 there is no such model, it is damaged, it has learnt what it is to
    be judged on, a contract or settings are wrong, or a library is missing.
    """
    from assay_model.predict import Model
    from assay_modelling.chosen import chosen
    from assay_modelling.told import show_report

    for name, is_given in (("--contract", contract is not None), ("--label-mcc", by_mcc)):
        if is_given and file is None:
            raise typer.BadParameter("belongs to FILE", param_hint=name)
    if out is not None:
        _require_writable(out)
    found = chosen(model)
    judge = Model.of(found.artifact)
    if file is not None:
        categories = _categories(judge, data, by_mcc=by_mcc)
        report = _on_labels(judge, given(file, contract, label, categories), file.name)
    elif data is not None:
        report = _on_training_data(judge, data)
    else:
        raise Fatal("name a FILE of labelled rows, or the training data by --data")
    if out is not None:
        _write(report, out, found if file is None else None)
    show_report(report, as_json=as_json)


def _categories(model: "Model", data: Path | None, *, by_mcc: bool) -> "Categories":
    """What a label means: a category itself, or a merchant category code."""
    from assay_model import corpus
    from assay_model.labels import as_they_are, by_code

    if not by_mcc:
        return as_they_are(model.taxonomy.categories)
    if data is None:
        raise Fatal("--label-mcc takes the categories of the codes from --data: name the folder")
    return by_code(corpus.codes(data))


def _on_labels(model: "Model", labelled: "Labelled", name: str) -> "Report":
    from assay_model.report import judged_on, report

    progress(f"judging {labelled.rows.height} rows")
    split = (
        f"the rows of `{name}`; what the model had learnt of them or their like is not known here"
    )
    sections = (judged_on(model, labelled.rows, "labelled rows", split),)
    return report(model, labelled.rows, sections, labelled.left_out)


def _on_training_data(model: "Model", folder: Path) -> "Report":
    try:
        from assay_model import train
    except ImportError as error:
        raise Fatal(NEEDS_EXTRA) from error
    from assay_model import corpus
    from assay_model.honest import honest, learnt_before
    from assay_model.predict import Model
    from assay_model.report import report

    learnt_before(model.artifact, train.TESTED_FROM)
    traffic, learner = corpus.traffic(folder), train.learner(folder, progress)
    sections = honest(
        model, traffic, train.TESTED_FROM, lambda rows: Model.of(learner(rows)), progress
    )
    return report(model, traffic, sections, {})


def _require_writable(folder: Path) -> None:
    """Returns if a report can be written there; an evaluation takes long.

    Raises:
        Fatal: it cannot, or nothing can draw its pictures.
    """
    try:
        import_module("assay_model.plots")
    except ImportError as error:
        raise Fatal(NEEDS_EXTRA) from error
    from assay_model.documents import FIGURES

    place = (folder / FIGURES).parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        for each in (folder, place):
            with TemporaryFile(dir=each):
                pass
    except OSError as error:
        raise Fatal(f"{folder} cannot be written: {error.strerror}") from error


def _write(report: "Report", folder: Path, found: "Chosen | None") -> None:
    """Writes the documents and pictures of a report; those of an earlier one are replaced."""
    from assay_model.card import Described
    from assay_model.documents import FIGURES, documents
    from assay_model.plots import draw

    about = None if found is None else Described(found.artifact, found.size, found.sha256)
    try:
        for name, text in documents(report, about).items():
            (folder / name).write_text(text, "utf-8")
            progress(f"wrote {folder / name}")
        for picture in draw(report, (folder / FIGURES).parent):
            progress(f"wrote {picture}")
    except OSError as error:
        raise Fatal(f"{folder} cannot be written: {error.strerror}") from error
