"""The JSON of a model file: what it must be, so that whatever is loaded is well-formed."""

from datetime import date
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from assay.domain.wording import worded

# Codes of categories are bytes, and counts are exact as doubles.
_CATEGORIES: Final = 255
_MOST: Final = 1 << 53

Count: TypeAlias = Annotated[int, Field(ge=0, le=_MOST)]
Figure: TypeAlias = Count | Annotated[float, Field(allow_inf_nan=False)] | None
Measured: TypeAlias = dict[str, dict[str, Figure]]
"""What was measured at training, by what it was measured on; see `assay_model.evaluate.Figures`."""

_Name: TypeAlias = Annotated[str, Field(min_length=1)]
_Day: TypeAlias = Annotated[str, AfterValidator(date.fromisoformat)]
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Taxonomy(_Part):
    name: _Name
    version: _Name
    categories: Annotated[list[_Name], Field(min_length=1, max_length=_CATEGORIES)]


class _Reference(_Part):
    rows: Annotated[Count, Field(ge=1)]
    categories: dict[str, Count]
    mean_confidence: _Share
    review_share: _Share
    unseen_share: _Share | None


class _File(_Part):
    file: str
    licence: str
    attribution: str
    sha256: str | None = None


class _Extent(_Part):
    rows: Count
    first: Annotated[_Day, Field(alias="from")]
    last: Annotated[_Day, Field(alias="to")]


class _Calibrated(_Extent):
    accuracy: _Share


class _Tested(_Extent):
    measured: Measured


class _Notes(_Part):
    """Each may be missing, and there may be others."""

    reference: _Reference | None = None
    data: list[_File] = []
    fitted: _Extent | None = None
    calibrated: _Calibrated | None = None
    tested: _Tested | None = None


class Description(_Part):
    """The whole; the rules of numbers are those of `assay_model.artifact.unsound`."""

    format: int
    name: _Name
    version: _Name
    taxonomy: _Taxonomy
    fields: dict[Literal["mcc", "side", "operation_type"], dict[str, dict[str, float]]]
    review_below: float
    notes: _Notes


class Malformed(ValueError):
    """It is not as `Description` says; the message names the first part that is not."""


def require_well_formed(described: object) -> None:
    """Returns if this is what the JSON of a model file may say.

    Raises:
        Malformed: it is not as `Description` says.
    """
    try:
        Description.model_validate(described)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise Malformed(f"{'.'.join(map(str, fault['loc']))} {worded(fault)}") from None
