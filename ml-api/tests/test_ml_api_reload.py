"""The service follows the registry: another model or correction serves, and no call notices."""

import dataclasses
import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from pydantic import HttpUrl, SecretStr

from assay.domain.errors import Fatal
from assay.domain.taxonomy import Taxonomy
from assay.memory.meter import MemoryMeter
from assay.memory.objects import MemoryObjects
from assay.wire import corrections
from assay_adapters.files.objects import LocalObjects
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_local.pytest_plugin import S3Settings
from assay_ml_api.reload import pinned, promoted
from assay_model import promotions
from assay_model.artifact import SHIPPED, Artifact, load, save
from assay_model.predict import Model
from assay_model.registry import Manifest, Promotion, Registry, described

Start = Callable[..., Any]

AT = datetime(2026, 3, 1, tzinfo=UTC)
POLL = "0.2"
promote = partial(promotions.promote, at=AT, by="ada")
rollback = partial(promotions.rollback, at=AT, by="ada")
shadow = partial(promotions.shadow, at=AT, by="ada")

TEXTS = ("UBER *TRIP", "TESCO STORES 3241", "MONTHLY RENT", "NETFLIX.COM", "SALARY ACME LTD")
RECORDS = [
    {
        "id": f"t-{number}",
        "description": text,
        "amount": 1,
        "timestamp": "2024-03-01T00:00:00",
        "operation_type": "payment",
        "side": "debit",
    }
    for number, text in enumerate(TEXTS)
]


def turned(by: int) -> Artifact:
    """The shipped model, which calls each category by the name of another one."""
    shipped = load(SHIPPED)
    categories = shipped.taxonomy.categories
    taxonomy = Taxonomy("assay", "1", categories[by:] + categories[:by])
    return dataclasses.replace(shipped, version=f"v{by}", taxonomy=taxonomy)


ARTIFACTS = {f"v{by}": turned(by) for by in range(3)}
EXPECTED = {
    version: tuple(Model.of(artifact).predict(pl.DataFrame(RECORDS).drop("id"))["category"])
    for version, artifact in ARTIFACTS.items()
}


def publish(registry: Registry, version: str, tmp_path: Path) -> Manifest:
    path = tmp_path / "published.npz"
    save(ARTIFACTS[version], path)
    manifest = described(ARTIFACTS[version], path.read_bytes(), at=AT, by="ada")
    registry.publish(path.read_bytes(), manifest)
    return manifest


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Three versions, of which the first is promoted."""
    folder = tmp_path / "models"
    folder.mkdir()
    made = Registry(LocalObjects(), f"{folder.resolve().as_uri()}/")
    for version in ARTIFACTS:
        publish(made, version, tmp_path)
    promote(made, "v0")
    return made


def damage(registry: Registry, version: str) -> None:
    registry.objects.write(f"{registry.root}versions/{version}/model.npz", b"rubbish")


def follow(start: Start, registry: Registry, **settings: str) -> Any:
    """The service on this registry."""
    return start(models__registry=registry.root, models__poll=POLL, **settings)


def ask(url: str) -> tuple[str, tuple[str, ...]]:
    """The version that answers, and its categories."""
    answer = httpx.post(f"{url}/predict", json=RECORDS, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    (version,) = {each["model_version"] for each in answer.json()}
    return version, tuple(each["category"] for each in answer.json())


def about(url: str) -> Any:
    return httpx.get(f"{url}/model", timeout=30, trust_env=False).json()


def metric(url: str, metric_name: str, /, **labels: str) -> float:
    """What it stands at; 0 before it was touched."""
    text = httpx.get(f"{url}/metrics", timeout=30, trust_env=False).text
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    found = re.search(rf"^{re.escape(f'{metric_name}{{{inner}}}')} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_a_promotion_under_load_fails_no_call(start: Start, registry: Registry) -> None:
    """Each answer carries one of two versions and is that version's; the new one is there soon."""
    url = follow(start, registry).url
    done = threading.Event()
    answers: list[tuple[float, str]] = []

    def ask_on() -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            while not done.is_set():
                answer = client.post("/predict", json=RECORDS)
                assert answer.status_code == 200, answer.text
                (version,) = {each["model_version"] for each in answer.json()}
                assert tuple(each["category"] for each in answer.json()) == EXPECTED[version]
                answers.append((time.monotonic(), version))

    def served() -> set[str]:
        return {version for _, version in answers[-20:]}

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_on) for _ in range(4)]
        try:
            wait_until(lambda: len(answers) > 50)
            for version in ("v1", "v2", "v0"):
                before, promoted_at = len(answers), time.monotonic()
                promote(registry, version)
                wait_until(lambda version=version: served() == {version})
                first = next(at for at, each in answers[before:] if each == version)
                assert first - promoted_at < float(POLL) + 1
        finally:
            done.set()
        for each in asking:
            each.result()
    assert {version for _, version in answers} == {"v0", "v1", "v2"}
    assert metric(url, "assay_api_reloads_total", result="done") == 3
    assert metric(url, "assay_api_calls_total", status="200") == len(answers)


def test_promotion_rollback_and_restart_are_followed(start: Start, registry: Registry) -> None:
    """What is served since when is told; a roll-back and a new start serve what is promoted."""
    process = follow(start, registry)
    url = process.url
    assert ask(url) == ("v0", EXPECTED["v0"])
    first = about(url)
    assert (first["version"], first["promotion"], first["challenger"]) == ("v0", 1, None)
    promote(registry, "v1")
    wait_until(lambda: ask(url) == ("v1", EXPECTED["v1"]))
    second = about(url)
    assert (second["version"], second["promotion"]) == ("v1", 2)
    assert datetime.fromisoformat(second["since"]) > datetime.fromisoformat(first["since"])
    assert tuple(second["taxonomy"]["categories"]) == ARTIFACTS["v1"].taxonomy.categories
    name = second["name"]
    assert metric(url, "assay_api_model_info", name=name, version="v1") == 1
    assert metric(url, "assay_api_model_info", name=name, version="v0") == 0
    rollback(registry)
    wait_until(lambda: ask(url) == ("v0", EXPECTED["v0"]))
    promote(registry, "v2")
    assert process.stop() == 0
    assert ask(follow(start, registry).url) == ("v2", EXPECTED["v2"])


def test_what_cannot_be_loaded_leaves_the_old_one_serving(start: Start, registry: Registry) -> None:
    """The log names the file, a metric counts; the next promotion that is whole is followed."""
    process = follow(start, registry)
    url = process.url
    damage(registry, "v1")
    registry.append(
        Promotion(
            number=2, action="promote", version="v1", challenger=None, at=AT, by="x", reason=None
        )
    )
    wait_until(lambda: metric(url, "assay_api_reloads_total", result="failed") >= 2)
    assert ask(url) == ("v0", EXPECTED["v0"])
    assert about(url)["promotion"] == 1
    said = [json.loads(line) for line in process.lines if "registry" in line]
    assert [each["event"] for each in said] == ["the registry cannot be followed"]
    assert "versions/v1/model.npz is damaged" in said[0]["reason"]
    assert said[0]["serves"] == "v0"
    promote(registry, "v2")
    wait_until(lambda: ask(url)[0] == "v2")
    assert metric(url, "assay_api_reloads_total", result="done") == 1
    assert process.process.poll() is None


def test_a_start_without_a_usable_model_is_refused(start: Start, registry: Registry) -> None:
    """It says what is wrong: 78, or 75 where the registry does not answer."""
    damage(registry, "v0")
    process = follow(start, registry)
    assert process.wait() == 78
    assert "versions/v0/model.npz is damaged" in process.lines[-1]
    with pytest.raises(Fatal, match=r"nothing is promoted in memory:.*assay model promote"):
        promoted(Registry(MemoryObjects(), "memory://bucket/"), MemoryMeter())
    process = start(
        models__registry="s3://models/",
        s3__endpoint_url="http://127.0.0.1:1",
        s3__access_key_id="a",
        s3__secret_access_key="b",
        s3__region="eu-central-1",
    )
    assert process.wait() == 75
    assert "S3 is away" in process.lines[-1]


def test_a_pinned_version_stays(start: Start, registry: Registry) -> None:
    """Whatever is promoted."""
    process = follow(start, registry, models__version="v2")
    assert ask(process.url) == ("v2", EXPECTED["v2"])
    assert about(process.url)["promotion"] is None
    promote(registry, "v1")
    threading.Event().wait(3 * float(POLL))
    assert ask(process.url)[0] == "v2"


def test_a_pinned_version_that_is_not_there_is_refused(registry: Registry) -> None:
    """Without a registry it must be the one that comes with Assay."""
    assert pinned(registry, "v2", MemoryMeter()).model.version == "v2"
    with pytest.raises(Fatal, match="no version v9"):
        pinned(registry, "v9", MemoryMeter())
    shipped = load(SHIPPED).version
    assert pinned(None, shipped, MemoryMeter()).model.version == shipped
    with pytest.raises(Fatal, match="ASSAY_MODELS__VERSION is v9"):
        pinned(None, "v9", MemoryMeter())


def test_a_registry_that_goes_away_holds_nobody_up(start: Start, registry: Registry) -> None:
    """What is served is served on, and once it is back it is followed again."""
    process = follow(start, registry)
    url = process.url
    folder = Path(registry.root.removeprefix("file://"))
    folder.rename(folder.with_name("elsewhere"))
    wait_until(lambda: metric(url, "assay_api_reloads_total", result="failed") >= 2)
    assert ask(url) == ("v0", EXPECTED["v0"])
    folder.with_name("elsewhere").rename(folder)
    promote(registry, "v1")
    wait_until(lambda: ask(url)[0] == "v1")
    events = [json.loads(line)["event"] for line in process.lines if "follow" in line]
    assert events == ["the registry cannot be followed", "the registry can be followed again"]


def test_every_worker_follows_a_registry_in_s3(
    start: Start, s3_settings: S3Settings, bucket: str, tmp_path: Path
) -> None:
    """Each process looks for itself, so that soon after a promotion all answer alike."""
    config = S3Config(
        endpoint_url=HttpUrl(s3_settings.endpoint_url),
        access_key_id=s3_settings.access_key_id,
        secret_access_key=SecretStr(s3_settings.secret_access_key),
        region=s3_settings.region,
    )
    registry = Registry(S3Objects(s3_client(config)), f"s3://{bucket}/models/")
    for version in ("v0", "v1"):
        publish(registry, version, tmp_path)
    promote(registry, "v0")
    named = {f"s3__{name}": value for name, value in vars(s3_settings).items()}
    url = follow(start, registry, workers="2", **named).url
    assert ask(url) == ("v0", EXPECTED["v0"])
    promote(registry, "v1")
    seen: list[str] = []

    def all_alike() -> bool:
        seen.append(ask(url)[0])
        return len(seen) >= 20 and set(seen[-20:]) == {"v1"}

    wait_until(all_alike)


def test_a_model_of_another_format_is_fatal(
    start: Start, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service does not start, and says what to do: to try again would not help."""
    with monkeypatch.context() as earlier:
        earlier.setattr("assay_model.artifact.FORMAT", 1)
        save(dataclasses.replace(ARTIFACTS["v1"], version="old"), tmp_path / "old.npz")
        content = (tmp_path / "old.npz").read_bytes()
        old = dataclasses.replace(ARTIFACTS["v1"], version="old")
        registry.publish(content, described(old, content, at=AT, by="ada"))
        promote(registry, "old")
    process = follow(start, registry)
    assert process.wait() == 78
    assert "old/model.npz is a model of format 1; this release reads" in process.lines[-1]
    assert "`assay model promote VERSION` has another one served" in process.lines[-1]


def test_a_challenger_is_asked_the_same(start: Start, registry: Registry) -> None:
    """What it says is counted and goes nowhere; promoted, it is loaded already and shadows none."""
    url = follow(start, registry).url
    shadow(registry, "v1")
    wait_until(lambda: about(url)["challenger"] == "v1")
    since = about(url)["since"]
    assert ask(url) == ("v0", EXPECTED["v0"])
    records = partial(metric, url, "assay_api_shadow_records_total")
    wait_until(lambda: records(result="disagree") == len(TEXTS))
    assert records(result="agree") == 0
    httpx.get(f"{url}/health/ready", timeout=30, trust_env=False).raise_for_status()
    assert about(url)["since"] == since
    promote(registry, "v1")
    wait_until(lambda: about(url)["version"] == "v1")
    assert about(url)["challenger"] is None
    assert ask(url) == ("v1", EXPECTED["v1"])
    assert records(result="disagree") == len(TEXTS)


def test_a_challenger_that_cannot_be_loaded_is_done_without(
    start: Start, registry: Registry
) -> None:
    """At the start as later; the log names it."""
    shadow(registry, "v1")
    damage(registry, "v1")
    process = follow(start, registry)
    url = process.url
    assert ask(url) == ("v0", EXPECTED["v0"])
    assert about(url)["challenger"] is None
    assert metric(url, "assay_api_reloads_total", result="failed") == 1
    (said,) = [json.loads(line) for line in process.lines if "no challenger" in line]
    assert "v1/model.npz is damaged" in said["reason"]
    shadow(registry, None)
    shadow(registry, "v2")
    wait_until(lambda: about(url)["challenger"] == "v2")


def say(registry: Registry, *said: tuple[str, str]) -> None:
    """Publishes these descriptions with their categories, and no others any more."""
    rows = [(text, None, category, AT + timedelta(n)) for n, (text, category) in enumerate(said)]
    frame = pl.DataFrame(rows, schema=corrections.CORRECTIONS, orient="row")
    registry.objects.write(f"{registry.root}corrections.json", corrections.write(frame))


TESCO = ("tesco-stores 99999", "Healthcare")


def told(version: str) -> tuple[str, ...]:
    """What a version answers where people have said what Tesco is."""
    answers = EXPECTED[version]
    assert TESCO[1] not in answers
    return (answers[0], TESCO[1], *answers[2:])


def test_what_people_publish_is_answered(start: Start, registry: Registry) -> None:
    """Surely and without review, under a version of its own, until they take it back."""
    url = follow(start, registry).url
    assert ask(url) == ("v0", EXPECTED["v0"])
    since = about(url)["since"]
    assert about(url)["corrections"] is None
    published_at = time.monotonic()
    say(registry, TESCO)
    wait_until(lambda: ask(url)[1] == told("v0"))
    assert time.monotonic() - published_at < float(POLL) + 1
    version, _ = ask(url)
    assert re.fullmatch(r"v0\+[0-9a-f]{8}", version)
    explained = f"{url}/predict?explain=true"
    answers = httpx.post(explained, json=RECORDS, timeout=30, trust_env=False).json()
    assert (answers[1]["confidence_score"], answers[1]["needs_review"]) == (1, False)
    assert answers[1]["explanation"] == [
        {"part": "tesco stores #", "kind": "correction", "weight": 1}
    ]
    kinds = {part["kind"] for each in answers[:1] + answers[2:] for part in each["explanation"]}
    assert "word" in kinds
    assert "correction" not in kinds
    described = about(url)
    assert (described["version"], described["since"]) == (version, since)
    assert described["corrections"]["count"] == 1
    assert described["corrections"]["since"] > since
    say(registry)
    wait_until(lambda: ask(url) == ("v0", EXPECTED["v0"]))
    assert about(url)["corrections"] is None
    assert metric(url, "assay_api_reloads_total", result="done") == 2


def damage_corrections(registry: Registry) -> None:
    registry.objects.write(f"{registry.root}corrections.json", b"{")


def say_what_the_model_lacks(registry: Registry) -> None:
    say(registry, ("SECRET", "Rockets"))


@pytest.mark.parametrize(
    ("unusable", "reason"),
    [(damage_corrections, "corrections.json: no"), (say_what_the_model_lacks, "lacks: Rockets")],
)
def test_corrections_that_cannot_be_used(
    start: Start, registry: Registry, unusable: Callable[[Registry], None], reason: str
) -> None:
    """Those before stay in force; a start goes without. Both is said and counted, as is the end."""
    say(registry, TESCO)
    process = follow(start, registry)
    before = ask(process.url)
    assert before[1] == told("v0")
    unusable(registry)
    fresh = follow(start, registry)
    for each in (process, fresh):
        failed = partial(metric, each.url, "assay_api_reloads_total", result="failed")
        wait_until(lambda failed=failed: failed() >= 2)
    assert ask(process.url) == before
    assert ask(fresh.url) == ("v0", EXPECTED["v0"])
    assert about(fresh.url)["corrections"] is None
    say(registry, (TEXTS[0], "Food"), TESCO)
    for each in (process, fresh):
        wait_until(lambda url=each.url: ask(url)[0].startswith("v0+") and ask(url) != before)
        said = [json.loads(line) for line in each.lines if "corrections" in line]
        wrong = [line for line in said if "reason" in line]
        assert {reason in line["reason"] and "SECRET" not in str(line) for line in wrong} == {True}
        assert said[-2]["event"] == "other corrections are in force"
        assert said[-1]["event"] == "corrections can be followed again"
    events = [json.loads(line)["event"] for line in fresh.lines if "corrections" in line]
    assert events[:2] == ["no corrections are in force", "corrections cannot be followed"]


def test_corrections_stay_in_force_when_another_model_is_promoted(
    start: Start, registry: Registry, tmp_path: Path
) -> None:
    """A challenger has them, too. A model that lacks their categories is followed without them."""
    say(registry, TESCO)
    process = follow(start, registry)
    url = process.url
    shadow(registry, "v1")
    wait_until(lambda: (about(url)["challenger"] or "").startswith("v1+"))
    in_force = about(url)["corrections"]
    assert ask(url)[1] == told("v0")
    records = partial(metric, url, "assay_api_shadow_records_total")
    wait_until(lambda: records(result="disagree") == len(TEXTS) - 1)
    assert records(result="agree") == 1
    promote(registry, "v1")
    wait_until(lambda: ask(url)[0].startswith("v1+"))
    assert ask(url)[1] == told("v1")
    assert about(url)["corrections"] == in_force

    taxonomy = ARTIFACTS["v2"].taxonomy
    names = tuple(f"no {each}" if each == TESCO[1] else each for each in taxonomy.categories)
    lacking = dataclasses.replace(
        ARTIFACTS["v2"], version="v3", taxonomy=Taxonomy("assay", "2", names), fields={}
    )
    path = tmp_path / "lacking.npz"
    save(lacking, path)
    registry.publish(path.read_bytes(), described(lacking, path.read_bytes(), at=AT, by="ada"))
    promotions.promote(registry, "v3", at=AT, by="ada", accept_taxonomy=True)
    wait_until(lambda: ask(url) == ("v3", EXPECTED["v2"]))
    wait_until(lambda: metric(url, "assay_api_reloads_total", result="failed") >= 1)
    assert about(url)["corrections"] is None
    assert any("lacks: Healthcare" in line for line in process.lines)
    rollback(registry)
    wait_until(lambda: ask(url)[1] == told("v1"))


def test_corrections_under_load_fail_no_call(start: Start, registry: Registry) -> None:
    """Of a pinned version as well; each answer is what its version says."""
    url = follow(start, registry, models__version="v2").url
    expected = {"v2": EXPECTED["v2"]}
    done = threading.Event()
    answers: list[tuple[str, tuple[str, ...]]] = []

    def ask_on() -> None:
        while not done.is_set():
            answers.append(ask(url))

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask_on) for _ in range(3)]
        try:
            for category in ("Healthcare", "Education", "Healthcare"):
                say(registry, (TESCO[0], category))
                wait_until(
                    lambda category=category: answers[-1:] != [] and answers[-1][1][1] == category
                )
                version, categories = answers[-1]
                assert expected.setdefault(version, categories) == categories
            promote(registry, "v1")
            say(registry)
            wait_until(lambda: answers[-1] == ("v2", EXPECTED["v2"]))
        finally:
            done.set()
        for each in asking:
            each.result()
    assert len(expected) == 3
    assert dict(answers) == expected
    assert all(expected[version] == categories for version, categories in answers)
    assert metric(url, "assay_api_calls_total", status="200") == len(answers)
