"""Dead letters as JSON lines: what a batch run leaves under `errors/`.

One JSON object a line, the envelope that messages on the dead-letter topic have as key, value and
headers:

- `id`: the letter's origin, `<source>/<partition>@<position>`.
- `key`, `value`: the record's own key and bytes; `header`: the raw header record of its file, which
  gives its cells their names. Each is text where it is valid UTF-8, else it is in `key_base64`,
  `value_base64` or `header_base64` in its place; null where there is none.
- `headers`, the first six under the names that Kafka Connect gives them:

| name | value |
|---|---|
| `__connect.errors.topic` | the source |
| `__connect.errors.partition` | the partition: the URI and version of a file |
| `__connect.errors.offset` | the position |
| `__connect.errors.stage` | `decode`, `validate`, `classify` or `commit` |
| `__connect.errors.exception.class.name` | `assay.` and the code |
| `__connect.errors.exception.message` | for people; null where there is none |
| `assay.code`, `assay.field` | what is wrong, and the column at fault or null |
| `assay.attempt` | how often the record has been tried |
| `assay.retriable` | whether the same bytes may succeed later |
| `assay.model.version` | of the model that rejected it, or null |
| `assay.run` | the run that rejected it |
| `assay.transaction.id` | as far as it is known, or null |
| `assay.length` | bytes of the whole record, of which `value` may hold the head only |
| `assay.sha256` | of the whole record, hexadecimal, where `value` holds its head only; else null |
| `assay.destination` | where relays publish it |
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Annotated, Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assay.domain.errors import Unreadable
from assay.domain.reject import LETTERS, Stage

_Count = Annotated[int, Field(ge=0, lt=1 << 63)]
_CONTENTS: Final = {"key": "key", "value": "raw", "header": "header"}


class _Headers(BaseModel):
    """The headers of an envelope; the fields are named as the columns of `LETTERS`."""

    model_config = ConfigDict(strict=True, extra="forbid", validate_by_name=True)

    source: str = Field(alias="__connect.errors.topic")
    partition: str = Field(alias="__connect.errors.partition")
    position: _Count = Field(alias="__connect.errors.offset")
    stage: Stage = Field(alias="__connect.errors.stage")
    exception: str = Field(alias="__connect.errors.exception.class.name")
    message: str | None = Field(alias="__connect.errors.exception.message")
    code: str = Field(alias="assay.code")
    field: str | None = Field(alias="assay.field")
    attempt: Annotated[int, Field(ge=1, lt=1 << 15)] = Field(alias="assay.attempt")
    retriable: bool = Field(alias="assay.retriable")
    model_version: str | None = Field(alias="assay.model.version")
    run_id: str = Field(alias="assay.run")
    transaction_id: str | None = Field(alias="assay.transaction.id")
    length: _Count = Field(alias="assay.length")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(alias="assay.sha256")
    destination: str = Field(alias="assay.destination")


class _Envelope(BaseModel):
    """One line."""

    model_config = ConfigDict(strict=True, extra="forbid")

    id: str
    key: str | None = None
    key_base64: str | None = None
    value: str | None = None
    value_base64: str | None = None
    header: str | None = None
    header_base64: str | None = None
    headers: _Headers


def letters_to_jsonl(letters: pl.DataFrame) -> bytes:
    """One line a letter, in the same order.

    Args:
        letters: shaped as `LETTERS`.
    """
    return b"".join(map(_line, letters.iter_rows(named=True)))


def letters_from_jsonl(body: bytes, *, first_line: int = 1) -> pl.DataFrame:
    """The letters of JSON lines, the inverse of `letters_to_jsonl`; empty lines are passed over.

    Args:
        body: whole lines.
        first_line: the number that the first one has for people.

    Returns:
        Shaped as `LETTERS`, in the same order.

    Raises:
        Unreadable: a line is not such an envelope; names the line and what is wrong with it.
    """
    return pl.DataFrame(list(_letters(body, first_line)), schema=LETTERS, orient="row")


def _line(letter: dict[str, Any]) -> bytes:
    sha256: bytes | None = letter["sha256"]
    headers = _Headers.model_validate(
        {name: letter[name] for name in _Headers.model_fields if name in letter}
        | {"sha256": sha256 and sha256.hex(), "exception": f"assay.{letter['code']}"}
    )
    contents: dict[str, Any] = {}
    for name, column in _CONTENTS.items():
        contents |= _encoded(name, letter[column])
    envelope = _Envelope(id=_origin(headers), **contents, headers=headers)
    return envelope.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"


def _letters(body: bytes, first_line: int) -> Iterator[tuple[Any, ...]]:
    for number, line in enumerate(body.split(b"\n"), start=first_line):
        if line.strip():
            try:
                letter = _letter(_Envelope.model_validate_json(line))
            except ValidationError as error:
                # Without its input, which is content.
                first = error.errors(include_input=False, include_url=False)[0]
                where = ".".join(map(str, first["loc"])) or "the line"
                raise Unreadable(
                    f"line {number} is no dead letter: {where}: {first['msg']}"
                ) from None
            except ValueError as error:
                raise Unreadable(f"line {number} is no dead letter: {error}") from None
            yield tuple(letter[name] for name in LETTERS)


def _letter(envelope: _Envelope) -> dict[str, Any]:
    headers = envelope.headers
    if envelope.id != _origin(headers):
        raise ValueError("id and headers name different origins")
    letter = headers.model_dump()
    letter["sha256"] = None if headers.sha256 is None else bytes.fromhex(headers.sha256)
    given = envelope.model_dump(exclude_unset=True)
    for name, column in _CONTENTS.items():
        letter[column] = _decoded(name, given)
    return letter


def _origin(headers: _Headers) -> str:
    return f"{headers.source}/{headers.partition}@{headers.position}"


def _encoded(name: str, content: bytes | None) -> dict[str, str | None]:
    if content is None:
        return {name: None}
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": b64encode(content).decode()}


def _decoded(name: str, given: dict[str, Any]) -> bytes | None:
    match given.get(name), given.get(f"{name}_base64"):
        case str(text), None:
            return text.encode()
        case None, str(encoded):
            return b64decode(encoded, validate=True)
        case None, None if name in given:
            return None
        case _:
            raise ValueError(f"needs {name} or {name}_base64, and not both")
