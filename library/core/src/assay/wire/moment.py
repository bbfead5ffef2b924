"""A moment as JSON writes it, in UTC wherever it was written."""

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, AwareDatetime


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:  # an offset may lead out of the calendar
        raise ValueError("must be within the years 1 to 9999 in UTC") from None


Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""With an offset (RFC 3339), within the years 1 to 9999 in UTC."""
