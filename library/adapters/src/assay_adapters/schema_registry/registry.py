"""A schema registry, as what reads and writes values needs it."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, Literal, TypeAlias

import httpx
from confluent_kafka.schema_registry import Schema as Registered
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from assay.domain.errors import AssayError, Fatal, Unavailable
from assay.wire.framed import FRAMED
from assay_adapters.schema_registry.config import SchemaRegistryConfig
from assay_adapters.schema_registry.formats import (
    Format,
    Kind,
    Read,
    Schema,
    reader,
    schemas,
    writer,
)

Standing: TypeAlias = Literal["registered", "is there", "another's", "another format"]

LEVELS: Final[Mapping[Format, str]] = {
    "avro": "FULL_TRANSITIVE",
    "protobuf": "BACKWARD_TRANSITIVE",  # the other way a new field would count as one removed
}
"""How a new schema is held against all before: each version reads what every other has written."""

_NUMBER: Final = 4  # bytes
_HEAD: Final = len(FRAMED) + _NUMBER
_UNKNOWN: Final = 404
_UNUSABLE: Final = {401, 403}
_BUSY: Final = {408, 429}
_REFUSED: Final = {409, 422}
_SERVER: Final = 500


class SchemaRegistry:
    """Finds and keeps schemas by the API of Confluent's registry.

    https://docs.confluent.io/platform/current/schema-registry/develop/api.html

    A schema that was read once is kept. May be used from several threads.
    """

    def __init__(self, config: SchemaRegistryConfig) -> None:
        """Connects at the first question.

        Args:
            config: where it is, which it says.

        Raises:
            Fatal: a file of TLS is not there.
        """
        url = str(config.url)
        self._url = str(httpx.URL(url).copy_with(userinfo=b"", query=None))  # as it may be shown
        asked: dict[str, Any] = {"url": url, "timeout": config.timeout, "max.retries": 0}
        if config.username is not None:
            password = "" if config.password is None else config.password.get_secret_value()
            asked["basic.auth.user.info"] = f"{config.username}:{password}"
        if config.ssl_ca_location is not None:
            asked["ssl.ca.location"] = config.ssl_ca_location
        try:
            self._client = SchemaRegistryClient(asked)
        except OSError as error:
            raise Fatal(
                f"ASSAY_SCHEMA_REGISTRY__SSL_CA_LOCATION: {config.ssl_ca_location}: {error}"
            ) from None
        self._readers: dict[int, Read] = {}

    def unframe(self, values: Sequence[bytes]) -> list[bytes | str]:
        """The JSON of values, as `assay.wire.framed.Unframe`.

        Raises:
            Unavailable: the registry is away.
            Fatal: it does not let this user in.
        """
        found: dict[bytes, Read | None] = {}
        made: list[bytes | str] = []
        for value in values:
            head = value[:_HEAD]
            if head not in found:
                found[head] = self._reader(head)
            read = found[head]
            made.append("unknown_schema" if read is None else _read(read, value[_HEAD:]))
        return made

    def frame(self, kind: Kind, form: Format, topic: str) -> Callable[[Sequence[Any]], list[Any]]:
        """Writes values of a topic by the newest schema.

        Returns:
            What makes such values of JSON objects. Of what is no object that fits, and of None, it
            makes nothing else. Until the registry has said the schema's number once it raises
            Unavailable where that is away, and Fatal where it has not got that schema.
        """
        write = writer(kind, form)
        head = cache(lambda: self._head(kind, form, topic))

        def framed(value: bytes | None, head: bytes) -> bytes | None:
            try:
                return value if value is None else head + write(json.loads(value))
            except Exception:  # noqa: BLE001 - whatever does not fit: a schema judges no values
                return value

        return lambda values: [framed(each, head()) for each in values]

    def register(self, kind: Kind, form: Format, topic: str) -> Standing:
        """Registers the newest schema for a topic's values, unless they are described already.

        Raises:
            Unavailable: the registry is away.
            Fatal: it refuses the schema, as one that does not go with those before say.
        """
        subject = _subject(topic)
        versions = schemas(kind, form)
        with self._translated(f"the schema of {subject}"):
            if self._number(subject, versions[-1]) is not None:
                return "is there"
            is_new = self._found(lambda: self._client.get_versions(subject)) is None
            if not is_new and all(self._number(subject, each) is None for each in versions[:-1]):
                return self._other(subject, kind)
            if is_new:
                self._client.set_compatibility(subject, LEVELS[form])
            self._client.register_schema(subject, _registered(versions[-1]))
        return "registered"

    def _other(self, subject: str, kind: Kind) -> Standing:
        """What a subject has in place of Assay's schemas of the format that is asked for."""
        own = (each for form in LEVELS for each in schemas(kind, form))
        is_own = any(self._number(subject, each) is not None for each in own)
        return "another format" if is_own else "another's"

    def answers(self) -> int:
        """How many subjects it has.

        Raises:
            Unavailable: it is away.
            Fatal: it does not let this user in.
        """
        with self._translated("its subjects"):
            return len(self._client.get_subjects())

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def _head(self, kind: Kind, form: Format, topic: str) -> bytes:
        subject = _subject(topic)
        with self._translated(f"the schema of {subject}"):
            number = self._number(subject, schemas(kind, form)[-1])
        if number is None:
            raise Fatal(
                f"the schema registry at {self._url} does not have Assay's {form} schema of a"
                f" {kind} for {subject}: `assay stream topics` registers it where it has none yet"
            )
        return FRAMED + number.to_bytes(_NUMBER)

    def _reader(self, head: bytes) -> Read | None:
        """Of values with this head; None where nobody can read them."""
        if len(head) < _HEAD:
            return None
        number = int.from_bytes(head[len(FRAMED) :])
        if number not in self._readers:
            with self._translated("schemas"):
                found = self._found(lambda: self._client.get_schema(number))
            if found is None or found.schema_str is None:
                return None
            read = reader(Schema(found.schema_str, found.schema_type or "AVRO"))
            if read is None:
                return None
            self._readers[number] = read
        return self._readers[number]

    def _number(self, subject: str, schema: Schema) -> int | None:
        """Of a schema of this subject."""
        found = self._found(lambda: self._client.lookup_schema(subject, _registered(schema)))
        return None if found is None else found.schema_id

    @staticmethod
    def _found(ask: Callable[[], Any]) -> Any:
        """What the registry has; None where there is no such thing."""
        try:
            return ask()
        except SchemaRegistryError as error:
            if error.http_status_code == _UNKNOWN:
                return None
            raise

    @contextmanager
    def _translated(self, what: str) -> Generator[None]:
        """Errors in the words of the core."""
        try:
            yield
        except SchemaRegistryError as error:
            raise self._meant(error, what) from None
        except AssayError:
            raise
        except Exception as error:  # noqa: BLE001 - the client lets those of its library through
            raise Unavailable(
                f"the schema registry at {self._url} is away ({type(error).__name__}: {error})"
            ) from None

    def _meant(self, error: SchemaRegistryError, what: str) -> AssayError:
        status, said = error.http_status_code, error.error_message
        place = f"the schema registry at {self._url}"
        if status in _UNUSABLE:
            return Fatal(
                f"{place} does not let this user ask for {what} ({status}): check"
                " ASSAY_SCHEMA_REGISTRY__USERNAME and ASSAY_SCHEMA_REGISTRY__PASSWORD"
            )
        if status in _REFUSED:
            return Fatal(f"{place} refuses {what}: {said}")
        if status >= _SERVER or status in _BUSY:
            return Unavailable(f"{place} is away ({status}: {said})")
        return Fatal(f"{place} answers {status} when it is asked for {what}: {said}")


def _subject(topic: str) -> str:
    """Of a topic's values, as serialisers name it unless they are told otherwise."""
    return f"{topic}-value"


def _registered(schema: Schema) -> Registered:
    return Registered(schema.text, schema.type)


def _read(read: Read, payload: bytes) -> bytes | str:
    try:
        return read(payload)
    except Exception:  # noqa: BLE001 - libraries raise almost anything over what is broken
        return "schema_mismatch"
