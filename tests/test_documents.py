"""What the documents say is so: examples run, links lead somewhere, tables agree with the code."""

import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, LiteralString, cast

import polars as pl
import psycopg
import pytest

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.contract.settings import PropertySettings, ServerSettings
from assay.domain import errors
from assay.domain.chunk import RECORDS, Chunk
from assay.domain.codes import CODES
from assay.domain.metrics import METRICS
from assay.domain.position import Range
from assay.domain.reject import RAW_LIMIT
from assay.wire import predictions
from assay.wire.framed import FRAMED
from assay.wire.framed import MESSAGES as OF_FRAMED
from assay.wire.messages import decode
from assay_adapters.environment.sections import GROUP, SECTIONS, installed
from assay_cli.bootstrap.reference import reference
from assay_cli.sample import read
from assay_local import Local
from assay_local.pytest_plugin import S3Settings
from assay_ml_api.metrics import METRICS as API_METRICS
from assay_model.artifact import SHIPPED, load
from assay_model.card import Described
from assay_model.documents import FIGURES, documents
from assay_model.report import from_json

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("library/*/README.md")]
)


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(document: str, marks: str) -> list[tuple[str, str, str]]:
    """Mark, language and content of the blocks that stand below such a mark, in order."""
    pattern = rf"<!-- ({marks}) -->\n```(\w+)\n(.*?)```"
    return re.findall(pattern, document, re.DOTALL)


def table(name: str, mark: str) -> list[list[str]]:
    """The rows of the table that stands below this mark in a document, without its head."""
    found = re.search(rf"<!-- table: {mark} -->\n((?:\|.*\n)+)", text(name))
    assert found, f"there is no table {mark} in {name}"
    _, _, *rows = found[1].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def in_code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# ---------------------------------------------------------------- examples


@pytest.fixture
def environment(
    local: Local, postgres_url: str, kafka_servers: str, s3_settings: S3Settings, tmp_path: Path
) -> dict[str, str]:
    """Names real servers, and has `uv run` start what is installed here."""
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\nshift\nPATH="{Path(sys.executable).parent}:$PATH" exec "$@"\n')
    uv.chmod(0o755)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")},
        **{f"ASSAY_S3__{name.upper()}": value for name, value in vars(s3_settings).items()},
        "ASSAY_POSTGRES__URL": postgres_url,
        "ASSAY_API__URL": local.api.url,
        "ASSAY_KAFKA__BOOTSTRAP_SERVERS": kafka_servers,
        **{
            f"ASSAY_STREAM__{name}": f"test-{name.lower()}-{secrets.token_hex(8)}"
            for name in (
                "TOPIC",
                "DEAD_LETTER_TOPIC",
                "EVENT_TOPIC",
                "PREDICTION_TOPIC",
                "LEDGER_TOPIC",
            )
        },
        "COLUMNS": "100",
        "PATH": f"{uv.parent}:{os.environ['PATH']}",
    }


def typed(commands: str, folder: Path, environment: dict[str, str]) -> str:
    """What the commands print, once all of them have succeeded."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607 - the reader's shell
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asked(sql: str, environment: dict[str, str]) -> Iterator[int]:
    """How many rows each of the queries gives."""
    with psycopg.connect(environment["ASSAY_POSTGRES__URL"]) as connection:
        for query in sql.split(";")[:-1]:
            yield len(connection.execute(cast(LiteralString, query)).fetchall())


def flat(printed: str) -> str:
    return re.sub(r" +", " ", re.sub(r" *\n", "\n", printed))


def test_the_readme_can_be_followed(environment: dict[str, str], tmp_path: Path) -> None:
    """Who copies the commands and queries in order sees what the README shows."""
    folder = tmp_path / "new"
    folder.mkdir()
    bucket = f"test-{secrets.token_hex(8)}"  # one that is kept could be made once only
    printed = ""
    for mark, language, content in blocks(text("README.md"), "executed|prints"):
        if mark == "prints":
            pattern = ".*?".join(map(re.escape, flat(content).split("…")))
            assert re.search(pattern, flat(printed), re.DOTALL), printed
        elif language == "bash":
            printed = typed(content.replace("your-cards", bucket), folder, environment)
        else:
            assert all(asked(content, environment))
    for _, _, query in blocks(text("docs/operations.md"), "executed"):
        assert len(list(asked(query, environment))) == 1


def example() -> tuple[Contract, bytes]:
    """The contract that the guide shows, and its file."""
    guide = text("docs/contracts.md")
    ((_, _, contract),) = blocks(guide, "contract")
    ((_, _, sample),) = blocks(guide, "sample")
    return parse(contract, "docs/contracts.md"), sample.encode()


def test_the_guide_s_contract_reads_the_guide_s_file() -> None:
    """All records of the example are valid, and mean what they say."""
    contract, sample = example()
    found = read(contract, "cards.csv", [sample], 100)
    assert found.rejects.is_empty()
    shown = found.valid.select("description", "amount", "operation_type", "side", "timestamp")
    assert [tuple(map(str, row)) for row in shown.rows()] == [
        (
            'KARTENZAHLUNG "BÄCKEREI AM TOR"',
            "3.80",
            "payment",
            "debit",
            "2024-05-02 06:15:00+00:00",
        ),
        (
            "KARTENZAHLUNG TANKSTELLE WEST",
            "1071.15",
            "payment",
            "debit",
            "2024-05-02 15:40:00+00:00",
        ),
        ("GUTSCHRIFT GEHALT", "2150.00", "payment", "credit", "2024-05-03 07:00:00+00:00"),
    ]


# ---------------------------------------------------------------- links


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link names a file or folder that is there, and a heading in it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_decision_is_dated_and_short() -> None:
    """The decisions are numbered without a gap, and fit a page."""
    decisions = sorted(ROOT.glob("docs/adr/*.md"))
    assert [int(each.name[:4]) for each in decisions] == list(range(1, len(decisions) + 1))
    for number, each in enumerate(decisions, start=1):
        lines = each.read_text("utf-8").splitlines()
        assert lines[0].startswith(f"# {number}. ")
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}, \w+", lines[2])
        assert [line for line in lines if line.startswith("## ")] == [
            "## Context",
            "## Decision",
            "## Consequences",
        ]
        assert len(lines) < 50


# ---------------------------------------------------------------- tables


def settings() -> Iterator[tuple[str, str]]:
    """Every variable of the product, and its default as the table writes it."""
    for section, config in installed().items():
        for name, field in config.model_fields.items():
            value: object = field.get_default(call_default_factory=True)
            default = f"{value:,g}" if isinstance(value, float) else str(value)
            if field.is_required():
                default = "required"
            elif isinstance(value, bool):
                default = default.lower()
            elif value in (None, (), {}):
                default = "none"
            yield f"ASSAY_{section}__{name}".upper(), default


def test_the_settings_are_those_of_the_code() -> None:
    """The page is what `assay config --reference` prints below its head, and tells of each."""
    head, _, written = text("docs/settings.md").partition("\n\n## ")
    assert head.startswith("# Settings\n")
    assert f"## {written}" == reference() + "\n"
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|$", written, re.MULTILINE)
    assert [(name, default.strip()) for name, _, default, _ in rows] == list(settings())
    assert [name for name, *_, meaning in rows if not meaning.strip()] == []
    assert {*installed(), "local"} == set(SECTIONS)
    registered = {entry.name for entry in entry_points(group=GROUP)}
    assert registered == set(installed())


def compose_services() -> dict[str, dict[str, Any]]:
    """All services of the Compose file, as Compose reads it, with three brokers."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("docker-compose"),
            "--profile=*",
            "config",
            "--format=json",
        ],
        cwd=ROOT,
        env={**os.environ, "KAFKA_BROKERS": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def test_the_compose_file_sets_known_variables_and_opens_no_port_to_others() -> None:
    """What it sets are settings; ports are local, images pinned, secrets come from files."""
    assert not re.search(r"\$\{\w*(PASSWORD|SECRET|KEY)\b", text("docker-compose.yml"))
    known = {name for name, _ in settings()}
    known |= {f"{name}_FILE" for name in known}
    for name, service in compose_services().items():
        ports = service.get("ports", ())
        assert all(each["host_ip"] == "127.0.0.1" for each in ports), name
        assert re.search(r":v?\d+\.\d+", service["image"]), name
        given = service.get("environment", {})
        ours = {each for each in given if each.startswith("ASSAY_")}
        assert ours - {"ASSAY_CONTRACTS"} <= known, name  # that one is of Airflow's DAGs
        secret = {each for each in given if re.search("PASSWORD|SECRET|FERNET|TOKEN", each)}
        assert all(each.endswith(("_FILE", "_CMD")) for each in secret), name


def test_each_service_of_the_compose_file_is_held_within_bounds() -> None:
    """Of memory and log, and what is ours has no rights; it is told when to begin and to end."""
    services = compose_services()
    for name, service in services.items():
        assert {"mem_limit", "restart", "logging"} <= set(service) or name == "assay", name
        assert "no-new-privileges:true" in service["security_opt"], name
        if service["image"].startswith("assay-"):
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
            assert service["init"], name
        for other, how in service.get("depends_on", {}).items():
            once = services[other]["restart"] in {"no", "on-failure:3"}
            wanted = "service_completed_successfully" if once else "service_healthy"
            assert how["condition"] == wanted, (name, other)
    brokers = services["consumer-1"]["environment"]["ASSAY_KAFKA__BOOTSTRAP_SERVERS"]
    assert brokers == "kafka:9092,kafka-2:9092,kafka-3:9092"


def test_the_metrics_are_those_of_the_code() -> None:
    """The table names every metric, with its kind, labels and help."""
    rows = table("docs/operations.md", "metrics")
    assert [(*in_code(row[0]), row[1], row[2], row[3]) for row in rows] == [
        (each.name, each.kind, ", ".join(each.labels), each.help)
        for each in (*METRICS, *API_METRICS)
    ]


def test_the_exit_codes_are_those_of_the_code() -> None:
    """The table names every code as the code does."""
    rows = table("docs/operations.md", "exit-codes")
    assert {row[1].replace(" ", "_").upper(): int(row[0]) for row in rows} == {
        name: value for name, value in vars(errors).items() if name.isupper()
    }


def test_the_custom_properties_are_those_of_the_code() -> None:
    """The table names every custom property that a contract may have, and where."""
    rows = table("docs/contracts.md", "custom-properties")
    models = {"server": ServerSettings, "property": PropertySettings}
    assert [(row[1], *in_code(row[0])) for row in rows] == [
        (of, str(field.alias))
        for of, model in models.items()
        for field in model.model_fields.values()
    ]


def test_the_tasks_are_those_of_the_workspace() -> None:
    """The table names every poe task."""
    rows = table("CONTRIBUTING.md", "tasks")
    workspace = tomllib.loads(text("pyproject.toml"))
    assert {each for row in rows for each in in_code(row[0])} == set(
        workspace["tool"]["poe"]["tasks"]
    )


# ---------------------------------------------------------------- the model


def test_report_and_card_are_on_the_shipped_model() -> None:
    """Their text follows from the figures and the artifact; `poe model-report` makes both anew."""
    content = SHIPPED.read_bytes()
    described = Described(load(SHIPPED), len(content), hashlib.sha256(content).hexdigest())
    found = from_json(text(f"docs/{FIGURES}"))
    assert found.version == described.artifact.version
    for name, written in documents(found, described).items():
        assert text(f"docs/{name}") == written


def test_the_report_s_pictures_are_all_shown() -> None:
    """None is left over from an earlier report."""
    folder = (ROOT / "docs" / FIGURES).parent
    shown = set(re.findall(rf"\({folder.name}/([^)]+\.png)\)", text("docs/model-report.md")))
    assert {each.name for each in folder.glob("*.png")} == shown


def test_the_report_tells_the_figures_of_training() -> None:
    """Where the artifact's notes state a figure, the report has the same."""
    sections = {
        each.name: asdict(each.figures) for each in from_json(text(f"docs/{FIGURES}")).sections
    }
    stated = load(SHIPPED).notes["tested"]["measured"]
    for name, of in (("all rows", "later traffic"), ("merchants never seen",) * 2):
        told = {each: sections[of][each] for each in stated[name]}
        assert stated[name] == pytest.approx(told, abs=2e-6)


# ---------------------------------------------------------------- reject codes

STRICT: Final = """
apiVersion: v3.2.0
kind: DataContract
id: strict
version: 1.0.0
status: active
servers: [{server: inbox, type: local, path: ./x.csv, format: csv, delimiter: ";"}]
schema:
  - name: strict
    logicalType: object
    properties:
      - {name: transaction_id, logicalType: string}
      - {name: description, logicalType: string}
      - {name: amount, logicalType: number}
      - {name: currency, logicalType: string}
      - name: timestamp
        logicalType: timestamp
        logicalTypeOptions: {format: ISO_OFFSET_DATE_TIME}
      - {name: merchant, logicalType: string, required: true}
      - {name: operation_type, logicalType: string}
      - {name: side, logicalType: string}
      - {name: mcc, logicalType: string, required: true}
"""
GOOD: Final = {
    "transaction_id": b"T1",
    "description": b"COFFEE",
    "amount": b"3.80",
    "currency": b"EUR",
    "timestamp": b"2024-05-02T08:15:00Z",
    "merchant": b"Bar",
    "operation_type": b"payment",
    "side": b"debit",
    "mcc": b"5814",
}
BROKEN: Final = (
    *({name: b""} for name in GOOD),
    {"transaction_id": b"T" * 129},
    {"transaction_id": b"T\t1"},
    {"description": b"D" * 1025},
    {"description": b"CO\x00FFEE"},
    {"amount": b"three"},
    {"amount": b"3.805"},
    {"amount": b"1" * 17},
    {"amount": b"-3.80", "side": b"credit"},
    {"currency": b"XXY"},
    {"timestamp": b"2024-05-32T08:15:00Z"},
    {"merchant": b"M" * 257},
    {"merchant": b"B\x00r"},
    {"operation_type": b"gift"},
    {"side": b"left"},
    {"mcc": b"12"},
    {"description": b"\xff"},
    {"description": b'"COFFEE"!'},
    {"description": b"A;B"},
    {"description": b"D" * (RAW_LIMIT + 1)},
    {"mcc": b'"5814'},
)


BROKEN_MESSAGES: Final = (b"", b"{", b"[]", b'{"note":1,"note":2}')


def _messages(raws: Sequence[bytes]) -> Chunk:
    records = pl.DataFrame({"raw": raws}).select(
        (pl.col(name) if name == "raw" else pl.lit(None, dtype)).alias(name)
        for name, dtype in RECORDS.items()
    )
    return Chunk((Range("t/0", 0, len(raws), len(raws)),), records)


def test_the_reject_codes_are_those_of_the_code() -> None:
    """The table has each code that a record can lead to, with its stage and field; no other."""
    lines = [b";".join({**GOOD, **each}.values()) for each in BROKEN]
    found = read(
        parse(STRICT, "strict"), "x.csv", [b"\n".join([";".join(GOOD).encode(), *lines])], 100
    )
    assert found.valid.is_empty()
    _, undecodable = decode(_messages(BROKEN_MESSAGES))
    framed = _messages([FRAMED] * len(OF_FRAMED))
    _, without_json = decode(framed, unframe=lambda _: list(OF_FRAMED))
    no_predictions = predictions.decode(_messages(BROKEN_MESSAGES)).rejects
    rejects = pl.concat([found.rejects, undecodable, without_json, no_predictions])
    rows = table("docs/contracts.md", "reject-codes")
    in_files = [row for row in rows if row[1] not in {"classify", "commit"}]
    assert {
        (in_code(row[0])[0], row[1].partition(",")[0], "".join(in_code(row[2])) or None)
        for row in in_files
    } == set(rejects.select("code", "stage", "field").rows())
    assert {row[4] for row in in_files} == {"no"}
    assert {in_code(row[0])[0] for row in rows} == CODES


def test_the_codes_of_classifier_and_store_are_in_the_code() -> None:
    """What files cannot lead to is written in the modules that give it."""
    given: Iterable[Path] = ROOT.glob("library/*/src/**/*.py")
    source = "\n".join(each.read_text("utf-8") for each in given)
    rows = table("docs/contracts.md", "reject-codes")
    for row in rows:
        if row[1] in {"classify", "commit"}:
            assert f'"{in_code(row[0])[0]}"' in source
