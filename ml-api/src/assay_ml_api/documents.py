"""What the API says of itself: its answers as models, its OpenAPI document."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from assay.domain.transaction import Transaction
from assay.wire import arrow
from assay_ml_api.predict import JSON
from assay_ml_api.problems import CONTENT_TYPE
from assay_ml_api.serving import State
from assay_ml_api.v2 import InferenceRequest
from assay_model.corrections import Corrected

_EXAMPLE: Final = {
    "transaction_id": "t-1001",
    "description": "CARD PURCHASE CORNER BAKERY",
    "amount": "12.50",
    "currency": "EUR",
    "timestamp": "2024-03-01T09:30:00Z",
    "merchant": "Corner Bakery",
    "operation_type": "payment",
    "side": "debit",
    "mcc": "5462",
}
_SHORT_EXAMPLE: Final = {
    "id": "t-1002",
    "description": "MONTHLY RENT FLAT 7",
    "amount": 850,
    "timestamp": "2024-03-01T00:00:00",
    "operation_type": "transfer",
    "side": "debit",
}


class Part(BaseModel):
    """A part of an explanation."""

    part: str = Field(
        description="Words of the text as the model reads it; `#` stands for a number. Of a field "
        "its name and value."
    )
    kind: str = Field(
        description="`word`; `pair`: two neighbouring words; `phrase`: one that is known without "
        "traffic; `field`: another field of the record; `prior`: what would be said of an empty "
        "text; `rest`: all parts that are not listed; `correction`: all of the text, since "
        "people have said what it is. A model may have others."
    )
    weight: float = Field(
        description="What it adds to the score of the category, less the mean of the others'; "
        "1 of a correction."
    )


class Prediction(BaseModel):
    """What the model says of one transaction."""

    transaction_id: str
    category: str = Field(description="One of the model's taxonomy: see `/model`.")
    confidence_score: float = Field(
        ge=0, le=1, description="The probability that the category is right."
    )
    needs_review: bool = Field(description="Whether a person should look at it.")
    model_version: str
    model_name: str
    feature_hash: str = Field(description="Stands for all that the model saw.")
    explanation: list[Part] | None = Field(
        default=None,
        description="Where it is asked for: what speaks for the category, the weightiest first.",
    )


class Fault(BaseModel):
    """Why there is no prediction."""

    code: str = Field(description="The rule that the record breaks, such as `missing_amount`.")
    message: str = Field(description="For people; never holds any content.")
    retriable: bool = Field(description="Whether the same record may succeed later.")


class Failure(BaseModel):
    """A record that has no prediction; the others of the call have theirs."""

    transaction_id: str | None = Field(description="Null where the record has none.")
    error: Fault


class TaxonomyDescription(BaseModel):
    """The categories that a model answers with."""

    name: str
    version: str
    categories: list[str]


class CorrectionsDescription(BaseModel):
    """What people have said that is answered in place of what the model says."""

    count: int = Field(description="Of descriptors, as the model tells them apart.")
    since: datetime = Field(description="When these began to be answered here.")


class ModelDescription(BaseModel):
    """The model that answers."""

    name: str
    version: str = Field(description="With corrections in force it ends in `+` and eight digits.")
    taxonomy: TaxonomyDescription
    since: datetime = Field(
        description="When the model began to answer here, with these corrections or others."
    )
    promotion: int | None = Field(
        description="The promotion in the registry that it follows; null where it follows none."
    )
    challenger: str | None = Field(
        description="The version that is asked the same for comparison; null where none is."
    )
    corrections: CorrectionsDescription | None = Field(
        description="Those in force; null where none are."
    )


class Health(BaseModel):
    """Well."""

    status: Literal["ok"] = "ok"


class ProblemDetails(BaseModel):
    """A problem, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


def described(state: State) -> ModelDescription:
    """What there is to say of who answers."""
    model, challenger = state.model, state.challenger
    corrections = None
    if isinstance(model, Corrected) and state.corrections is not None:
        corrections = CorrectionsDescription(
            count=model.answers.height, since=state.corrections.since
        )
    return ModelDescription(
        name=model.name,
        version=model.version,
        taxonomy=TaxonomyDescription.model_validate(model.taxonomy, from_attributes=True),
        since=state.since,
        promotion=state.promotion,
        challenger=None if challenger is None else challenger.version,
        corrections=corrections,
    )


def problems(texts: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may answer with, for its `responses`."""
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    return {
        status: {"description": description, "content": {CONTENT_TYPE: {"schema": schema}}}
        for status, description in texts.items()
    }


REQUEST_BODY: Final = {
    "required": True,
    "content": {
        JSON: {
            "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Transaction"}},
            "examples": {
                "transactions": {"value": [_EXAMPLE, _SHORT_EXAMPLE]},
                "one that breaks a rule": {"value": [_EXAMPLE | {"amount": "12.505"}]},
            },
        },
        arrow.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}},
    },
}
"""What `/predict` takes, for its `openapi_extra`."""


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = found["components"]["schemas"]
    # A parameter that cannot be read is a 400, as all else that cannot.
    for each in ("HTTPValidationError", "ValidationError"):
        schemas.pop(each, None)
    for operation in found["paths"].values():
        for method in operation.values():
            method["responses"].pop("422", None)
            if "security" in method:
                method["security"].insert(0, {})  # keys are for those servers that have some
    schemas["Transaction"] = _transaction()
    asked = InferenceRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= asked.pop("$defs") | {InferenceRequest.__name__: asked}
    schemas[ProblemDetails.__name__] = ProblemDetails.model_json_schema()
    return found


def _transaction() -> dict[str, Any]:
    """The schema of a transaction as this boundary takes it."""
    schema = Transaction.model_json_schema()
    required: list[str] = schema["required"]
    properties: dict[str, Any] = schema["properties"]
    schema["description"] = "One transaction. Unknown keys are ignored."
    schema["required"] = [
        each for each in required if each not in {"transaction_id", "id", "currency"}
    ]
    properties["id"] = properties["transaction_id"] | {
        "title": "Id",
        "description": "Another name of transaction_id, which goes first.",
    }
    properties["currency"]["description"] = "ISO 4217; EUR where the server sets no other default."
    schema["anyOf"] = [{"required": ["transaction_id"]}, {"required": ["id"]}]
    return schema
