"""The main job, as people run it: files in S3 become classified rows, and the books balance."""

import os
import re
import tarfile
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import zstandard
from demo.samples import HEADER, csv
from rich.console import Console
from system import ROOT, System

from assay.domain.errors import Fenced, Unreadable
from assay.domain.position import Range
from assay.domain.tally import Tally
from assay.ports.objects import Objects
from assay.wire.envelope import letters_from_jsonl
from assay_adapters.files.objects import LocalObjects
from assay_batch.report import complaint, show
from assay_batch.run import Result


def doors(summary: dict[str, Any]) -> tuple[int, ...]:
    """Read, classified, rejected, duplicate."""
    return tuple(summary[door] for door in ("read", "classified", "rejected", "duplicate"))


def rejected(system: System) -> Counter[str]:
    """The codes of the dead letters in the table."""
    return Counter(code for (code,) in system.query("SELECT code FROM dead_letters"))


def test_the_main_job(system: System) -> None:
    """Plain and packed files: rows, predictions, letters and objects agree with the summary."""
    system.put("in/a.csv", csv(800, seed=1, broken=0.05))
    system.put("in/b.csv.gz", csv(700, seed=2, broken=0.05))
    system.put("in/c.csv.zst", zstandard.compress(csv(600, seed=3, broken=0.05)))

    contract = system.contract("transactions")
    done = system.run("batch", "run", system.uri("in/"), "--contract", str(contract))

    assert done.exit_code == 0, done.errors
    read, classified, rejects, duplicate = doors(done.summary)
    assert (read, duplicate) == (2_100, 0)
    assert read == classified + rejects
    assert done.summary["files"] == 3
    assert done.summary["model_version"]
    ((rows,),) = system.query("SELECT count(*) FROM transactions")
    ((predictions,),) = system.query(
        "SELECT count(*) FROM predictions WHERE confidence BETWEEN 0 AND 1 AND category <> ''"
    )
    assert rows == predictions == classified
    assert sum(rejected(system).values()) == rejects > 50
    assert system.balances()

    published = list(system.objects.list(system.uri("errors/")))
    assert {item.uri.split("/")[-2] for item in published} == {done.summary["run_id"]}
    letters = [letters_from_jsonl(b"".join(system.objects.read(item))) for item in published]
    assert Counter(code for frame in letters for code in frame["code"]) == rejected(system)


def test_the_same_records_again_are_duplicates(system: System) -> None:
    """Under other names all are known; under the same names there is nothing to do."""
    body = csv(500, seed=1, broken=0.0)
    system.put("in/a.csv", body)
    assert doors(system.batch(system.uri("in/a.csv")).summary) == (500, 500, 0, 0)
    system.put("in/b.csv", body)
    assert doors(system.batch(system.uri("in/*.csv")).summary) == (500, 0, 0, 500)
    again = system.batch(system.uri("in/*.csv"))
    assert (again.exit_code, again.summary["status"]) == (99, "nothing_to_do")
    assert "all 2 files were done before; to read one anew" in again.errors
    assert doors(again.summary) == (0, 0, 0, 0)
    assert system.balances()


def test_files_that_wait_are_listed(system: System) -> None:
    """Those that a run would do, one that was read in part among them; there is no model asked."""
    contract = ("--contract", str(system.contract("transactions")))
    for name in ("in/a.csv", "in/b.csv", "in/c [1]*.csv"):
        system.put(name, csv(200, seed=len(name), broken=0.1))
    system.put("errors/old.csv", b"what a run has put there")
    assert system.batch(system.uri("in/a.csv")).exit_code == 0
    assert system.batch(system.uri("in/b.csv"), "--limit", "120").exit_code == 0
    api = {"ASSAY_API__URL": system.environment.pop("ASSAY_API__URL")}
    listed = system.quick("batch", "list", system.uri("in/"), *contract)
    assert listed.exit_code == 0, listed.errors
    sizes = [each.size for each in system.objects.list(system.uri("in/"))]
    assert listed.summary == {
        "status": "waiting",
        "found": 3,
        "waiting": 2,
        "bytes": sum(sizes[1:]),
        "files": [system.uri("in/b.csv"), system.uri("in/c [[]1][*].csv")],
    }
    assert doors(system.batch(listed.summary["files"][1], **api).summary)[0] == 200
    few = system.quick("batch", "list", system.uri("in/"), "--most", "1", *contract)
    assert few.summary["files"] == [system.uri("in/b.csv")]
    none = system.quick("batch", "list", system.uri("in/a.csv"), *contract)
    assert (none.exit_code, none.summary["status"]) == (99, "nothing_to_do")
    gone = system.quick("batch", "list", system.uri("in/x.csv"), *contract)
    assert gone.exit_code == 65
    assert "x.csv does not exist" in gone.errors


def test_other_content_under_a_known_id_is_a_conflict(system: System) -> None:
    """Nothing is overwritten in silence, inside a file or across files."""
    line = "X1;BAKERY;-1,00;2024-01-02 10:00:00;;payment;debit"
    other = line.replace("-1,00", "-2,00")
    system.put("in/a.csv", f"{HEADER}\n{line}\n{line}\n{other}".encode())
    system.put("in/b.csv", f"{HEADER}\n{other}\n{line}".encode())
    assert doors(system.batch(system.uri("in/")).summary) == (5, 1, 2, 2)
    assert rejected(system) == Counter(conflicting_duplicate=2)
    assert system.query("SELECT amount FROM transactions WHERE transaction_id = 'X1'")[0][0] == 1
    assert system.balances()


def test_a_file_that_cannot_be_read_does_not_stop_the_others(system: System) -> None:
    """It ends with 65 and names each such file; what was read of them is kept."""
    good = csv(300, seed=1, broken=0.0)
    system.put("in/good.csv", good)
    system.put("in/headers.csv", b"foo;bar\n1;2\n")
    packed = zstandard.compress(csv(40_000, seed=2, broken=0.0))
    system.put("in/truncated.csv.zst", packed[: len(packed) // 2])
    system.put("in/empty.csv", b"")
    system.put("in/header-only.csv", HEADER.encode())
    done = system.batch(system.uri("in/"))
    assert (done.exit_code, done.summary["status"]) == (65, "incomplete")
    assert done.summary["files"] == 3
    assert "headers.csv" in done.errors
    assert "truncated.csv.zst" in done.errors
    assert "good.csv" not in done.errors
    assert done.errors.count("a file holds no record") == 2
    assert system.balances()


def test_a_file_is_complained_of_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, as people write it and without its version, whatever the message says already."""
    monkeypatch.chdir(tmp_path)
    here, there = (tmp_path / "in 1" / "a.csv").as_uri(), "file:///elsewhere/b%0A.csv"
    told = [
        complaint(f"{here}#9-abc", Unreadable("amount is missing")),
        complaint(f"{here}#9-abc", Unreadable(f"{here} is cut short")),
        complaint("file:///elsewhere/a.csv#9-abc", Unreadable("amount is missing")),
        complaint(f"{there}#9-abc", Unreadable("amount is missing")),
        complaint("s3://b/a.csv#abc", Fenced([Range("s3://b/a.csv#abc", 0, 1, 1)])),
    ]
    assert told == [
        "in 1/a.csv: amount is missing",
        "in 1/a.csv is cut short",
        "/elsewhere/a.csv: amount is missing",
        f"{there}: amount is missing",
        "another run is working on s3://b/a.csv; run again when it has ended",
    ]


def test_a_flood_of_rejects_leaves_the_file_uncommitted(system: System) -> None:
    """The limit names the option that accepts; with it every record leaves through its door."""
    broken = "X{};BAKERY;twelve;2024-01-02 10:00:00;;payment;debit"
    system.put("in/bad.csv", "\n".join([HEADER, *map(broken.format, range(400))]).encode())
    system.put("in/good.csv", csv(300, seed=1, broken=0.0))
    done = system.batch(system.uri("in/"))
    assert done.exit_code == 65
    assert doors(done.summary) == (300, 300, 0, 0)
    assert "--reject-limit 1" in " ".join(done.errors.split())
    assert not rejected(system)
    accepted = system.batch(system.uri("in/"), "--reject-limit", "1")
    assert accepted.exit_code == 0
    assert doors(accepted.summary) == (400, 0, 400, 0)
    assert system.balances()


def test_a_limit_is_no_way_around_the_reject_limit(system: System) -> None:
    """What a trial run reads of a file is judged like a file that ends there."""
    broken = "X{};BAKERY;twelve;2024-01-02 10:00:00;;payment;debit"
    system.put("in/bad.csv", "\n".join([HEADER, *map(broken.format, range(400))]).encode())
    done = system.batch(system.uri("in/"), "--limit", "100")
    assert done.exit_code == 65
    assert doors(done.summary) == (0, 0, 0, 0)
    assert not rejected(system)


def test_a_contract_mended_in_mid_file_skips_nothing(system: System, tmp_path: Path) -> None:
    """Where records are cut otherwise now, the file is left alone and it is said why."""
    body = "\n".join(
        [
            HEADER,
            *(f'X{n};"BAKERY\n{n}";-1,00;2024-01-02 10:00:00;;payment;debit' for n in range(9)),
        ]
    )
    system.put("in/a.csv", body.encode())
    text = system.contract("transactions").read_text("utf-8")
    by_lines = tmp_path / "by-lines.odcs.yaml"
    quote = "    customProperties: [{property: quote, value: null}]\n"
    by_lines.write_text(re.sub(r"(    format: csv\n)", r"\1" + quote, text))
    arguments = ("batch", "run", system.uri("in/"), "--reject-limit", "1", "--contract")
    begun = system.quick(*arguments, str(by_lines), "--limit", "4")
    assert doors(begun.summary) == (4, 0, 4, 0)
    mended = system.quick(*arguments, str(system.contract("transactions")))
    assert (mended.exit_code, mended.summary["read"]) == (78, 0)
    assert "it was read up to record 4 with" in " ".join(mended.errors.split())
    system.put("in/b.csv", body.encode())
    assert doors(system.quick(*arguments, str(system.contract("transactions"))).summary) == (
        *(9, 9, 0, 0),
    )
    assert system.balances()


def test_a_dry_run_foresees_the_reject_limit(system: System) -> None:
    """Where a run would leave a file alone it ends as the run would, and names the file."""
    broken = "X{};BAKERY;twelve;2024-01-02 10:00:00;;payment;debit"
    system.put("in/bad.csv", "\n".join([HEADER, *map(broken.format, range(30))]).encode())
    system.put("in/good.csv", csv(30, seed=1, broken=0.0))
    done = system.batch(system.uri("in/"), "--dry-run")
    assert (done.exit_code, done.summary["read"]) == (65, 60)
    assert "bad.csv: a run would stop at it: 30 of 30 records" in " ".join(done.errors.split())
    assert system.batch(system.uri("in/"), "--dry-run", "--reject-limit", "1").exit_code == 0


def test_finished_files_are_archived(system: System) -> None:
    """When asked, also those that an earlier run has finished and not moved."""
    system.put("in/2024/a.csv", csv(50, seed=1))
    assert system.batch(system.uri("in/")).exit_code == 0
    system.put("in/b.csv", csv(50, seed=2))
    system.put("in/headers.csv", b"foo;bar\n1;2\n")
    assert system.batch(system.uri("in/"), "--archive").exit_code == 65
    assert [item.uri for item in system.objects.list(system.uri("in/"))] == [
        system.uri("in/headers.csv")
    ]
    assert [item.uri for item in system.objects.list(system.uri("archive/"))] == [
        system.uri("archive/in/2024/a.csv"),
        system.uri("archive/in/b.csv"),
    ]


@pytest.mark.parametrize("kind", ["s3", "local"])
def test_an_archive_keeps_every_original(system: System, tmp_path: Path, kind: str) -> None:
    """A file that comes under one name each day replaces none of the days before."""
    objects: Objects = system.objects if kind == "s3" else LocalObjects()
    root = system.uri("") if kind == "s3" else f"{tmp_path.as_uri()}/"
    days = [csv(20, seed=day, broken=0.0) for day in range(3)]
    for body in days:
        objects.write(f"{root}daily.csv", body)
        assert system.batch(f"{root}*.csv", "--archive").exit_code == 0
    kept = list(objects.list(f"{root}archive/"))
    assert sorted(b"".join(objects.read(item)) for item in kept) == sorted(days)
    names = sorted(item.uri.rpartition("/")[2] for item in kept)
    assert re.fullmatch(r"(daily-[0-9a-f]{12}\.csv ){2}daily\.csv", " ".join(names))


def test_what_a_run_has_put_there_is_no_input(system: System) -> None:
    """A run over the whole bucket reads neither its own rejects nor its archive."""
    system.put("a.csv", csv(50, seed=1, broken=0.5))
    assert system.batch(system.uri(""), "--archive", "--reject-limit", "1").exit_code == 0
    assert list(system.objects.list(system.uri("errors/")))
    assert system.batch(system.uri("")).exit_code == 99


def test_a_terminal_shows_the_doors() -> None:
    """Rejects by code, where they were published, and the command that shows them."""
    result = Result(
        "run-1",
        tally=Tally(3_000, 2_990, 9, 1),
        codes=Counter({("invalid_amount", "amount"): 8, ("unclosed_quote", ""): 1}),
        empty=["file:///in/empty.csv#0"],
        published=Counter({"file:///in/errors/run-1/": 9}),
    )
    written = StringIO()
    show(result, Console(file=written, width=80), dry=False)
    lines = [" ".join(line.split()) for line in written.getvalue().splitlines()]
    assert "invalid_amount amount 8" in lines
    assert "unclosed_quote 1" in lines
    assert "no record in /in/empty.csv" in lines
    assert lines[-3:] == [
        "3,000 read = 2,990 classified + 9 rejected + 1 duplicate",
        "9 rejects published under file:///in/errors/run-1/",
        "see what was rejected: assay dead-letters list --run run-1",
    ]


def test_a_draft_is_for_dry_runs_only(system: System, tmp_path: Path) -> None:
    """A run refuses it, says what is left to decide and writes nothing; a dry run says so."""
    system.put("in/a.csv", csv(50, seed=1, broken=0.0))
    draft = tmp_path / "draft.odcs.yaml"
    text = system.contract("transactions").read_text().replace("status: active", "status: draft")
    draft.write_text(f"# Decide: this.\n# Decide: that.\n{text}")
    arguments = ("batch", "run", system.uri("in/"), "--contract", str(draft))
    refused = system.quick(*arguments)
    assert refused.exit_code == 78
    assert "is a draft: decide what is marked in its lines 1, 2, then set" in refused.errors
    assert not system.query("SELECT 1 FROM runs")
    dry = system.quick(*arguments, "--dry-run")
    assert (dry.exit_code, dry.summary["classified"]) == (0, 50)
    assert "is a draft: decide" in dry.errors
    draft.write_text(f"# Decide: this.\n{text.replace('status: draft', 'status: active')}")
    assert "`# Decide:` left in its lines 1" in system.quick(*arguments).errors
    draft.write_text(text.replace("draft", "retired"))
    assert "is retired" in system.quick(*arguments).errors


def test_a_dry_run_writes_nothing(system: System) -> None:
    """It needs neither database nor model, and says what would be rejected."""
    system.put("in/a.csv", csv(500, seed=1, broken=0.2))
    system.environment.pop("ASSAY_POSTGRES__URL")
    system.environment.pop("ASSAY_API__URL")
    done = system.batch(system.uri("in/"), "--dry-run")
    assert (done.exit_code, done.summary["status"]) == (0, "dry_run"), done.errors
    read, valid, rejects, _ = doors(done.summary)
    assert read == 500 == valid + rejects
    assert "amount_precision" in done.errors
    assert [item.uri for item in system.objects.list(system.uri(""))] == [system.uri("in/a.csv")]


def test_a_limit_is_resumed(system: System) -> None:
    """A run over the first records leaves the rest to the next one."""
    system.put("in/a.csv", csv(500, seed=1, broken=0.0))
    assert doors(system.batch(system.uri("in/"), "--limit", "120").summary)[0] == 120
    assert doors(system.batch(system.uri("in/")).summary) == (380, 380, 0, 0)
    assert system.balances()


def test_local_files(system: System, tmp_path: Path) -> None:
    """The same job on a folder; rejects and archive lie beside the files."""
    (tmp_path / "a.csv").write_bytes(csv(200, seed=1, broken=0.1))
    done = system.batch(f"{tmp_path}/*.csv", "--archive")
    assert done.exit_code == 0, done.errors
    assert [each.name for each in (tmp_path / "archive").iterdir()] == ["a.csv"]
    (published,) = (tmp_path / "errors" / done.summary["run_id"]).iterdir()
    assert letters_from_jsonl(published.read_bytes()).height == done.summary["rejected"] > 5


def test_relative_places(system: System, tmp_path: Path) -> None:
    """The next run finds neither its rejects nor its archive among the files below them."""
    folder = os.path.relpath(tmp_path, ROOT / "tests")
    (tmp_path / "a.csv").write_bytes(csv(200, seed=1, broken=0.1))
    arguments = (f"{folder}/", "--errors", f"{folder}/rejects", "--archive-to", f"{folder}/done")
    assert system.batch(*arguments).exit_code == 0
    assert [each.name for each in (tmp_path / "done").iterdir()] == ["a.csv"]
    ((destination,),) = system.query("SELECT DISTINCT destination FROM dead_letters")
    assert destination.startswith(f"{tmp_path.as_uri()}/rejects/")
    assert system.batch(*arguments).exit_code == 99


def test_rejects_go_where_the_files_are(system: System, tmp_path: Path) -> None:
    """A place that this run could not write to is refused before anything is read."""
    (tmp_path / "a.csv").write_bytes(csv(200, seed=1, broken=0.1))
    done = system.batch(f"{tmp_path}/", "--errors", system.uri("errors/"))
    assert done.exit_code == 78
    assert "all in S3 or all on this machine" in done.errors
    assert not system.query("SELECT 1 FROM runs")


def test_a_file_that_does_not_exist(system: System) -> None:
    """A name must exist; a pattern or folder may match nothing."""
    assert system.batch(system.uri("in/a.csv")).exit_code == 65
    nothing = system.batch(system.uri("in/*.csv"))
    assert nothing.exit_code == 99
    assert f"no file matches {system.uri('in/*.csv')}" in " ".join(nothing.errors.split())


@pytest.mark.corpus
@pytest.mark.timeout(240)
def test_the_files_of_a_council_as_published(system: System) -> None:
    """93,123 records in 29 files: 1,019 duplicates, no reject, the rest classified."""
    with tarfile.open(Path(os.environ["ASSAY_TEST_DATA"]) / "devon_raw.tar.gz") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(".csv") else None
            if file is not None:
                system.put(f"devon/{Path(member.name).name}", file.read())
    done = system.batch(system.uri("devon/*.csv"), contract="devon_pcard")
    assert done.exit_code == 0, done.errors
    assert done.summary["files"] == 29
    assert doors(done.summary) == (93_123, 92_104, 0, 1_019)
    assert system.balances()
    ((refunds,),) = system.query("SELECT count(*) FROM transactions WHERE side = 'credit'")
    assert 0.03 < refunds / 92_104 < 0.05
