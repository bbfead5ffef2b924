"""The application: routes, and nothing that is computed."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from assay.ports.meter import Meter
from assay.wire import arrow
from assay_ml_api.calls import Calls
from assay_ml_api.config import ServerConfig
from assay_ml_api.documents import (
    REQUEST_BODY,
    Failure,
    Health,
    ModelDescription,
    Prediction,
    described,
    document,
    problems,
)
from assay_ml_api.metrics import CALLS
from assay_ml_api.predict import MOST_EXPLAINED
from assay_ml_api.problems import Problem, answer_problems
from assay_ml_api.requests import Rate, authorise, predicting
from assay_ml_api.serving import Serving
from assay_ml_api.v2 import routes

VERSION: Final = "1"
"""Of the interface, not of the model."""


def create_app(
    serving: Serving,
    config: ServerConfig,
    meter: Meter,
    exposition: Callable[[], tuple[bytes, str]],
    watching: Callable[[], AbstractContextManager[None]] = nullcontext,
    *,
    step: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> FastAPI:
    """The model API.

    Args:
        serving: who classifies.
        config: its limits and keys.
        meter: counts the calls.
        exposition: the numbers of the meter and their content type.
        watching: lasts as long as calls are answered; may have another model serve meanwhile.
        step: of a call, by its name; traces it for as long as the block lasts.
    """
    calls = Calls(serving, config, meter, step)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        # Threads do not survive a fork: each process that serves starts its own.
        serving.start()
        with watching():
            yield
        calls.close()
        serving.close()

    app = FastAPI(
        title="Assay model API",
        version=VERSION,
        description="Says what bank and card transactions are, and how far to believe it.",
        lifespan=lifespan,
    )
    app.openapi = lambda: document(app)
    answer_problems(app)
    authorised = _authorised(config, meter)
    _add_model(app, serving, calls, authorised)
    app.include_router(routes(lambda: serving.state.model, calls, authorised))
    _add_watching(app, calls, exposition)
    return app


def _authorised(config: ServerConfig, meter: Meter) -> Callable[..., Awaitable[None]]:
    key = HTTPBearer(auto_error=False, description="Where the server has API keys.")
    rate = Rate(config.calls_per_second)

    # A coroutine stays on the event loop, where nobody else counts meanwhile.
    async def authorised(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(key)],
    ) -> None:
        try:
            rate.take(authorise(given, config.api_keys))
        except Problem as problem:
            meter.add(CALLS, status=str(problem.status_code))
            raise

    return authorised


def _add_model(
    app: FastAPI, serving: Serving, calls: Calls, authorised: Callable[..., Awaitable[None]]
) -> None:
    @app.post(
        "/predict",
        dependencies=[Depends(authorised)],
        response_model=list[Prediction | Failure],
        responses={
            200: {
                "description": "An answer for each transaction, in order.",
                "content": {arrow.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            },
            **problems(
                {
                    400: "The body is not a list of transactions.",
                    401: "An API key is needed.",
                    406: "Neither JSON nor Arrow would be accepted; with explanations, no JSON.",
                    408: "The body did not come in time.",
                    413: "The body is too long, or has too many records.",
                    415: "The body is neither JSON nor Arrow.",
                    429: "Too many calls of this key: see Retry-After.",
                    500: "The model failed.",
                    503: "Too many calls at once: see Retry-After.",
                }
            ),
        },
        openapi_extra={"requestBody": REQUEST_BODY},
    )
    async def predict(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request,
        *,
        explain: Annotated[
            bool,
            Query(
                description="Whether each prediction comes with what speaks for it: in JSON only, "
                f"for {MOST_EXPLAINED} records at most."
            ),
        ] = False,
    ) -> Response:
        """Classifies transactions: a list in, an answer for each out, in the same order.

        A record that breaks a rule is answered with an error in its place; it fails no other.
        """
        return await calls.answer(request, predicting(explain=explain))

    @app.get(
        "/model",
        dependencies=[Depends(authorised)],
        responses=problems(
            {401: "An API key is needed.", 429: "Too many calls of this key: see Retry-After."}
        ),
    )
    async def describe() -> ModelDescription:  # pyright: ignore[reportUnusedFunction] - a route
        """Says which model answers since when, with which categories, and what shadows it."""
        return described(serving.state)


def _add_watching(app: FastAPI, calls: Calls, exposition: Callable[[], tuple[bytes, str]]) -> None:
    @app.get("/health/live")
    async def live() -> Health:  # pyright: ignore[reportUnusedFunction] - a route
        """Whether the process answers at all."""
        return Health()

    @app.get("/health/ready", responses=problems({503: "The model does not answer."}))
    async def ready() -> Health:  # pyright: ignore[reportUnusedFunction] - a route
        """Whether the model answers: it is asked about an invented transaction."""
        await calls.ask_the_model()
        return Health()

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        """The numbers of this process, for Prometheus."""
        body, content_type = exposition()
        return Response(body, headers={"content-type": content_type})
