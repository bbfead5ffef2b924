"""Ledger entries on a topic: one message a range, in the transaction of what came of it.

The key is `<source>/<partition>`, the value a JSON object with the columns of the table `ledger`
(`source`, `partition`, `first`, `next`, the counts, `run_id`, `accepts_rejects`, `end_state`), the
`numbering` of the positions, the `group` of consumers whose books they are, and `predictions`: the
source that those which were classified are read from (`kafka/` and their topic), null where they
were delivered to a target.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from assay.domain.errors import Unreadable
from assay.domain.outcome import Outcome
from assay.domain.position import End
from assay.domain.tally import Tally
from assay.domain.wording import worded

# Sums of them are numbers that a database can hold.
_Count = Annotated[int, Field(ge=0, lt=1 << 53)]
_Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,255}$")]


def book(group: str, numbering: str | None) -> str:
    """What the books of a group are called beside those of others, of one topic by its id."""
    return group if numbering is None else f"{group}/{numbering}"


class Entry(BaseModel):
    """One committed range; the fields are the columns of the table `ledger`, with its rules."""

    model_config = ConfigDict(strict=True, frozen=True)

    source: _Name
    partition: _Name
    first: _Count
    next: _Count
    read: _Count
    classified: _Count
    rejected: _Count
    duplicate: _Count
    needs_review: _Count
    run_id: _Name
    accepts_rejects: bool
    end_state: End | None
    numbering: _Name | None
    group: _Name
    predictions: _Name | None

    @model_validator(mode="after")
    def _balances(self) -> Self:
        tally = self.tally
        is_range = self.first < self.next or self.end_state == "finished"
        if not (
            is_range
            and tally.read <= self.next - self.first
            and tally.balances
            and tally.needs_review <= tally.classified
        ):
            raise ValueError("its numbers contradict each other")
        return self

    @property
    def book(self) -> str:
        """Whose books it is of: see `book`."""
        return book(self.group, self.numbering)

    @property
    def tally(self) -> Tally:
        """Its counts."""
        return Tally(self.read, self.classified, self.rejected, self.duplicate, self.needs_review)


def encode(
    outcome: Outcome, found: Sequence[Tally], group: str, predictions: str | None
) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of a message for each range, in their order.

    Args:
        outcome: that is committed.
        found: the tally of each of its ranges.
        group: of consumers.
        predictions: the source of those that were classified; None where a target has them.
    """
    for each, tally in zip(outcome.ranges, found, strict=True):
        entry = Entry(
            source=outcome.source,
            partition=each.partition,
            first=each.first,
            next=each.next,
            **vars(tally),
            run_id=outcome.run_id,
            accepts_rejects=outcome.accepts_rejects,
            end_state=each.end,
            numbering=each.numbering,
            group=group,
            predictions=predictions,
        )
        yield f"{entry.source}/{entry.partition}".encode(), entry.model_dump_json().encode()


def decode(value: bytes | None) -> Entry:
    """The entry in a message.

    Raises:
        Unreadable: it is none; says what is wrong with it.
    """
    try:
        return Entry.model_validate_json(value or b"")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the message"
        raise Unreadable(f"a message is no ledger entry: {where}: {worded(first)}") from None
