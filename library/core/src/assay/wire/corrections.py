"""People's corrections as an object beside the models: what descriptors are, whatever a model says.

A JSON document, `{"format": 1, "corrections": [{…}, …]}`, one correction a line. Each has these
members:

| name | value |
|---|---|
| `description`, `merchant` | as a supplier wrote them, the latter null where none was named |
| `category` | the right one |
| `at` | when it was said, RFC 3339 |

Whoever reads it normalises description and merchant as its own model does. Of several corrections
of what is one descriptor to the model, the latest counts. They are sorted, so that equal
corrections are equal bytes.
"""

from typing import Annotated, Final, Literal

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from assay.domain.errors import Unreadable
from assay.domain.wording import worded
from assay.wire.moment import Moment

NAME: Final = "corrections.json"
"""Of the object, in the registry of models."""

FORMAT: Final = 1
CORRECTIONS: Final = pl.Schema(
    {
        "description": pl.String(),
        "merchant": pl.String(),
        "category": pl.String(),
        "at": pl.Datetime("us", "UTC"),
    }
)
"""The columns of corrections as a frame; of these only `merchant` may be null."""

_ORDER: Final = ("at", "description", "merchant", "category")


class _Correction(BaseModel):
    model_config = ConfigDict(extra="forbid")

    description: str
    merchant: str | None
    category: str
    at: Moment


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    # true and 1.0 equal 1, and are none.
    format: Annotated[Literal[1], BeforeValidator(lambda said: said if type(said) is int else None)]
    corrections: list[_Correction]


def write(corrections: pl.DataFrame) -> bytes:
    """The document; the order of the rows does not matter.

    Args:
        corrections: shaped as `CORRECTIONS`.
    """
    rows = corrections.sort(_ORDER, nulls_last=False).iter_rows(named=True)
    lines = [_Correction.model_validate(row).model_dump_json() for row in rows]
    inner = ",\n".join(lines)
    return f'{{"format": {FORMAT}, "corrections": [\n{inner}\n]}}\n'.encode()


def read(body: bytes) -> pl.DataFrame:
    """The corrections of a document, shaped as `CORRECTIONS`, the latest ones last.

    Raises:
        Unreadable: it is none, or of another format; says what is wrong and quotes nothing.
    """
    try:
        document = _Document.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(each + 1 if isinstance(each, int) else each) for each in fault["loc"])
        raise Unreadable(f"no corrections can be read: {place or 'it'} {worded(fault)}") from None
    rows = [vars(each) for each in document.corrections]
    return pl.DataFrame(rows, schema=CORRECTIONS).sort(_ORDER, nulls_last=False)
