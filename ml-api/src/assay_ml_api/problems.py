"""Problems as RFC 9457 has them: `application/problem+json`.

Under `/v2` they are as the Open Inference Protocol has them, whose clients look for `error`.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

CONTENT_TYPE: Final = "application/problem+json"


class Problem(HTTPException):
    """Ends a call with an HTTP status; the detail says why and holds no content."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


def answer_problems(app: FastAPI) -> None:
    """Answers every error of an application, those of its framework included, as a problem."""

    def answer(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, RequestValidationError):
            error = Problem(400, "a parameter of the address is wrong")
        known = error if isinstance(error, HTTPException) else Problem(500, "see the log")
        if request.url.path.split("/")[1] == "v2":
            return JSONResponse({"error": known.detail}, known.status_code, headers=known.headers)
        body = {
            "type": "about:blank",
            "title": HTTPStatus(known.status_code).phrase,
            "status": known.status_code,
            "detail": known.detail,
        }
        return JSONResponse(body, known.status_code, headers=known.headers, media_type=CONTENT_TYPE)

    app.add_exception_handler(HTTPException, answer)
    app.add_exception_handler(RequestValidationError, answer)
    app.add_exception_handler(Exception, answer)
