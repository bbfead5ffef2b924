"""Values in Avro and Protobuf, by a real schema registry."""

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import fastavro
import pytest
from answering import Reply, Server
from confluent_kafka.schema_registry import Schema as Registered
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from assay.domain.errors import Fatal, Unavailable
from assay.domain.rules import COLUMNS
from assay.testing.frames import outcome
from assay.wire import predictions
from assay_adapters.schema_registry import formats, registry
from assay_adapters.schema_registry.config import SchemaRegistryConfig
from assay_adapters.schema_registry.formats import Format, Kind, Schema, reader
from assay_adapters.schema_registry.registry import SchemaRegistry
from assay_local import Local

FORMATS: list[Format] = ["avro", "protobuf"]
KINDS: list[Kind] = ["transaction", "prediction"]
SCHEMAS = Path(formats.__file__).parent / "schemas"
_EACH_FORMAT = pytest.mark.parametrize("form", FORMATS)
_EACH_KIND = pytest.mark.parametrize("kind", KINDS)


def _config(url: str, **others: str) -> SchemaRegistryConfig:
    return SchemaRegistryConfig.model_validate({"url": url, **others})


@pytest.fixture(scope="module")
def url(local: Local) -> str:
    """Where the registry is."""
    return local.apicurio.settings["ASSAY_SCHEMA_REGISTRY__URL"]


@pytest.fixture
def schemas(url: str) -> Iterator[SchemaRegistry]:
    """The registry."""
    made = SchemaRegistry(_config(url))
    yield made
    made.close()


@pytest.fixture
def client(url: str) -> Iterator[SchemaRegistryClient]:
    """The same for those who have schemas of their own."""
    with SchemaRegistryClient({"url": url}) as made:
        yield made


@pytest.fixture
def topic() -> str:
    return f"t-{uuid4().hex}"


def _value(kind: Kind) -> dict[str, Any]:
    if kind == "prediction":
        return json.loads(predictions.encode(outcome(["é 'quoted' 💶"]))["value"][0])
    return dict.fromkeys(COLUMNS) | {"transaction_id": "é \\ 💶", "amount": "12.50", "mcc": ""}


def _written(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@_EACH_KIND
@_EACH_FORMAT
def test_what_is_written_is_read(
    schemas: SchemaRegistry, topic: str, kind: Kind, form: Format
) -> None:
    """To the byte, null and empty text told apart; tombstones and what is no object stay."""
    assert schemas.register(kind, form, topic) == "registered"
    assert schemas.register(kind, form, topic) == "is there"
    frame = schemas.frame(kind, form, topic)
    value = _written(_value(kind))
    framed, *others = frame([value, None, b"{", b'{"amount": 1}', b"[]"])
    assert others == [None, b"{", b'{"amount": 1}', b"[]"]
    assert framed.startswith(b"\0")
    assert schemas.unframe([framed, framed]) == [value, value]


@_EACH_KIND
@_EACH_FORMAT
def test_schemas_have_the_names_of_messages(kind: Kind, form: Format) -> None:
    """In their order, so that whole columns of predictions are read at once."""
    value = _value(kind)
    read = formats.reader(formats.schemas(kind, form)[-1])
    assert read is not None
    made = json.loads(read(formats.writer(kind, form)(value)))
    assert list(made) == list(value)
    assert made == value


@_EACH_FORMAT
def test_a_topic_without_the_schema(schemas: SchemaRegistry, topic: str, form: Format) -> None:
    """Is told with what to do; once it is there the same writer goes on."""
    frame = schemas.frame("transaction", form, topic)
    with pytest.raises(Fatal, match=rf"{topic}-value: `assay stream topics` registers it"):
        frame([b"{}"])
    schemas.register("transaction", form, topic)
    assert frame([b"{}"])[0].startswith(b"\0")


@_EACH_FORMAT
def test_what_does_not_fit_its_schema(schemas: SchemaRegistry, topic: str, form: Format) -> None:
    """Cut, longer, of another message, or nothing but its head."""
    schemas.register("transaction", form, topic)
    (good,) = schemas.frame("transaction", form, topic)([_written(_value("transaction"))])
    broken = [good[:-1], good + b"\1", good[:5], good[:5] + b"\2\2" + good[6:]]
    assert schemas.unframe([*broken, good])[:-1] == ["schema_mismatch"] * len(broken)


def test_schemas_that_nobody_knows(schemas: SchemaRegistry, client: SchemaRegistryClient) -> None:
    """No such number, no number, no record, and a Protobuf message of somebody else."""
    name = f"t-{uuid4().hex}"
    text = 'syntax = "proto3";\npackage other;\nmessage Transaction { string transaction_id = 1; }'
    numbers = [
        0,
        (1 << 32) - 1,
        client.register_schema(f"{name}-1", Registered('{"type": "string"}', "AVRO")),
        client.register_schema(f"{name}-2", Registered(text, "PROTOBUF")),
    ]
    values = [b"\0" + each.to_bytes(4) + b"\0\0" for each in numbers]
    assert schemas.unframe([*values, b"\0", b"\0\0\0\0"]) == ["unknown_schema"] * 6


def test_avro_of_somebody_else(
    schemas: SchemaRegistry, client: SchemaRegistryClient, topic: str
) -> None:
    """Is read by his own schema: types have their text, what has none is no text; and it stays."""
    fields = {
        "id": "string",
        "amount": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        "timestamp": {"type": "long", "logicalType": "timestamp-millis"},
        "photo": "bytes",
    }
    schema = {
        "type": "record",
        "name": "Payment",
        "namespace": "bank",
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }
    number = client.register_schema(f"{topic}-value", Registered(json.dumps(schema), "AVRO"))
    out = BytesIO()
    moment = datetime(2026, 1, 2, 10, 11, 12, 500_000, UTC)
    value = {"id": "t", "amount": Decimal("12.50"), "timestamp": moment, "photo": b"\1"}
    avro: Any = fastavro  # its stubs are partial
    avro.schemaless_writer(out, avro.parse_schema(schema), value)
    (found,) = schemas.unframe([b"\0" + number.to_bytes(4) + out.getvalue()])
    assert isinstance(found, bytes)
    assert json.loads(found) == {
        "id": "t",
        "amount": "12.50",
        "timestamp": "2026-01-02T10:11:12.500000+00:00",
        "photo": [1],
    }
    assert schemas.register("transaction", "avro", topic) == "another's"
    assert client.get_versions(f"{topic}-value") == [1]


_ENDLESS = {"name": "next", "type": ["null", "R"]}
_NOTHING = {"name": "many", "type": {"type": "array", "items": "null"}}


@pytest.mark.parametrize("field", [_ENDLESS, _NOTHING], ids=["itself", "nothing"])
def test_avro_without_bounds_is_not_read(field: dict[str, Any]) -> None:
    """A few bytes of it would end the process, or fill its memory."""
    schema = {"type": "record", "name": "R", "fields": [field]}
    assert reader(Schema(json.dumps(schema), "AVRO")) is None


def test_a_type_may_stand_twice_in_avro() -> None:
    """One that is named before, beside itself."""
    inner = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "string"}]}
    fields = [
        {"name": "one", "type": inner},
        {"name": "two", "type": ["null", "I"]},
        {"name": "all", "type": {"type": "array", "items": {"type": "map", "values": "I"}}},
    ]
    schema = {"type": "record", "name": "R", "fields": fields}
    assert reader(Schema(json.dumps(schema), "AVRO")) is not None


def test_protobuf_whose_schema_is_kept_as_a_descriptor() -> None:
    """As serialisers in Python register it."""
    described = FileDescriptorSet.FromString((SCHEMAS / "schemas.binpb").read_bytes())
    for each in described.file:
        text = b64encode(each.SerializeToString()).decode()
        assert formats.reader(Schema(text, "PROTOBUF")) is not None
    assert formats.reader(Schema("bm8=", "PROTOBUF")) is None


def _with_field(text: str, form: Format, *, replaces: str | None = None) -> str:
    """A schema with one more field, or with another in place of one."""
    if form == "protobuf":
        if replaces is not None:
            return text.replace(f"string {replaces} =", f"int64 {replaces} =")
        return text.replace(
            "message Transaction {", "$& \n  optional string channel = 10;"
        ).replace("$& ", "message Transaction {")
    schema = json.loads(text)
    if replaces is not None:
        schema["fields"] = [
            each | {"type": "long", "default": 0} if each["name"] == replaces else each
            for each in schema["fields"]
        ]
    else:
        schema["fields"].append({"name": "channel", "type": ["null", "string"], "default": None})
    return json.dumps(schema)


def _are(monkeypatch: pytest.MonkeyPatch, *versions: Schema) -> None:
    """As if these were released."""

    def found(_: Kind, __: Format) -> list[Schema]:
        return list(versions)

    monkeypatch.setattr(registry, "schemas", found)


@_EACH_FORMAT
def test_a_schema_may_grow(
    schemas: SchemaRegistry, topic: str, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next version is registered after the one before."""
    schemas.register("transaction", form, topic)
    (first,) = formats.schemas("transaction", form)
    grown = Schema(_with_field(first.text, form), first.type)
    _are(monkeypatch, first, grown)
    assert schemas.register("transaction", form, topic) == "registered"
    assert schemas.register("transaction", form, topic) == "is there"


@_EACH_FORMAT
def test_a_schema_that_breaks_readers_is_refused(
    schemas: SchemaRegistry, topic: str, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in which a field has another type than before."""
    schemas.register("transaction", form, topic)
    (first,) = formats.schemas("transaction", form)
    broken = Schema(_with_field(first.text, form, replaces="amount"), first.type)
    _are(monkeypatch, first, broken)
    with pytest.raises(Fatal, match=f"refuses the schema of {topic}-value"):
        schemas.register("transaction", form, topic)


@_EACH_KIND
@_EACH_FORMAT
def test_versions_go_with_each_other(
    client: SchemaRegistryClient, topic: str, kind: Kind, form: Format
) -> None:
    """All that were released, in their order: each reads what every other has written."""
    client.set_compatibility(topic, registry.LEVELS[form])
    for each in formats.schemas(kind, form):
        try:
            client.register_schema(topic, Registered(each.text, each.type))
        except SchemaRegistryError as error:
            pytest.fail(f"{kind}, {form}: {error}")
    assert len(client.get_versions(topic)) == formats.VERSIONS[kind]


def test_descriptors_are_those_of_the_newest_schemas(tmp_path: Path) -> None:
    """`poe schemas` makes them."""
    newest = [f"{kind}_{version}.proto" for kind, version in formats.VERSIONS.items()]
    made = tmp_path / "made"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--descriptor_set_out={made}"]
    subprocess.run([*command, *newest], cwd=SCHEMAS, check=True)
    assert made.read_bytes() == (SCHEMAS / "schemas.binpb").read_bytes()


def test_a_registry_that_is_away_is_told_so_and_waited_for(
    local: Local, url: str, schemas: SchemaRegistry, topic: str
) -> None:
    """What was read once can be read without it."""
    schemas.register("transaction", "avro", topic)
    (value,) = schemas.frame("transaction", "avro", topic)([b"{}"])
    known, other = schemas.unframe([value]), SchemaRegistry(_config(url))
    local.apicurio.kill()
    try:
        for ask in (
            lambda: other.unframe([value]),
            lambda: schemas.register("transaction", "avro", f"{topic}-2"),
            lambda: schemas.frame("transaction", "protobuf", topic)([b"{}"]),
        ):
            with pytest.raises(Unavailable, match=r"the schema registry at http.* is away"):
                ask()
        assert schemas.unframe([value]) == known
    finally:
        local.apicurio.start()
    assert other.unframe([value]) == known
    other.close()


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, Fatal, "check ASSAY_SCHEMA_REGISTRY__USERNAME"),
        (403, Fatal, "check ASSAY_SCHEMA_REGISTRY__USERNAME"),
        (400, Fatal, "answers 400"),
        (429, Unavailable, "is away"),
        (503, Unavailable, "is away"),
        (200, Unavailable, "is away"),
    ],
)
def test_a_registry_that_answers_otherwise(
    server: Server, status: int, kind: type[Exception], text: str
) -> None:
    """It is shown who asks; the password is not told."""
    server.reply = lambda _: Reply(status, body=b"no JSON")
    made = SchemaRegistry(_config(server.url, username="ann", password="s3cret"))
    with pytest.raises(kind, match=text) as raised:
        made.unframe([b"\0\0\0\0\1."])
    made.close()
    assert "s3cret" not in str(raised.value)
    assert server.questions[0].headers["Authorization"] == "Basic YW5uOnMzY3JldA=="


def test_certificates_that_are_not_there() -> None:
    with pytest.raises(Fatal, match="ASSAY_SCHEMA_REGISTRY__SSL_CA_LOCATION: /no/such"):
        SchemaRegistry(_config("https://127.0.0.1:1", ssl_ca_location="/no/such"))


def test_a_subject_keeps_its_format(schemas: SchemaRegistry, topic: str) -> None:
    """Assay's own schema of the other format is no stranger's, and stays."""
    assert schemas.register("transaction", "avro", topic) == "registered"
    assert schemas.register("transaction", "protobuf", topic) == "another format"
    assert schemas.register("transaction", "avro", topic) == "is there"
