"""The routes of the Open Inference Protocol V2, beside `/predict`.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version as version_of
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from assay_ml_api import tensors
from assay_ml_api.calls import Calls
from assay_ml_api.infer import OCTETS, check_served
from assay_ml_api.predict import JSON, Model
from assay_ml_api.requests import inferring

_NO_SUCH: Final = "Another model, or another version, is served."


class Live(BaseModel):
    """Alive."""

    live: Literal[True] = True


class Ready(BaseModel):
    """Ready."""

    ready: Literal[True] = True


class ModelReady(BaseModel):
    """A model is ready."""

    name: str
    ready: Literal[True] = True


class ServerMetadata(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or output; -1 stands for as many as there are records."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, bool] = Field(
        description="`optional`: whether the input may be left out."
    )


class ModelMetadata(BaseModel):
    """The model that is served."""

    name: str
    versions: list[str] = Field(description="The one that is served.")
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Values(BaseModel):
    """A tensor: its values, or how many bytes of them follow the JSON."""

    name: str
    datatype: Literal["BYTES", "FP64", "BOOL"]
    shape: list[int] = Field(description="[n], or [n, 1] for inputs.")
    parameters: dict[str, Any] | None = Field(
        default=None, description="`binary_data_size`: bytes after the JSON that are its values."
    )
    data: list[Any] | None = None


class Wanted(BaseModel):
    """An output that is wanted."""

    name: Literal["category", "confidence", "needs_review", "error"]
    parameters: dict[str, Any] | None = Field(
        default=None, description="`binary_data`: whether it is to follow the JSON as bytes."
    )


class InferenceRequest(BaseModel):
    """What is asked."""

    id: str | None = None
    parameters: dict[str, Any] | None = Field(
        default=None, description="`binary_data_output`: whether all outputs are to be bytes."
    )
    inputs: list[Values] = Field(
        description="`description`; where they are known `merchant`, `amount` (FP64, or BYTES for "
        "exact text), `currency`, `operation_type`, `side` and `mcc`."
    )
    outputs: list[Wanted] | None = Field(default=None, description="All, where none is named.")


class InferenceResponse(BaseModel):
    """What is answered: for each record a category, or else an error."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Values]


class InferenceError(BaseModel):
    """Why there is no answer at all."""

    error: str


_EXAMPLE: Final = {
    "id": "42",
    "inputs": [
        {
            "name": "description",
            "datatype": "BYTES",
            "shape": [2],
            "data": ["CARD PURCHASE CORNER BAKERY", "MONTHLY RENT FLAT 7"],
        },
        {"name": "amount", "datatype": "FP64", "shape": [2], "data": [12.5, 850]},
    ],
    "outputs": [{"name": "category"}, {"name": "error"}],
}


def _named(name: str) -> tuple[str, None]:
    """Whatever version is served."""
    return name, None


def _versioned(name: str, version: str) -> tuple[str, str]:
    """This version."""
    return name, version


_PATHS: Final = (("/models/{name}", _named), ("/models/{name}/versions/{version}", _versioned))


def routes(
    model: Callable[[], Model], calls: Calls, authorised: Callable[..., Awaitable[None]]
) -> APIRouter:
    """The routes, all below `/v2`.

    Args:
        model: gives the one that is served.
        calls: answer.
        authorised: the dependency that refuses who has no key.
    """
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol V2"])
    _add_health(router, model, calls)
    _add_model(router, model, calls, authorised)
    return router


def _add_health(router: APIRouter, model: Callable[[], Model], calls: Calls) -> None:
    not_ready = {503: "The model does not answer."}

    @router.get("/health/live")
    async def live() -> Live:  # pyright: ignore[reportUnusedFunction] - a route
        """Whether the process answers at all."""
        return Live()

    @router.get("/health/ready", responses=_errors(not_ready))
    async def ready() -> Ready:  # pyright: ignore[reportUnusedFunction] - a route
        """Whether the model answers: it is asked about an invented transaction."""
        await calls.ask_the_model()
        return Ready()

    @router.get("")
    async def server() -> ServerMetadata:  # pyright: ignore[reportUnusedFunction] - a route
        """Says which server this is, and what it knows beyond the protocol."""
        name = "assay-ml-api"
        return ServerMetadata(
            name=name, version=version_of(name), extensions=["binary_tensor_data"]
        )

    for path, which in _PATHS:

        @router.get(f"{path}/ready", responses=_errors(not_ready | {404: _NO_SUCH}))
        async def model_ready(  # pyright: ignore[reportUnusedFunction] - a route
            asked: Annotated[tuple[str, str | None], Depends(which)],
        ) -> ModelReady:
            """Whether this model is served and answers."""
            check_served(served := model(), *asked)
            await calls.ask_the_model()
            return ModelReady(name=served.name)


def _add_model(
    router: APIRouter,
    model: Callable[[], Model],
    calls: Calls,
    authorised: Callable[..., Awaitable[None]],
) -> None:
    no_key = {
        401: "An API key is needed.",
        429: "Too many calls of this key: see Retry-After.",
    }
    for path, which in _PATHS:

        @router.get(
            path,
            dependencies=[Depends(authorised)],
            responses=_errors(no_key | {404: _NO_SUCH}),
        )
        async def metadata(  # pyright: ignore[reportUnusedFunction] - a route
            asked: Annotated[tuple[str, str | None], Depends(which)],
        ) -> ModelMetadata:
            """Says what the model takes and gives."""
            check_served(served := model(), *asked)
            return _metadata(served)

        @router.post(
            f"{path}/infer",
            dependencies=[Depends(authorised)],
            response_model=InferenceResponse,
            responses={
                200: {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}},
                **_errors(
                    no_key
                    | {
                        400: "The body is not as the protocol says, or its tensors do not fit.",
                        404: _NO_SUCH,
                        408: "The body did not come in time.",
                        413: "The body is too long, or has too many records.",
                        415: "The body is compressed.",
                        500: "The model failed.",
                        503: "Too many calls at once: see Retry-After.",
                    }
                ),
            },
            openapi_extra={"requestBody": _REQUEST_BODY},
        )
        async def infer(  # pyright: ignore[reportUnusedFunction] - a route
            request: Request, asked: Annotated[tuple[str, str | None], Depends(which)]
        ) -> Response:
            """Classifies descriptions: tensors of n elements in, tensors of n elements out.

            A record that breaks a rule has its `error`, as code and text; it fails no other.
            """
            return await calls.answer(request, inferring(*asked))


_REQUEST_BODY: Final = {
    "required": True,
    "content": {
        JSON: {
            "schema": {"$ref": f"#/components/schemas/{InferenceRequest.__name__}"},
            "examples": {"two records": {"value": _EXAMPLE}},
        },
        OCTETS: {"schema": {"type": "string", "format": "binary"}},
    },
}


def _metadata(model: Model) -> ModelMetadata:
    return ModelMetadata(
        name=model.name,
        versions=[model.version],
        platform="assay_npz",
        inputs=[
            TensorMetadata(
                name=name,
                datatype=datatypes[0],
                shape=[-1],
                parameters={"optional": name != "description"},
            )
            for name, datatypes in tensors.INPUTS.items()
        ],
        outputs=[
            TensorMetadata(name=name, datatype=datatype, shape=[-1], parameters={})
            for name, datatype in tensors.OUTPUTS.items()
        ],
    )


def _errors(described: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": text, "model": InferenceError} for status, text in described.items()
    }
