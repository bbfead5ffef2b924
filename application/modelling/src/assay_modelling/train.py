"""The command `assay model train`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from pathlib import Path
from typing import Annotated

import typer

from assay.domain.errors import Fatal
from assay_modelling.output import progress


def train(
    data: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where the training data are.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the model.")] = Path(
        "model.npz"
    ),
) -> None:
    """Train a model; the same data give the same bytes.

    Example:
      assay model train --data data/ --out model.npz

    Exit codes: 0 done; 65 a file of the data is missing or not as expected; 78
    the libraries for training are not installed.
    """
    try:
        # The service that only predicts goes without scikit-learn.
        from assay_model import train as training
    except ImportError as error:
        raise Fatal("training needs an extra: pip install 'assay-modelling[training]'") from error
    from assay_model.artifact import save

    save(training.train(data, progress), out)
    progress(f"wrote {out}, {out.stat().st_size} bytes")
