"""Avro and Protobuf: objects of JSON as bytes by a schema, and back.

Names and values are those of the JSON messages. Of Avro any record is read, by the schema that it
was written with, so that whoever produces may have his own; of Protobuf the messages that the
package `assay` has, since the numbers of another one's fields would say something else.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast
from uuid import UUID

import fastavro
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

Kind: TypeAlias = Literal["transaction", "prediction"]
Format: TypeAlias = Literal["avro", "protobuf"]

Read: TypeAlias = Callable[[bytes], bytes]
"""The JSON of a value without its head; any error: it does not fit the schema."""

Write: TypeAlias = Callable[[Mapping[str, Any]], bytes]
"""The value of an object; any error: it does not fit the schema."""

VERSIONS: Final[Mapping[Kind, int]] = {"transaction": 1, "prediction": 1}
"""The newest schema of each; one that was released stays as it is."""

_TYPES: Final[Mapping[Format, str]] = {"avro": "AVRO", "protobuf": "PROTOBUF"}
_ENDINGS: Final[Mapping[Format, str]] = {"avro": "avsc", "protobuf": "proto"}
_SCHEMAS: Final = files("assay_adapters.schema_registry") / "schemas"
_FIRST: Final = b"\0"  # the first message of a schema, as the numbers on the way to it
_avro: Any = fastavro  # its stubs are partial
_SIZED: Final = frozenset("boolean int long float double bytes string array map enum".split())
_PACKAGE: Final = re.compile(r"^\s*package\s+([\w.]+)\s*;", re.MULTILINE)
_MESSAGE: Final = re.compile(r"^\s*message\s+(\w+)", re.MULTILINE)


class Schema(NamedTuple):
    """A schema as a registry keeps it.

    Attributes:
        text: in Avro's JSON, or the language of Protobuf.
        type: `AVRO` or `PROTOBUF`.
    """

    text: str
    type: str


def schemas(kind: Kind, form: Format) -> list[Schema]:
    """All schemas there were of a kind of message, the newest last."""
    return [
        Schema((_SCHEMAS / f"{kind}_{version}.{_ENDINGS[form]}").read_text("utf-8"), _TYPES[form])
        for version in range(1, VERSIONS[kind] + 1)
    ]


def reader(schema: Schema) -> Read | None:
    """Reads values of a schema; None where it is none that can be read."""
    if schema.type == "AVRO":
        try:
            parsed = _avro.parse_schema(json.loads(schema.text))
        except Exception:  # noqa: BLE001 - whatever is wrong with it
            return None
        is_record = (
            isinstance(parsed, dict) and cast(dict[str, Any], parsed).get("type") == "record"
        )
        return _avro_reader(parsed) if is_record and _is_bounded(parsed) else None
    found = _messages().get(_full_name(schema.text)) if schema.type == "PROTOBUF" else None
    return None if found is None else _protobuf_reader(found)


def writer(kind: Kind, form: Format) -> Write:
    """Writes values by the newest schema of a kind of message."""
    if form == "avro":
        parsed = _avro.parse_schema(json.loads(schemas(kind, form)[-1].text))

        def write(value: Mapping[str, Any]) -> bytes:
            out = BytesIO()
            _avro.schemaless_writer(out, parsed, value)
            return out.getvalue()

        return write
    message = _messages()[f"assay.{kind.capitalize()}"]
    return lambda value: _FIRST + message(**_given(value)).SerializeToString()


# ------------------------------------------------------------------ Avro


def _is_bounded(schema: Any, around: frozenset[str] = frozenset()) -> bool:
    """Whether a value is never deeper than its schema, nor holds more than it has bytes.

    Of a type that holds itself some bytes would end the process, since fastavro goes down without
    a limit; of an array of nothing they would fill its memory.
    """
    parts: list[Any]
    match schema:
        case {"type": "record" | "error"}:
            parts = [each["type"] for each in schema["fields"]]
            around |= {schema["name"]}
        case {"type": "array"}:
            if not _has_bytes(schema["items"]):
                return False
            parts = [schema["items"]]
        case {"type": "map"}:
            parts = [schema["values"]]
        case {"type": inner}:
            parts = [inner]
        case list():
            parts = cast(list[Any], schema)
        case _:
            return schema not in around
    return all(_is_bounded(each, around) for each in parts)


def _has_bytes(schema: Any) -> bool:
    """Whether each value takes a byte at least; of a type that was named before nobody looks."""
    match schema:
        case {"type": "record" | "error"}:
            return any(_has_bytes(each["type"]) for each in schema["fields"])
        case {"type": "fixed"}:
            return schema["size"] > 0
        case {"type": name}:
            return name in _SIZED
        case list():
            return True  # a union has a number first
        case _:
            return schema in _SIZED


def _avro_reader(parsed: Any) -> Read:
    def read(raw: bytes) -> bytes:
        content = BytesIO(raw)
        value = _avro.schemaless_reader(content, parsed, None)
        if content.tell() != len(raw):
            raise ValueError("more than a value")
        return _json(value)

    return read


def _json(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return text.encode()


def _plain(value: object) -> object:
    """A value of one of Avro's logical types, as messages in JSON have it."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case bytes():  # no text, so that no column takes it
            return list(value)
        case _:
            raise TypeError(type(value).__name__)


# ------------------------------------------------------------------ Protobuf


@cache
def _messages() -> Mapping[str, type[Message]]:
    """The classes of messages, by their full names."""
    content = (_SCHEMAS / "schemas.binpb").read_bytes()
    pool = DescriptorPool()
    found: dict[str, type[Message]] = {}
    for each in FileDescriptorSet.FromString(content).file:
        pool.Add(each)
        for message in each.message_type:
            name = f"{each.package}.{message.name}"
            found[name] = GetMessageClass(pool.FindMessageTypeByName(name))
    return found


def _full_name(text: str) -> str:
    """Of the first message of a schema, which some registries keep as a descriptor in base64."""
    package, message = _PACKAGE.search(text), _MESSAGE.search(text)
    if message is not None:
        return f"{package[1]}.{message[1]}" if package is not None else message[1]
    try:
        described = FileDescriptorProto.FromString(b64decode(text, validate=True))
        return f"{described.package}.{described.message_type[0].name}"
    except Exception:  # noqa: BLE001 - whatever is wrong with it
        return ""


def _protobuf_reader(message: type[Message]) -> Read:
    def read(raw: bytes) -> bytes:
        if not raw.startswith(_FIRST):
            raise ValueError("another message of the schema")
        return _json(_object(message.FromString(raw[1:])))

    return read


def _object(message: Message) -> dict[str, object]:
    """All fields of a message, null where it has none."""
    return {name: _value(message, name) for name in _names(type(message))}


def _value(message: Message, name: str) -> object:
    if not message.HasField(name):
        return None
    value = getattr(message, name)
    return _object(value) if isinstance(value, Message) else value


@cache
def _names(message: type[Message]) -> Sequence[str]:
    return [each.name for each in message.DESCRIPTOR.fields]


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    """What is not null: there a message has no field."""
    return {
        name: _given(cast(Mapping[str, Any], each)) if isinstance(each, Mapping) else each
        for name, each in value.items()
        if each is not None
    }
