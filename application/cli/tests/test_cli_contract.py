"""`assay contract`: drafts, problems, samples."""

import gzip
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import HttpUrl, SecretStr

from assay_adapters.s3.config import S3Config, s3_client
from assay_local.pytest_plugin import S3Settings

Assay = Callable[..., subprocess.CompletedProcess[str]]

_CARDS = """\
id;description;amount;timestamp;merchant;operation_type;side
t1;Coffee at the corner;-3,50;2024-05-01 08:30:00;Corner Cafe;payment;debit
t2;Salary May;2500,00;2024-05-01 00:00:00;;transfer;credit
t3;Broken heart;x;2024-05-01 00:00:00;;transfer;credit
t4;Too few;1,00
"""


@pytest.fixture
def cards() -> str:
    """A file with two good records and two others."""
    Path("cards.csv").write_text(_CARDS)
    return "cards.csv"


@pytest.fixture
def contract(assay: Assay, cards: str) -> str:
    """A contract that was drafted from that file."""
    assert assay("contract", "new", cards, "--out", "cards.odcs.yaml").returncode == 0
    return "cards.odcs.yaml"


def test_a_draft_is_a_valid_contract(assay: Assay, contract: str) -> None:
    """What was drafted from a file reads that file."""
    ended = assay("contract", "validate", contract, "--sample", "cards.csv", "--json")
    assert ended.returncode == 0
    document = json.loads(ended.stdout)
    assert [each["valid"] for each in document["contracts"]] == [True]
    sample = document["sample"]
    assert (sample["read"], sample["valid"], sample["rejected"]) == (4, 2, 2)
    assert sample["columns"]["amount"] == "column 3, amount"
    assert [(each["position"], each["code"]) for each in sample["rejects"]] == [
        (2, "invalid_amount"),
        (3, "wrong_field_count"),
    ]
    printed = assay("contract", "validate", contract, "--sample", "cards.csv").stdout
    assert "position 2: amount is not a number" in printed


def test_a_draft_goes_to_standard_output_or_into_a_new_file(assay: Assay, cards: str) -> None:
    """No file is replaced unasked, and no record's content is in a draft."""
    ended = assay("contract", "new", cards)
    assert ended.returncode == 0
    assert "apiVersion: " in ended.stdout
    assert "Coffee" not in ended.stdout
    Path("mine.yaml").write_text("mine")
    again = assay("contract", "new", cards, "--out", "mine.yaml")
    assert again.returncode == 78
    assert Path("mine.yaml").read_text() == "mine"
    assert assay("contract", "new", cards, "--out", "mine.yaml", "--force").returncode == 0
    assert Path("mine.yaml").read_text() == ended.stdout


def test_a_draft_of_what_is_in_s3_and_packed(assay: Assay, s3: S3Settings, bucket: str) -> None:
    """A compressed object gives the same draft as the file in it."""
    keys = {"access_key_id": s3.access_key_id, "secret_access_key": SecretStr(s3.secret_access_key)}
    config = S3Config.model_validate(
        {"endpoint_url": HttpUrl(s3.endpoint_url), "region": s3.region, **keys}
    )
    body = gzip.compress(_CARDS.encode())
    s3_client(config).put_object(Bucket=bucket, Key="in/cards.csv.gz", Body=body)
    Path("cards.csv").write_text(_CARDS)
    ended = assay("contract", "new", f"s3://{bucket}/in/cards.csv.gz")
    assert ended.returncode == 0
    assert ended.stdout == assay("contract", "new", "cards.csv").stdout
    missing = assay("contract", "new", f"s3://{bucket}/in/none.csv")
    assert missing.returncode == 65


def test_what_is_no_table_is_named(assay: Assay) -> None:
    """A text or an Excel file: exit 65, with its name and what it is; nothing is written."""
    for content, said in {b"# Cards\n\nOne, two.\n": "no table", b"PK\x03\x04": "Excel"}.items():
        Path("cards.csv").write_bytes(content)
        ended = assay("contract", "new", "cards.csv", "--out", "cards.odcs.yaml")
        assert ended.returncode == 65
        assert "cards.csv: this is no" in ended.stderr
        assert said in ended.stderr
    assert not Path("cards.odcs.yaml").exists()


@pytest.mark.parametrize(
    "content",
    [None, b"", gzip.compress(b"a;b\n1;2\n" * 999)[:30]],
    ids=["no file", "an empty file", "a cut file"],
)
def test_what_cannot_be_drafted_from(assay: Assay, content: bytes | None) -> None:
    """No file, an empty one, a damaged one: exit 65, naming it where it can be named."""
    if content is not None:
        Path("cards.csv.gz" if content else "cards.csv").write_bytes(content)
    ended = assay("contract", "new", "cards.csv.gz" if content else "cards.csv")
    assert ended.returncode == 65
    assert not ended.stdout


def test_problems_are_named_by_line(assay: Assay, contract: str) -> None:
    """Of every contract, before and after valid ones; exit 78."""
    text = Path(contract).read_text()
    lines = text.replace("format: csv", "format: csv\n    delimitr: ';'").splitlines()
    Path("bad.yaml").write_text("\n".join(lines))
    number = next(at for at, line in enumerate(lines, start=1) if "delimitr" in line)
    ended = assay("contract", "validate", "bad.yaml", contract)
    assert ended.returncode == 78
    assert f"bad.yaml:{number}: servers[0].delimitr:" in ended.stdout
    assert f"{contract}: valid" in ended.stdout
    document = json.loads(assay("contract", "validate", "bad.yaml", contract, "--json").stdout)
    assert [each["valid"] for each in document["contracts"]] == [False, True]
    assert number in {each["line"] for each in document["contracts"][0]["problems"]}


def test_what_is_left_to_decide_is_listed(assay: Assay, contract: str) -> None:
    """Each mark with its line and text, and that a draft is one; none once it is decided."""
    lines = Path(contract).read_text().splitlines()
    numbers = [at for at, line in enumerate(lines, start=1) if "# Decide:" in line]
    ended = assay("contract", "validate", contract)
    assert ended.returncode == 0
    assert "version 1.0.0, draft" in ended.stdout
    assert "No run takes its files" in ended.stdout
    for number in numbers:
        text = lines[number - 1].partition("# Decide: ")[2]
        assert f"{contract}:{number}: to decide: {text}" in ended.stdout
    (said,) = json.loads(assay("contract", "validate", contract, "--json").stdout)["contracts"]
    assert [each["line"] for each in said["undecided"]] == numbers
    assert said["status"] == "draft"
    decided = re.sub("# Decide:.*", "", "\n".join(lines)).replace("draft", "active")
    Path(contract).write_text(decided)
    ended = assay("contract", "validate", contract)
    assert ended.stdout == f"{contract}: valid (cards, version 1.0.0, active)\n"


def test_what_is_no_contract_at_all(assay: Assay) -> None:
    """No YAML, no UTF-8, no file: exit 78."""
    Path("a.yaml").write_text("a: [")
    Path("b.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("a.yaml", "b.yaml", "c.yaml"):
        assert assay("contract", "validate", name).returncode == 78


def test_a_sample_shows_content_only_when_asked(assay: Assay, contract: str) -> None:
    """Codes and columns always; descriptions with --show."""
    words = ["contract", "validate", contract, "--sample", "cards.csv"]
    for flags in ([], ["--json"]):
        ended = assay(*words, *flags)
        assert ended.returncode == 0
        assert "invalid_amount" in ended.stdout
        for content in ("Coffee", "Broken heart", "Corner Cafe"):
            assert content not in ended.stdout
        ended = assay(*words, "--show", *flags)
        assert "Broken heart" in ended.stdout
    assert "Coffee" in assay(*words, "--show").stdout


def test_a_sample_is_read_no_further_than_is_needed(assay: Assay, contract: str) -> None:
    """Of a long file the first 1,000 records."""
    header, good, *_ = _CARDS.splitlines(keepends=True)
    Path("long.csv").write_text(header + good * 5_000)
    ended = assay("contract", "validate", contract, "--sample", "long.csv", "--json")
    assert json.loads(ended.stdout)["sample"]["read"] == 1_000


def test_a_sample_that_does_not_fit(assay: Assay, contract: str) -> None:
    """A column is not there: exit 65, naming it; so does an empty file."""
    Path("other.csv").write_text("id;text\n1;2\n")
    ended = assay("contract", "validate", contract, "--sample", "other.csv")
    assert ended.returncode == 65
    assert "description is missing" in ended.stderr
    Path("none.csv").write_text("")
    assert assay("contract", "validate", contract, "--sample", "none.csv").returncode == 65
    two = assay("contract", "validate", contract, contract, "--sample", "cards.csv")
    assert two.returncode == 78


def test_a_pipe_is_no_file(assay: Assay, tmp_path: Path) -> None:
    """It might never say anything; exit 65 at once."""
    os.mkfifo(tmp_path / "pipe.csv")
    ended = assay("contract", "new", "pipe.csv")
    assert ended.returncode == 65
    assert "is no file" in ended.stderr
