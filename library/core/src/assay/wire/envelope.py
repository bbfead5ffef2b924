"""Dead letters in an envelope: lines of JSON under `errors/`, messages on the dead-letter topic.

Both hold the same. A line is a JSON object:

- `id`: the letter's origin, `<source>/<partition>@<position>`; of a topic that has an id
  `<source>/<partition>#<topic id>@<position>`.
- `key`, `value`: the record's own key and bytes; `header`: the raw header record of its file, which
  gives its cells their names. Each is text where it is valid UTF-8, else it is in `key_base64`,
  `value_base64` or `header_base64` in its place; null where there is none.
- `headers`, the first six under the names that Kafka Connect gives them:

| name | value |
|---|---|
| `__connect.errors.topic` | the topic; of a record that comes from none, the source |
| `__connect.errors.partition` | the partition: its number; the URI and version of a file |
| `__connect.errors.offset` | the position |
| `__connect.errors.stage` | `decode`, `validate`, `classify` or `commit` |
| `__connect.errors.exception.class.name` | `assay.` and the code |
| `__connect.errors.exception.message` | for people; null where there is none |
| `assay.source` | the source: `kafka/` and the topic, `files/` and the contract's id |
| `assay.topic.id` | the id of that topic, or null: another one may get its name |
| `assay.code`, `assay.field` | what is wrong, and the column at fault or null |
| `assay.attempt` | how often the record has been tried |
| `assay.retriable` | whether the same bytes may succeed later |
| `assay.model.version` | of the model that rejected it, or null |
| `assay.run` | the run that rejected it |
| `assay.transaction.id` | as far as it is known, or null |
| `assay.length` | bytes of the whole record, of which `value` may hold the head only |
| `assay.sha256` | of the whole record, hexadecimal, where `value` holds its head only; else null |
| `assay.destination` | where relays publish it |

A message has the record's own key and bytes, null where there are none, and these headers as text
in UTF-8, those that are null left out. `id` is its header `assay.id`, `header` its header
`assay.header`. Where the books that count it are on topics, its header `assay.group` names the
group of consumers whose books these are. Other headers are passed over when it is read.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Annotated, Any, Final, NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assay.domain.errors import Unreadable
from assay.domain.position import TOPICS
from assay.domain.reject import LETTERS, Stage, letter_id
from assay.domain.wording import worded

_Count = Annotated[int, Field(ge=0, lt=1 << 63)]
_CONTENTS: Final = {"key": "key", "value": "raw", "header": "header"}
_ID: Final = "assay.id"
_HEADER: Final = "assay.header"
GROUP: Final = "assay.group"
"""The header of a letter whose books are on topics."""

_OPTIONAL: Final = frozenset(
    {
        _HEADER,
        "__connect.errors.exception.message",
        "assay.field",
        "assay.model.version",
        "assay.transaction.id",
    }
)
"""Headers without which a message is the same letter."""


class _Headers(BaseModel):
    """The headers of an envelope; the fields are named as the columns of `LETTERS`, where they are.

    Attributes:
        topic: the source as Kafka Connect's tools expect it.
        exception: the code as they do.
    """

    model_config = ConfigDict(strict=True, extra="forbid", validate_by_name=True)

    topic: str = Field(alias="__connect.errors.topic")
    partition: str = Field(alias="__connect.errors.partition")
    position: _Count = Field(alias="__connect.errors.offset")
    stage: Stage = Field(alias="__connect.errors.stage")
    exception: str = Field(alias="__connect.errors.exception.class.name")
    message: str | None = Field(alias="__connect.errors.exception.message")
    source: str = Field(alias="assay.source")
    topic_id: str | None = Field(default=None, alias="assay.topic.id")
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


_NAMES: Final = {
    field.alias: name for name, field in _Headers.model_fields.items() if field.alias is not None
}


class Message(NamedTuple):
    """A letter on a topic.

    Attributes:
        key, value: the record's own; null where it has none.
        headers: in order, each name once.
    """

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


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


def letters_to_messages(letters: pl.DataFrame, group: str | None = None) -> Iterator[Message]:
    """A message for each letter, in the same order.

    Args:
        letters: shaped as `LETTERS`.
        group: of consumers, where the books that count them are on topics.
    """
    own = [] if group is None else [(GROUP, group.encode())]
    return (_message(each, own) for each in letters.iter_rows(named=True))


def letters_from_messages(messages: Iterable[Message]) -> pl.DataFrame:
    """The letters of messages, the inverse of `letters_to_messages`.

    Returns:
        Shaped as `LETTERS`, in the same order.

    Raises:
        Unreadable: one is no such envelope; names what is wrong with it.
    """
    letters = (_letter_of(each) for each in messages)
    rows = [tuple(letter[name] for name in LETTERS) for letter in letters]
    return pl.DataFrame(rows, schema=LETTERS, orient="row")


def with_head_only(message: Message, size: int) -> Message:
    """A message of a letter with so many bytes of its value, at most, for one that is too large.

    Its headers `assay.length` and `assay.sha256` are those of the whole record, as those of a
    letter that holds a head from the beginning. What is longer is left out of its key, a file's
    header and all headers without which it is the same letter. A message that is not longer
    anywhere stays as it is.
    """
    key, value, headers = message
    headers = [(name, text) for name, text in headers if name not in _OPTIONAL or len(text) <= size]
    if value is not None and len(value) > size:
        if "assay.sha256" not in dict(headers):
            headers.append(("assay.sha256", sha256(value).hexdigest().encode()))
        value = value[:size]
    return Message(key if key is None or len(key) <= size else None, value, headers)


def _headers(letter: dict[str, Any]) -> _Headers:
    """The headers of a letter: the one place that says which there are."""
    source, digest = letter["source"], letter["sha256"]
    return _Headers.model_validate(
        {name: letter[name] for name in _Headers.model_fields if name in letter}
        | {
            "topic": source.removeprefix(TOPICS),
            "sha256": digest and digest.hex(),
            "exception": f"assay.{letter['code']}",
        }
    )


def _line(letter: dict[str, Any]) -> bytes:
    headers = _headers(letter)
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
                fault = _first_fault(error)
                raise Unreadable(f"line {number} is no dead letter: {fault}") from None
            except ValueError as error:
                raise Unreadable(f"line {number} is no dead letter: {error}") from None
            yield tuple(letter[name] for name in LETTERS)


def _letter(envelope: _Envelope) -> dict[str, Any]:
    letter = _columns(envelope.id, envelope.headers)
    given = envelope.model_dump(exclude_unset=True)
    for name, column in _CONTENTS.items():
        letter[column] = _decoded(name, given)
    return letter


def _columns(id_: str, headers: _Headers) -> dict[str, Any]:
    """All columns but the contents."""
    if id_ != _origin(headers):
        raise ValueError("id and headers name different origins")
    if headers.topic != headers.source.removeprefix(TOPICS):
        raise ValueError("assay.source and __connect.errors.topic name different sources")
    digest = headers.sha256
    return headers.model_dump() | {"sha256": None if digest is None else bytes.fromhex(digest)}


def _message(letter: dict[str, Any], own: Sequence[tuple[str, bytes]]) -> Message:
    headers = _headers(letter)
    texts = {_ID: _origin(headers)} | headers.model_dump(by_alias=True, exclude_none=True)
    encoded = [*((name, _text(value).encode()) for name, value in texts.items()), *own]
    if letter["header"] is not None:
        encoded.append((_HEADER, letter["header"]))
    return Message(letter["key"], letter["raw"], encoded)


def _text(value: str | int) -> str:  # bool is an int
    return value if isinstance(value, str) else str(value).lower()


def _read(name: str, text: str) -> str | int:
    """A header's value; what is no number or truth value stays text, which is then refused."""
    match _NAMES[name]:
        case "position" | "attempt" | "length":
            return int(text) if text.isascii() and text.isdecimal() else text
        case "retriable":
            return {"true": True, "false": False}.get(text, text)
        case _:
            return text


def _letter_of(message: Message) -> dict[str, Any]:
    given = dict(message.headers)
    try:
        texts = {name: given[name].decode() for name in _NAMES if name in given}
        headers = _Headers.model_validate(
            dict.fromkeys(_NAMES) | {name: _read(name, text) for name, text in texts.items()}
        )
        letter = _columns(given.get(_ID, b"").decode(), headers)
    except ValidationError as error:
        raise Unreadable(f"a message is no dead letter: {_first_fault(error)}") from None
    except ValueError as error:  # UnicodeDecodeError shows what it could not decode
        why = "a header is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise Unreadable(f"a message is no dead letter: {why}") from None
    return letter | {"key": message.key, "raw": message.value, "header": given.get(_HEADER)}


def _first_fault(error: ValidationError) -> str:
    # Without its input, which is content.
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {worded(first)}"


def _origin(headers: _Headers) -> str:
    return letter_id(headers.source, headers.partition, headers.topic_id, headers.position)


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
