"""Whether files are taken by a contract."""

from assay.contract.contract import Contract
from assay.contract.draft import undecided


def objection_to(contract: Contract, text: str) -> str | None:
    """Why nothing is written by a contract, and what to do; None where it is in force.

    Args:
        contract: as it was read.
        text: what it was read from.

    Returns:
        What follows its name in a sentence.
    """
    if contract.in_force:
        return None
    if contract.status == "retired":
        return "is retired: name the one that has replaced it, or set `status: active`"
    lines = ", ".join(str(mark.line) for mark in undecided(text))
    return (
        f"is {'a draft' if contract.status == 'draft' else contract.status}: "
        f"{f'decide what is marked in its lines {lines}' if lines else 'read it through'}, "
        "then set `status: active`"
    )
