"""The rows of a file that a command is given."""

from pathlib import Path
from typing import TYPE_CHECKING

from assay.domain.errors import Fatal
from assay_modelling import bootstrap

if TYPE_CHECKING:
    from assay_model.labels import Categories, Labelled


def given(
    file: Path, contract: Path | None, label: str | None, categories: "Categories"
) -> "Labelled":
    """The rows of a CSV, by its plain columns or by a contract, with labels where one names them.

    Raises:
        Unreadable: the file cannot be read, or not like this.
        Fatal: the contract cannot be read, or is none.
    """
    from assay.contract.document import parse  # noqa: PLC0415 - help does not wait for it
    from assay_model.labels import by_contract, plain  # noqa: PLC0415 - the same

    if contract is None:
        return plain(file, label, categories)
    try:
        document = contract.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"the contract {contract} cannot be read as UTF-8") from error
    read_by = parse(document, str(contract))
    return by_contract(read_by, str(file), bootstrap.blocks(file), label, categories)
