"""Dead letters come back: tried again, given up, taken in from elsewhere."""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import forked
import polars as pl
from demo.samples import HEADER, csv
from pydantic import SecretStr
from system import Done, Forked, System

from assay.pipeline.redrive import Request
from assay.testing.frames import outcome
from assay.wire.envelope import letters_from_jsonl
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.store import PostgresStore

GOOD = [f"G{number};COFFEE;-3,80;2024-05-02 08:15:00;Bar;payment;debit" for number in range(4)]
DOTTED = [f"D{number};COFFEE;-3.80;2024-05-02 08:15:00;Bar;payment;debit" for number in range(3)]
SIDEWAYS = [f"S{number};COFFEE;3,80;2024-05-02 08:15:00;Bar;payment;left" for number in range(2)]
SHORT = ["X0;COFFEE;-3,80"]


def written(*lines: str) -> bytes:
    return "\n".join([HEADER, *lines, ""]).encode()


def mended(system: System, folder: Path, *changes: tuple[str, str]) -> str:
    """The path of a contract in which some words stand for others."""
    text = system.contract("transactions").read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "mended.odcs.yaml"
    path.write_text(text, "utf-8")
    return str(path)


DOTS = ('value: ","', 'value: "."')
DERIVED = (
    """        physicalName: id
        logicalType: string
        required: true
        unique: true
        primaryKey: true
""",
    """        logicalType: string
        customProperties:
          - property: derivation
            value: { from: content }
""",
)


def states(system: System) -> dict[str, tuple[str, int]]:
    """State and attempts of the letters, by what is known of their ids."""
    rows = system.query("SELECT coalesce(transaction_id, ''), state, attempt FROM dead_letters")
    return {name: (state, attempt) for name, state, attempt in rows}


def batch(system: System) -> Done:
    contract = str(system.contract("transactions"))
    return system.quick("batch", "run", system.uri("in/"), "--contract", contract)


def balances(system: System) -> bool:
    return system.quick("reconcile", "--json").exit_code == 0


def doors(summary: dict[str, Any]) -> tuple[int, ...]:
    return tuple(summary[name] for name in ("letters", "classified", "duplicate", "rejected"))


def test_letters_come_back(system: System, tmp_path: Path) -> None:
    """By a mended contract, by an edit, or not at all; each leaves by one door and is noted."""
    system.put("in/a.csv", written(*GOOD, *DOTTED, *SIDEWAYS, *SHORT))
    assert batch(system).summary["rejected"] == 6
    redrive = partial(system.quick, "dead-letters", "redrive", "--by", "ann")

    assert redrive().exit_code == 78
    lacking = redrive("--all")
    assert lacking.exit_code == 78
    assert "files/transactions (6 letters)" in " ".join(lacking.errors.split())
    assert system.query("SELECT redrive FROM dead_letters WHERE redrive IS NOT NULL") == []

    contract = "--contract", mended(system, tmp_path, DOTS)
    dry = redrive("--all", "--dry-run", *contract)
    assert (dry.exit_code, dry.summary["status"]) == (0, "dry_run")
    assert doors(dry.summary) == (6, 3, 0, 3)
    assert system.query("SELECT redrive FROM dead_letters WHERE redrive IS NOT NULL") == []

    done = redrive(*contract, "--code", "invalid_amount")
    assert (done.exit_code, doors(done.summary)) == (0, (3, 3, 0, 0))
    assert done.summary["closed"] == 3
    assert done.summary["model_version"]
    kept = "--contract", str(system.contract("transactions"))
    done = redrive("--all", *kept, "--edit", "side=debit")
    assert (done.exit_code, doors(done.summary)) == (0, (3, 2, 0, 1))
    assert states(system) == {
        "D0": ("closed", 1),
        "D1": ("closed", 1),
        "D2": ("closed", 1),
        "S0": ("closed", 1),
        "S1": ("closed", 1),
        "": ("open", 2),
    }
    assert system.query(
        "SELECT amount::text, side FROM transactions WHERE transaction_id IN ('D0', 'S0')"
    ) == [("3.80", "debit"), ("3.80", "debit")]
    assert system.query(
        "SELECT action, by, code, edits->>'side', count(*) FROM dead_letter_actions"
        " GROUP BY 1, 2, 3, 4 ORDER BY 1, 3"
    ) == [
        ("closed", "ann", "invalid_amount", None, 3),
        ("closed", "ann", "invalid_side", "debit", 2),
        ("failed", "ann", "wrong_field_count", "debit", 1),
    ]

    # The next run of the service publishes what failed again.
    assert batch(system).exit_code == 99
    published = [
        letter
        for item in system.objects.list(system.uri("errors/"))
        for letter in letters_from_jsonl(b"".join(system.objects.read(item))).iter_rows(named=True)
    ]
    attempts = sorted((each["code"], each["attempt"]) for each in published)
    assert attempts[-2:] == [("wrong_field_count", 1), ("wrong_field_count", 2)]
    assert len(attempts) == 7

    left_out = redrive("--all", *kept, "--max-attempts", "2")
    assert (left_out.exit_code, left_out.summary["left_out"]) == (99, 1)
    discard = partial(system.quick, "dead-letters", "discard", "--reason", "cut short")
    assert discard().exit_code == 78
    assert discard("--code", "wrong_field_count").exit_code == 0
    assert discard("--code", "wrong_field_count").exit_code == 99
    assert redrive("--all", *kept).exit_code == 99
    assert states(system)[""] == ("discarded", 2)
    assert balances(system)


def test_derived_ids_stay(system: System, tmp_path: Path) -> None:
    """A letter keeps the id that its record was given: the file read anew knows all of it."""
    lines = [*GOOD, *DOTTED, *DOTTED, *SHORT, *SHORT]
    system.put("in/a.csv", written(*lines))
    before = mended(system, tmp_path, DERIVED)
    assert (
        system.quick("batch", "run", system.uri("in/"), "--contract", before).summary["rejected"]
        == 8
    )
    after = mended(system, tmp_path, DERIVED, DOTS)
    done = system.quick("dead-letters", "redrive", "--all", "--contract", after)
    assert doors(done.summary) == (8, 6, 0, 2)
    system.put("again/a.csv", written(*DOTTED, *DOTTED))
    again = system.quick("batch", "run", system.uri("again/"), "--contract", after)
    assert (again.summary["read"], again.summary["duplicate"]) == (6, 6)
    assert balances(system)


def letters_of_a_topic(system: System, count: int, **columns: str) -> None:
    """Messages that were rejected, since they lack a side."""
    message = {
        "description": "COFFEE",
        "amount": "3.80",
        "currency": "EUR",
        "timestamp": "2024-05-02T08:15:00Z",
        "operation_type": "payment",
    } | columns
    engine = engine_for(PostgresConfig(url=SecretStr(system.environment["ASSAY_POSTGRES__URL"])))
    given = outcome([], rejected=[f"M{each}" for each in range(count)], source="kafka/transactions")
    raw = [json.dumps({"id": f"M{each}"} | message).encode() for each in range(count)]
    records = given.records.with_columns(raw=pl.Series(raw))
    PostgresStore(engine, processing_type="stream").commit(replace(given, records=records))
    engine.dispose()


def test_messages_come_back_without_a_contract(system: System) -> None:
    """They are read as messages, edits included; those that are known are duplicates."""
    letters_of_a_topic(system, 3)
    done = system.quick("dead-letters", "redrive", "--all", "--edit", "side=debit", "--limit", "2")
    assert (done.exit_code, doors(done.summary)) == (0, (2, 2, 0, 0))
    done = system.quick(
        "dead-letters", "redrive", "--all", "--edit", "transaction_id=M0", "--edit", "side=debit"
    )
    assert (done.exit_code, doors(done.summary)) == (0, (1, 0, 1, 0))
    assert balances(system)


def _slow(system: System) -> Forked:
    """A redrive of a hundred letters that tries one a second, and has tried one."""
    letters_of_a_topic(system, 100)
    process = system.fork("dead-letters", "redrive", "--all", "--edit", "side=debit", "--rate", "1")
    closed = "SELECT count(*) FROM dead_letters WHERE state = 'closed'"
    while system.query(closed) == [(0,)]:
        assert process.process.is_alive(), process.end()
        time.sleep(0.02)
    return process


def test_a_signal_ends_a_redrive_and_frees_its_letters(system: System) -> None:
    """What was read is committed; the rest can be taken at once. Meanwhile nobody else can."""
    process = _slow(system)
    other = system.quick("dead-letters", "redrive", "--all", "--edit", "side=debit")
    assert (other.exit_code, other.summary["status"]) == (75, "held")
    refused = system.quick("dead-letters", "discard", "--code", "missing_side", "--reason", "x")
    assert refused.exit_code == 99
    process.process.terminate()
    done = process.end()
    assert (done.exit_code, done.summary["status"]) == (75, "interrupted")
    assert 0 < done.summary["closed"] < 100
    assert system.query("TABLE redrives") == []
    rest = system.quick("dead-letters", "redrive", "--all", "--edit", "side=debit")
    assert rest.summary["closed"] == 100 - done.summary["closed"]
    assert balances(system)


def test_a_claim_that_is_lost_ends_a_redrive(system: System) -> None:
    """With 75 and a word; whoever took the letters is not disturbed."""
    process = _slow(system)
    system.execute("DELETE FROM redrives")
    done = process.end()
    assert done.exit_code == 75
    assert "claim" in done.errors
    assert balances(system)


def test_letters_are_taken_in_from_another_database(make_system: Callable[[], System]) -> None:
    """From the objects that a run left: those that are known are refused, the others come back."""
    there, here = make_system(), make_system()
    there.put("in/a.csv", written(*GOOD, *SIDEWAYS, *SHORT))
    batch(there)
    done = here.quick("dead-letters", "import", there.uri("errors/"))
    assert (done.exit_code, done.summary["imported"], done.summary["known"]) == (0, 3, 0)
    again = here.quick("dead-letters", "import", there.uri("errors/"))
    assert (again.exit_code, again.summary["imported"], again.summary["known"]) == (99, 0, 3)
    own = there.quick("dead-letters", "import", there.uri("errors/"))
    assert (own.exit_code, own.summary["known"]) == (99, 3)
    contract = str(here.contract("transactions"))
    done = here.quick(
        "dead-letters",
        "redrive",
        "--all",
        "--contract",
        contract,
        "--edit",
        "side=credit",
        "--edit",
        "amount=3.80",
    )
    assert doors(done.summary) == (3, 2, 0, 1)
    assert balances(here)
    assert here.query("SELECT count(*) FROM dead_letters WHERE published_at IS NULL") == [(1,)]


# ---------------------------------------------------------------- killed


def _redrive(environment: dict[str, str], arguments: Sequence[str]) -> None:
    """The command, in a process that has imported everything already; chunks of few records."""
    os.environ.update(environment)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    from assay_cli import main, redrive_run  # noqa: PLC0415 - the fork server has imported it

    setattr(redrive_run, "Request", partial(Request, chunk_records=20))  # noqa: B010 - it is the module's own name
    sys.argv = ["assay", "dead-letters", "redrive", *arguments]
    main.main()


_SAME = """
    SELECT transaction_id, description, amount, side, category, model_version
    FROM transactions JOIN predictions USING (number) ORDER BY transaction_id
"""
_LETTERS = "SELECT position, code, state, attempt FROM dead_letters ORDER BY position"
_NOTED = "SELECT action, count(*) FROM dead_letter_actions GROUP BY 1 ORDER BY 1"


def test_a_redrive_killed_at_random_instants(make_system: Callable[[], System]) -> None:
    """Once its lease is over the next one goes on; all is as if nothing had happened."""

    def start(system: System) -> BaseProcess:
        contract = str(system.contract("transactions"))
        # What fails again has two attempts, and is not tried a third time.
        arguments = ["--all", "--contract", contract, "--edit", "side=debit", "--max-attempts", "2"]
        process = forked.FORKS.Process(target=_redrive, args=(system.environment, arguments))
        process.start()
        return process

    def filled() -> System:
        system = make_system()
        system.put("in/a.csv", csv(500, seed=7, broken=0.4))
        assert batch(system).exit_code == 0
        return system

    def content(system: System) -> list[list[tuple[Any, ...]]]:
        return [system.query(each) for each in (_SAME, _LETTERS, _NOTED)]

    undisturbed, system = filled(), filled()
    began = time.monotonic()
    process = start(undisturbed)
    process.join()
    duration = time.monotonic() - began
    assert process.exitcode == 0
    chance = random.Random(20240102)  # noqa: S311 - instants to kill at
    kills = 0
    while True:
        process = start(system)
        process.join(chance.uniform(0.0, duration) if kills < KILLS else None)
        if not process.is_alive():
            assert process.exitcode in {0, 99}
            break
        process.kill()
        process.join()
        kills += 1
        system.execute("UPDATE redrives SET leased_until = now()")
    assert content(system) == content(undisturbed)
    assert balances(system)


KILLS = 6
