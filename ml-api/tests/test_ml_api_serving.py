"""What swaps and challengers do to calls, with models made for it."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

import polars as pl
import pytest
from structlog.testing import capture_logs

from assay.domain.errors import AssayError, Replaced, Unavailable
from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.memory.meter import MemoryMeter
from assay.memory.objects import MemoryObjects
from assay_ml_api.metrics import MODEL, RELOADS, SHADOW_RECORDS
from assay_ml_api.reload import Watcher
from assay_ml_api.serving import Serving, State
from assay_ml_api.shadow import Shadow
from assay_model.artifact import SHIPPED, load
from assay_model.promotions import promote
from assay_model.registry import Registry, described

SECRET = "CORNER BAKERY"
RECORD = {
    "id": "t-1",
    "description": SECRET,
    "amount": 1,
    "timestamp": "2024-03-01T00:00:00",
    "operation_type": "payment",
    "side": "debit",
}
AT = datetime(2026, 3, 1, tzinfo=UTC)


class Says:
    """A model that says the same of everything, after whatever a test has it do first."""

    name = "invented"
    taxonomy: Taxonomy = DEFAULT
    reference = None

    def __init__(
        self, category: str, before: Callable[[pl.DataFrame], object] = lambda _: None
    ) -> None:
        self.version = f"says-{category}"
        self._category = category
        self._before = before

    def predict(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """The same for each."""
        self._before(transactions)
        rows = transactions.height
        return pl.DataFrame(
            {
                "category": pl.Series([self._category] * rows, dtype=pl.Enum(DEFAULT.categories)),
                "confidence": [0.5] * rows,
                "needs_review": [False] * rows,
                "feature_hash": ["00"] * rows,
            }
        )

    def explain(self, transactions: pl.DataFrame, categories: pl.Series) -> pl.Series:
        """Is not asked."""
        raise NotImplementedError


def frame(rows: int) -> pl.DataFrame:
    return pl.DataFrame({"description": [SECRET] * rows})


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def fail(_: pl.DataFrame) -> NoReturn:
    """Fails and quotes what it was asked."""
    raise RuntimeError(SECRET)


def panic(_: pl.DataFrame) -> NoReturn:
    """Fails as polars does where it is broken."""
    raise pl.exceptions.PanicException(SECRET)


def test_a_call_that_began_keeps_its_model() -> None:
    """Another model that takes over meanwhile answers the next; a metric says who serves."""
    meter = MemoryMeter()
    serving = Serving(State(Says("Food")), meter)
    began = serving.shadowed(serving.state)
    serving.swap(State(Says("Rent"), promotion=2))
    assert (began.version, began.predict(frame(1))["category"][0]) == ("says-Food", "Food")
    after = serving.shadowed(serving.state)
    assert (after.version, after.predict(frame(1))["category"][0]) == ("says-Rent", "Rent")
    assert meter.value(MODEL, name="invented", version="says-Food") == 0
    assert meter.value(MODEL, name="invented", version="says-Rent") == 1


def test_agreement_is_counted_per_record(meter: MemoryMeter) -> None:
    """By the names of the categories, whatever each model's taxonomy is."""
    shadow = Shadow(meter)
    shadow.start()
    answers = pl.DataFrame({"category": ["Food", "Rent", "Food"]})
    shadow.offer(Says("Food"), frame(3), answers)
    wait_until(lambda: meter.value(SHADOW_RECORDS, result="disagree") == 1)
    assert meter.value(SHADOW_RECORDS, result="agree") == 2
    shadow.close()


def test_a_slow_challenger_delays_nobody(serve: Any, meter: MemoryMeter) -> None:
    """While it hangs calls are answered; what it cannot take in time is skipped and counted."""
    released, entered = threading.Event(), threading.Event()

    def hang(_: pl.DataFrame) -> None:
        entered.set()
        assert released.wait(30)

    api = serve(challenger=Says("Food", hang), max_records=50_000, max_bytes=64 << 20)
    api.post("/predict", json=[RECORD]).raise_for_status()
    assert entered.wait(10)
    many = [RECORD | {"id": f"t-{number}"} for number in range(40_000)]
    for _ in range(3):
        answer = api.post("/predict", json=many)
        assert answer.status_code == 200
        assert answer.json()[0]["model_version"] == "7"
    assert meter.value(SHADOW_RECORDS, result="skipped") == 40_000
    assert meter.value(SHADOW_RECORDS, result="agree") == 0
    released.set()
    wait_until(lambda: meter.value(SHADOW_RECORDS, result="agree") == 80_001)
    for total in (120_001, 160_001):
        api.post("/predict", json=many).raise_for_status()
        wait_until(lambda total=total: meter.value(SHADOW_RECORDS, result="agree") == total)


def test_a_challenger_that_hangs_holds_no_end_up(meter: MemoryMeter) -> None:
    """The process may end; what waited is dropped, and nothing is taken any more."""
    entered, released = threading.Event(), threading.Event()

    def hang(_: pl.DataFrame) -> None:
        entered.set()
        assert released.wait(30)

    shadow = Shadow(meter)
    shadow.start()
    answers = Says("Food").predict(frame(1))
    for _ in range(3):
        shadow.offer(Says("Food", hang), frame(1), answers)
    assert entered.wait(10)
    shadow.close()
    shadow.offer(Says("Food"), frame(1), answers)
    assert meter.value(SHADOW_RECORDS, result="skipped") == 1
    released.set()
    wait_until(lambda: meter.value(SHADOW_RECORDS, result="agree") == 1)


@pytest.mark.parametrize("failure", [fail, panic])
def test_a_challenger_that_fails_harms_nobody(
    serve: Any, meter: MemoryMeter, failure: Callable[[pl.DataFrame], None]
) -> None:
    """Its failures are counted, logged once and without content; the next call is asked too."""
    with capture_logs() as log:
        api = serve(challenger=Says("Food", failure))
        for number in range(1, 4):
            answer = api.post("/predict", json=[RECORD])
            assert answer.json()[0]["category"] == "Food"
            wait_until(lambda n=number: meter.value(SHADOW_RECORDS, result="failed") == n)
    assert [each["event"] for each in log] == ["the challenger failed"]
    assert SECRET not in str(log)
    assert "test_ml_api_serving.py:" in log[0]["at"]


# ---------------------------------------------------------------- the watcher


@pytest.fixture
def memory() -> MemoryObjects:
    """Objects that can be made to fail."""
    return MemoryObjects()


@pytest.fixture
def registry(memory: MemoryObjects) -> Registry:
    """The shipped model is promoted."""
    made = Registry(memory, "memory://bucket/models/")
    content = SHIPPED.read_bytes()
    manifest = described(load(SHIPPED), content, at=AT, by="ada")
    made.publish(content, manifest)
    promote(made, manifest.version, at=AT, by="ada")
    return made


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Unavailable("S3 is away"), "away"),
        (Replaced("replaced"), "away"),
        (AssayError("denied"), "failed"),
        (RuntimeError(SECRET), "failed"),
    ],
)
def test_no_failure_ends_the_watch(
    registry: Registry, memory: MemoryObjects, meter: MemoryMeter, error: Exception, result: str
) -> None:
    """It is counted at each look and said once; then the registry is followed as if nothing was."""
    serving = Serving(State(Says("Food")), meter)
    watcher = Watcher(registry, serving, meter, 60)
    memory.faults.plan("list", error, error)
    with capture_logs() as log:
        watcher.look()
        watcher.look()
        assert serving.state.model.version == "says-Food"
        assert meter.value(RELOADS, result=result) == 2
        watcher.look()
    assert serving.state.promotion == 1
    assert meter.value(RELOADS, result="done") == 1
    assert [each["event"] for each in log] == [
        "the registry cannot be followed",
        "another model serves",
        "the registry can be followed again",
    ]
    assert SECRET not in str(log)


def test_what_cannot_be_loaded_is_tried_with_growing_pauses(
    registry: Registry, memory: MemoryObjects, meter: MemoryMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of megabytes is not fetched at each look, and at once when another is promoted."""
    now = [1000.0]
    monkeypatch.setattr("assay_ml_api.reload.time.monotonic", lambda: now[0])
    (uri,) = [each for each in memory.bodies if each.endswith(".npz")]
    whole, memory.bodies[uri] = memory.bodies[uri], b"rubbish"
    serving = Serving(State(Says("Food")), meter)
    watcher = Watcher(registry, serving, meter, 10)
    tried: list[float] = []
    for _ in range(150):
        before = meter.value(RELOADS, result="failed")
        watcher.look()
        if meter.value(RELOADS, result="failed") > before:
            tried.append(now[0] - 1000)
        now[0] += 10
    assert tried == [0, 10, 30, 70, 150, 310, 610, 910, 1210]
    memory.bodies[uri] = whole
    (item,) = registry.objects.list(f"{registry.root}promotions/00000001.json")
    memory.write(
        f"{registry.root}promotions/00000002.json",
        b"".join(memory.read(item)).replace(b'"number": 1', b'"number": 2'),
    )
    watcher.look()
    assert serving.state.promotion == 2


def test_a_registry_without_promotions_changes_nothing(meter: MemoryMeter) -> None:
    """As one whose log somebody has cleared away."""
    serving = Serving(State(Says("Food"), promotion=4), meter)
    Watcher(Registry(MemoryObjects(), "memory://bucket/"), serving, meter, 60).look()
    assert serving.state.promotion == 4
    assert not meter.value(RELOADS, result="done")
