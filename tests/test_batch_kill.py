"""kill -9 at any instant of a batch run: run it again, and all is as if nothing had happened."""

import json
import random
import re
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import forked
import pytest
from demo.samples import csv
from system import System

KILLS = 30
FILES = {f"in/{number}.csv": csv(1_500, seed=number, broken=0.02) for number in range(1, 5)}
# The first file again, with one record changed and one broken one mended.
FILES["in/5.csv"] = csv(1_500, seed=1, broken=0.021)

_SAME = """
    SELECT transaction_id, description, amount, currency, timestamp, merchant, operation_type,
           side, mcc, encode(content_hash, 'hex'), category, confidence, needs_review, model_version
    FROM transactions JOIN predictions USING (number) ORDER BY transaction_id
"""
_LETTERS = """
    SELECT regexp_replace(partition, '^s3://[^/]*/', ''), position, code, field, message,
           transaction_id, encode(raw, 'hex'), attempt, state
    FROM dead_letters ORDER BY 1, 2
"""
_LEDGER = """
    SELECT regexp_replace(partition, '^s3://[^/]*/', ''), sum(read), sum(classified),
           sum(rejected), sum(duplicate), max(end_state)
    FROM ledger GROUP BY 1 ORDER BY 1
"""


def _start(system: System) -> BaseProcess:
    contract = str(system.contract("transactions"))
    environment = system.environment | {"ASSAY_BATCH__CHUNK_RECORDS": "100"}
    arguments = ["run", system.uri("in/"), "--contract", contract, "--archive"]
    return forked.start("batch", arguments, environment)


def _filled(make_system: Callable[[], System]) -> System:
    system = make_system()
    for name, body in FILES.items():
        system.put(name, body)
    return system


def _content(system: System) -> dict[str, Any]:
    published = [
        re.sub(r"s3://[^/]*/", "", json.loads(line)["id"])
        for item in system.objects.list(system.uri("errors/"))
        for line in b"".join(system.objects.read(item)).splitlines()
    ]
    return {
        "rows": system.query(_SAME),
        "letters": system.query(_LETTERS),
        "ledger": system.query(_LEDGER),
        "unpublished": system.query("SELECT count(*) FROM dead_letters WHERE place IS NULL"),
        "archived": [item.uri[-5:] for item in system.objects.list(system.uri("archive/"))],
        "left": [item.uri for item in system.objects.list(system.uri("in/"))],
        "published": sorted(published),
    }


@pytest.mark.timeout(600)
def test_killed_at_random_instants(make_system: Callable[[], System]) -> None:
    """Rows, letters, ledger, published objects and archive equal an undisturbed run's."""
    undisturbed = _filled(make_system)
    began = time.monotonic()
    process = _start(undisturbed)
    process.join()
    duration = time.monotonic() - began
    assert process.exitcode == 0
    expected = _content(undisturbed)
    assert len(expected["letters"]) > 100
    assert not expected["left"]

    chance = random.Random(20240102)  # noqa: S311 - instants to kill at
    kills = 0
    while kills < KILLS:
        system = _filled(make_system)
        ended = False
        while not ended:
            process = _start(system)
            process.join(chance.uniform(0.0, duration * 0.6) if kills < KILLS else None)
            if process.is_alive():
                process.kill()
                process.join()
                kills += 1
            else:
                assert process.exitcode in {0, 99}
                ended = True
        assert system.balances()
        assert _content(system) == expected
