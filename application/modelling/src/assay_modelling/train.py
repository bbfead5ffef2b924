"""The command `assay model train`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from assay.domain.errors import Fatal, Unreadable
from assay.domain.wording import counted
from assay_modelling.output import progress

if TYPE_CHECKING:
    import polars as pl

_REGISTRY: Final = "registry"


def train(
    data: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where the training data are.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the model.")] = Path(
        "model.npz"
    ),
    corrections: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Learn from what people have said, too: a corrections.json, as `assay review"
            f" publish` writes it; `{_REGISTRY}`: the one that is published.",
        ),
    ] = None,
) -> None:
    """Train a model; the same data and corrections give the same bytes.

    A correction stands in place of all that the data say of its descriptor.

    Examples:
      assay model train --data data/ --out model.npz
      assay model train --data data/ --corrections registry

    Exit codes: 0 done; 65 a file of the data or the corrections is missing or
    not as expected; 75 the registry is away; 78 a correction has a category
    that there is not, settings are wrong, or the libraries for training are not
    installed.
    """
    try:
        # The service that only predicts goes without the libraries for training.
        from assay_model import train as training
    except ImportError as error:
        raise Fatal("training needs an extra: pip install 'assay-modelling[training]'") from error
    from assay_model.artifact import save

    said = None if corrections is None else _said(corrections)
    if said is not None:
        progress(f"learning from {counted(said.height, 'correction', 'corrections')}")
    save(training.train(data, progress, said), out)
    progress(f"wrote {out}, {out.stat().st_size} bytes")


def _said(place: str) -> "pl.DataFrame":
    """What people have said, shaped as `assay.wire.corrections.CORRECTIONS`.

    Raises:
        Unavailable: the registry is away.
        Unreadable: there are no corrections, or they are none.
        Fatal: the settings are wrong.
    """
    from assay.wire.corrections import read
    from assay_modelling import bootstrap

    if place != _REGISTRY:
        try:
            return read(b"".join(bootstrap.blocks(Path(place))))
        except Unreadable as error:
            raise Unreadable(f"{place}: {error}") from None
    registry = bootstrap.registry()
    item = registry.said()
    if item is None:
        raise Unreadable(f"{registry.root} has no corrections: run `assay review publish`")
    return registry.corrections(item)
