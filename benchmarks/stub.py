"""A model API that knows nothing but the last digit of an id: what is left is the work around it.

Run as a process: `python stub.py PORT`. It speaks the protocol of the model API: `POST /predict` as
JSON or as Arrow, `GET /model`, `GET /health/ready`. Every record is answered under its own id, in
the order asked; a body that cannot be read, or a record without an id, is refused with 400. One
process without threads; its CPU seconds are shown beside those of the other servers.
"""

import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import polars as pl
import uvicorn
from pydantic_core import from_json

from assay.domain.taxonomy import DEFAULT
from assay.wire import arrow

NAME: Final = "stub"
VERSION: Final = "1"

_ANSWER: Final = {
    "needs_review": False,
    "model_version": VERSION,
    "model_name": NAME,
    "feature_hash": "0" * 16,
}
_CONFIDENCE: Final = 0.9
_JSON: Final = "application/json"
_CATEGORIES: Final = DEFAULT.categories[:10]
_ENDS: Final = {
    str(digit): f',"category":{json.dumps(category)},"confidence_score":{_CONFIDENCE},'
    + json.dumps(_ANSWER)[1:]
    for digit, category in enumerate(_CATEGORIES)
}
_COLUMNS: Final = [
    pl.lit(value).alias(name)
    for name, value in {**_ANSWER, "status": "ok", "confidence": _CONFIDENCE}.items()
]
_CATEGORY: Final = (
    pl.lit(pl.Series(_CATEGORIES))
    .gather(pl.col("transaction_id").str.tail(1).cast(pl.UInt32, strict=False).fill_null(0))
    .alias("category")
)
_NONE: Final = [pl.lit(None).alias(name) for name in ("code", "message")]
_MODEL: Final = {
    "name": NAME,
    "version": VERSION,
    "taxonomy": {
        "name": DEFAULT.name,
        "version": DEFAULT.version,
        "categories": list(DEFAULT.categories),
    },
}
_FIXED: Final = {"/model": _MODEL, "/health/ready": {"status": "ok"}}

_Message = MutableMapping[str, Any]


def answer(body: bytes, content_type: str) -> bytes:
    """The answers to the records of a body, in its own content type.

    Raises:
        ValueError: it cannot be read, or a record has no id.
    """
    if content_type == arrow.CONTENT_TYPE:
        ids = arrow.read_transactions(body).select("transaction_id")
        if ids["transaction_id"].null_count():
            raise ValueError("a record has no id")
        return arrow.write_verdicts(ids.with_columns(_CATEGORY, *_COLUMNS, *_NONE))
    try:
        ids_asked: list[str] = [each["transaction_id"] for each in from_json(body)]
        parts = [
            f'{{"transaction_id":{json.dumps(each)}{_ENDS.get(each[-1:], _ENDS["0"])}'
            for each in ids_asked
        ]
    except (KeyError, TypeError):
        raise ValueError("a record has no id") from None
    return f"[{','.join(parts)}]".encode()


async def application(
    scope: _Message,
    receive: Callable[[], Awaitable[_Message]],
    send: Callable[[_Message], Awaitable[None]],
) -> None:
    """The API, as ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    status, content_type, content = 404, _JSON, b"{}"
    if scope["path"] in _FIXED:
        status, content = 200, json.dumps(_FIXED[scope["path"]]).encode()
    elif scope["path"] == "/predict":
        content_type = dict(scope["headers"]).get(b"content-type", b"").decode()
        try:
            status, content = 200, answer(b"".join(parts), content_type)
        except ValueError:
            status, content_type, content = 400, _JSON, b"{}"
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    uvicorn.run(
        application,
        port=int(sys.argv[1]),
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,  # longer than clients keep an idle connection
    )
