"""Stored transactions are predicted again with another version, whatever comes between."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import forked
import pytest
import uvicorn
from demo.samples import csv
from impostor import Answer, Impostor, answers, number_of
from system import Done, Forked, System

from assay.memory.meter import MemoryMeter
from assay.pipeline.rescore import Request
from assay_adapters.postgres.transactions import TransactionSource
from assay_ml_api.app import create_app
from assay_ml_api.config import ServerConfig
from assay_ml_api.serving import Serving, State
from assay_model.predict import Model

SHIPPED: Final = Model.load()


def another(version: str, review_below: float = 0.99) -> Model:
    """The shipped model as a version of its own, which is less sure of itself."""
    return Model.of(replace(SHIPPED.artifact, version=version, review_below=review_below))


@dataclass
class Api:
    """The real API in this process, whose model can be replaced while it answers.

    Attributes:
        port: where it listens; 0 before it has.
    """

    port: int = 0
    meter: MemoryMeter = field(default_factory=MemoryMeter)

    def __post_init__(self) -> None:
        self._serving = Serving(State(another("v2")), self.meter)

    def serve(self, version: str) -> None:
        """Has what is asked from now on answered by this version."""
        self._serving.swap(State(another(version)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def up(self) -> Generator[None]:
        """It answers for as long as the block lasts, at the same address each time."""
        exposition = b"", "text/plain"
        app = create_app(self._serving, ServerConfig(), self.meter, lambda: exposition)
        options = uvicorn.Config(app, port=self.port, log_config=None)
        server = uvicorn.Server(options)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        self.port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def serving() -> Iterator[Api]:
    """The API, up, with another version than the transactions were predicted with."""
    state = Api()
    with state.up():
        yield state


def fill(system: System, records: int, *, chunk: int, name: str = "a", seed: int = 1) -> int:
    """Has a batch run store so many transactions, predicted with the shipped model.

    Some records of many are of an hour that there is not; the number of the others is returned.
    """
    system.put(f"in/{name}.csv", csv(records, seed=seed, broken=0))
    done = batch(system, chunk)
    assert done.exit_code == 0, done.errors
    return done.summary["classified"]


def batch(system: System, chunk: int, **environment: str) -> Done:
    contract = str(system.contract("transactions"))
    arguments = ("batch", "run", system.uri("in/"), "--contract", contract)
    return system.quick(*arguments, ASSAY_BATCH__CHUNK_RECORDS=str(chunk), **environment)


def _rescore(environment: dict[str, str], arguments: Sequence[str], chunk: int, err: Path) -> None:
    """The command, with few records in a chunk and little patience for other versions."""
    os.environ.update(environment)
    for path, descriptor in ((Path(os.devnull), 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    from assay_adapters.postgres import transactions  # noqa: PLC0415 - the fork server has it
    from assay_cli import main, rescore_run  # noqa: PLC0415 - the same

    setattr(rescore_run, "Request", partial(Request, settles=0.3))  # noqa: B010 - its own name
    setattr(transactions, "TransactionSource", partial(TransactionSource, chunk_records=chunk))  # noqa: B010 - the same
    sys.argv = ["assay", "rescore", *arguments]
    main.main()


_started: list[BaseProcess] = []


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """What a test has started ends with it, also where it failed."""
    yield
    for each in _started:
        each.kill()
        each.join()
    _started.clear()


def start(system: System, url: str, *arguments: str, chunk: int = 1_000) -> BaseProcess:
    """A rescore in chunks of few records."""
    environment = system.environment | {"ASSAY_API__URL": url}
    process = forked.FORKS.Process(
        target=_rescore, args=(environment, arguments, chunk, system.folder / "err")
    )
    process.start()
    _started.append(process)
    return process


def ended(process: BaseProcess) -> int | None:
    process.join(120)
    return process.exitcode


def rescore(system: System, url: str, *arguments: str) -> Done:
    return system.quick("rescore", *arguments, ASSAY_API__URL=url)


def forked_rescore(system: System, url: str, *arguments: str) -> Forked:
    process = system.fork("rescore", *arguments, ASSAY_API__URL=url)
    _started.append(process.process)
    return process


def predicted(system: System, version: str) -> int:
    """How many transactions have a prediction of this version."""
    asked = "SELECT count(*) FROM predictions JOIN transactions USING (number)"
    ((number,),) = system.query(f"{asked} WHERE model_version = %s", version)
    return number


def until(holds: Callable[[], bool], process: BaseProcess) -> None:
    """Waits for it while the process lives."""
    while not holds():
        assert process.is_alive() or holds()
        time.sleep(0.005)


def books(system: System, version: str) -> tuple[Any, ...]:
    """What the ledger has of rescores with a version: read, classified, rejected, duplicate."""
    asked = """
        SELECT sum(read)::int, sum(classified)::int, sum(rejected)::int, sum(duplicate)::int
        FROM ledger WHERE source = %s
    """
    (found,) = system.query(asked, f"rescore/{SHIPPED.name}/{version}")
    return found


def balances(system: System) -> bool:
    return system.quick("reconcile", "--json").exit_code == 0


_OLD = """
    SELECT count(*), md5(string_agg(predictions::text, '|' ORDER BY number))
    FROM predictions WHERE model_version = %s
"""
_LATEST = "SELECT model_version, count(*) FROM latest_predictions GROUP BY 1"
_UNSURE = "SELECT count(*) FROM latest_predictions WHERE needs_review"


@pytest.mark.timeout(600)
def test_a_rescore_killed_at_random_instants(system: System, serving: Api) -> None:
    """Each transaction has one prediction of either version, the old ones as they were."""
    rows = fill(system, 100_000, chunk=5_000)
    before = system.query(_OLD, SHIPPED.version)
    assert before[0][0] == rows
    chance = random.Random(20240102)  # noqa: S311 - instants to kill at
    for _ in range(KILLS):
        reached = predicted(system, "v2")
        if reached == rows:  # a slow machine sees to the kills too late
            break
        process = start(system, serving.url, chunk=5_000)
        until(lambda reached=reached: predicted(system, "v2") > reached, process)
        process.join(chance.uniform(0, 0.3))
        process.kill()
        process.join()
        assert balances(system)
    process = start(system, serving.url, chunk=5_000)
    assert ended(process) in {0, 99}
    assert predicted(system, "v2") == rows
    assert books(system, "v2") == (rows, rows, 0, 0)
    assert system.query(_OLD, SHIPPED.version) == before
    assert system.query(_LATEST) == [("v2", rows)]
    assert system.query(_UNSURE) > [(0,)]
    assert balances(system)


KILLS = 5


def test_only_what_is_new_is_read_again(system: System, serving: Api) -> None:
    """What the pipeline has predicted with this version itself counts as duplicate."""
    fill(system, 3_000, chunk=1_000)
    assert rescore(system, serving.url, "--dry-run").summary["transactions"] == 3_000
    done = rescore(system, serving.url)
    assert (done.exit_code, done.summary["status"], done.summary["classified"]) == (
        0,
        "done",
        3_000,
    )
    assert (done.summary["model_version"], done.summary["left"]) == ("v2", 0)
    again = rescore(system, serving.url)
    assert (again.exit_code, again.summary["status"]) == (99, "nothing_to_do")
    fill(system, 2_000, chunk=1_000, name="b", seed=2)
    system.put("in/c.csv", csv(1_000, seed=3, broken=0))
    assert batch(system, 1_000, ASSAY_API__URL=serving.url).exit_code == 0
    done = rescore(system, serving.url)
    assert (done.summary["read"], done.summary["classified"]) == (3_000, 2_000)
    assert done.summary["duplicate"] == 1_000
    assert predicted(system, "v2") == 6_000
    kinds = "SELECT kind, status, source FROM runs WHERE kind = 'rescore'"
    assert set(system.query(kinds)) == {("rescore", "done", f"rescore/{SHIPPED.name}/v2")}
    told = system.quick("reconcile")
    assert told.exit_code == 0
    assert system.query("SELECT count(*) FROM dead_letters") == [(0,)]


def test_what_people_said_reaches_the_names_of_the_new_version(
    system: System, api: Impostor
) -> None:
    """Also where the run before was killed when all was predicted; a dry run writes nothing."""
    fill(system, 1_000, chunk=1_000)
    groups = "SELECT feature_hash, count(*) FROM predictions GROUP BY 1 ORDER BY 2 DESC"
    (group, number), *_ = system.query(groups)
    assert system.quick("review", "correct", group, "Healthcare", "--by", "ann").exit_code == 0
    named = "SELECT transaction_id, feature_hash FROM transactions JOIN predictions USING (number)"
    names = dict(system.query(named))

    def renaming(ids: list[str]) -> list[Answer]:
        return [
            each | {"feature_hash": names[each["transaction_id"]][::-1], "confidence_score": 0.5}
            for each in answers(ids)
        ]

    def corrected() -> int:
        asked = "SELECT count(*) FROM transactions_with_predictions WHERE corrected_by = 'ann'"
        ((found,),) = system.query(f"{asked} AND feature_hash = %s", group[::-1])
        return found

    api.behaviour = renaming
    assert rescore(system, api.url).exit_code == 0
    assert corrected() == number
    system.execute("DELETE FROM corrections WHERE id > (SELECT min(id) FROM corrections)")
    assert rescore(system, api.url, "--dry-run").exit_code == 99
    assert corrected() == 0
    assert rescore(system, api.url).exit_code == 99
    assert corrected() == number


def test_a_table_that_is_written_anew_between_two_runs(system: System, serving: Api) -> None:
    """The second one goes on where the first one stopped."""
    fill(system, 6_000, chunk=1_000)
    process = start(system, serving.url, "--limit", "2500")
    assert ended(process) == 0
    assert predicted(system, "v2") == 3_000
    system.execute("CLUSTER transactions USING transactions_pkey")
    system.execute("UPDATE transactions SET mcc = mcc")
    assert rescore(system, serving.url).summary["classified"] == 3_000
    assert predicted(system, "v2") == 6_000
    assert balances(system)


def test_transactions_come_in_meanwhile(system: System, serving: Api) -> None:
    """Nothing is left out: what an older version has judged at the end, the next run reads."""
    fill(system, 10_000, chunk=500)
    system.put("in/b.csv", csv(10_000, seed=2, broken=0))
    process = start(system, serving.url, "--rate", "20000", chunk=500)
    assert batch(system, 100).exit_code == 0
    assert ended(process) == 0
    assert rescore(system, serving.url).exit_code in {0, 99}
    assert predicted(system, "v2") == 20_000
    assert books(system, "v2") == (20_000, 20_000, 0, 0)
    assert balances(system)


def test_of_two_at_once_one_gives_up(system: System, serving: Api) -> None:
    """It says why, ends with 75, and nothing is doubled."""
    fill(system, 5_000, chunk=500)
    slow = start(system, serving.url, "--rate", "500", chunk=500)
    until(lambda: predicted(system, "v2") > 0, slow)
    other = rescore(system, serving.url)
    codes = sorted([ended(slow) or 0, other.exit_code])
    assert codes == [0, 75]
    said = (system.folder / "err").read_text() + other.errors
    assert "another run is working on transactions" in said
    assert predicted(system, "v2") == 5_000
    assert books(system, "v2") == (5_000, 5_000, 0, 0)
    assert balances(system)


def test_a_signal_ends_it(system: System, serving: Api) -> None:
    """What was read is committed, the summary says what is left, and the next run does that."""
    fill(system, 5_000, chunk=500)
    process = forked_rescore(system, serving.url, "--rate", "500")
    until(lambda: predicted(system, "v2") > 0, process.process)
    os.kill(process.process.pid or 0, signal.SIGINT)
    done = process.end()
    assert (done.exit_code, done.summary["status"]) == (75, "interrupted")
    assert done.summary["left"] == 5_000 - done.summary["read"] > 0
    assert system.query("SELECT status FROM runs WHERE kind = 'rescore'") == [("interrupted",)]
    assert rescore(system, serving.url).summary["classified"] == done.summary["left"]
    assert balances(system)


def test_the_api_is_away_for_a_while(system: System) -> None:
    """Before it begins and in the middle it is waited for; without patience it ends with 75."""
    fill(system, 4_000, chunk=500)
    serving = Api()
    with serving.up():
        pass
    hasty = rescore(system, serving.url, "--patience", "0s")
    assert hasty.exit_code == 75
    assert "assay doctor" in hasty.errors
    process = start(system, serving.url, "--rate", "1000", chunk=500)
    said = system.folder / "err"
    until(lambda: said.exists() and "waiting for the model API" in said.read_text(), process)
    with serving.up():
        until(lambda: predicted(system, "v2") > 0, process)
    until(lambda: said.read_text().count("waiting for the model API") > 1, process)
    with serving.up():
        assert ended(process) == 0
    assert "the model API is back" in said.read_text()
    assert predicted(system, "v2") == 4_000
    assert balances(system)


def test_the_version_changes_in_the_middle(system: System, serving: Api) -> None:
    """No run mixes two: it ends with 75 and names both, and the next one predicts all anew."""
    fill(system, 5_000, chunk=500)
    process = start(system, serving.url, "--rate", "1000", chunk=500)
    until(lambda: predicted(system, "v2") > 0, process)
    serving.serve("v3")
    assert ended(process) == 75
    said = " ".join((system.folder / "err").read_text().split())
    assert f"{SHIPPED.name} v3, and this run predicts with {SHIPPED.name} v2: run again" in said
    part = predicted(system, "v2")
    assert 0 < part < 5_000
    assert books(system, "v2") == (part, part, 0, 0)
    assert rescore(system, serving.url).summary["classified"] == 5_000
    assert (predicted(system, "v2"), predicted(system, "v3")) == (part, 5_000)
    serving.serve("v2")
    assert rescore(system, serving.url).summary["classified"] == 5_000 - part
    assert balances(system)


def test_a_version_is_waited_for(system: System, serving: Api) -> None:
    """One with corrections counts; another one is never predicted with."""
    fill(system, 1_000, chunk=500)
    hasty = rescore(system, serving.url, "--version", "v3", "--patience", "0s")
    assert hasty.exit_code == 75
    errors = " ".join(hasty.errors.split())
    assert "serves version v2, and v3 is wanted: `assay model list` says which" in errors
    assert "assay doctor" not in errors
    process = start(system, serving.url, "--version", "v3")
    said = system.folder / "err"
    until(lambda: said.exists() and "v3 is wanted" in said.read_text(), process)
    serving.serve("v3+0a1b2c3d")
    assert ended(process) == 0
    assert (predicted(system, "v2"), predicted(system, "v3+0a1b2c3d")) == (0, 1_000)


def test_what_the_model_rejects_can_be_asked_again(system: System, api: Impostor) -> None:
    """It is counted and has no letter, and keeps the predictions that it has."""
    fill(system, 1_000, chunk=500)

    def picky(ids: list[str]) -> list[Answer]:
        error = {"code": "no_opinion", "message": "", "retriable": False}
        return [
            {"transaction_id": each["transaction_id"], "error": error}
            if number_of(each["transaction_id"]) % 100 == 0
            else each
            for each in tame(ids)
        ]

    def tame(ids: list[str]) -> list[Answer]:
        return [each | {"confidence_score": 0.5, "needs_review": False} for each in answers(ids)]

    api.behaviour = picky
    done = rescore(system, api.url)
    assert (done.exit_code, done.summary["classified"], done.summary["rejected"]) == (0, 990, 10)
    assert "no_opinion" in done.errors
    assert "--again" in done.errors
    assert balances(system)
    assert rescore(system, api.url).exit_code == 99
    assert system.query("SELECT count(*) FROM dead_letters") == [(0,)]
    api.behaviour = tame
    done = rescore(system, api.url, "--again")
    assert (done.summary["classified"], done.summary["duplicate"]) == (10, 990)
    assert rescore(system, api.url).exit_code == 99
    assert balances(system)


def test_a_model_that_rejects_most_ends_it(system: System, api: Impostor) -> None:
    """With 65 and nothing committed of the chunk, unless that is accepted."""
    fill(system, 2_000, chunk=2_000)

    def sulky(ids: list[str]) -> list[Answer]:
        error = {"code": "no_opinion", "message": "", "retriable": False}
        return [{"transaction_id": each, "error": error} for each in ids]

    api.behaviour = sulky
    done = rescore(system, api.url)
    assert (done.exit_code, done.summary["rejected"]) == (65, 0)
    assert "Look at the model API" in " ".join(done.errors.split())
    assert rescore(system, api.url, "--reject-limit", "1").summary["rejected"] == 2_000
    assert balances(system)
