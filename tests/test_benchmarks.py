"""What the benchmarks write is what they found."""

import re
from collections.abc import Callable
from dataclasses import replace
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any

import guard
import hot
import polars as pl
import pytest
import stub
import typer
from contenders import CONTENDERS, chosen, packages, ready
from document import markdown
from figures import TIMES, Figure, Limit
from found import Contest, Found, Setup, from_json, to_json
from measure import CommandFailed, run
from sample import UNREADABLE, make
from written import merge

from assay.domain.errors import Refused
from assay.domain.outcome import Outcome
from assay.domain.taxonomy import DEFAULT
from assay.domain.transaction import TRANSACTIONS
from assay.wire import arrow, json
from assay_adapters.http.answers import read_json, verdicts
from assay_local import LocalError, jars

ABOUT = {
    "date": "2026-01-02",
    "machine": {"cores": 2},
    "versions": {"python": "3.11"},
    "settings": {"ids": "scattered"},
}


def figure(way: str, seconds: float, job: str = "stream", api: str = "stub") -> Figure:
    return Figure(
        job=job,
        api=api,
        way=way,
        rows=1_000_000,
        seconds=seconds,
        inner_seconds=seconds - 1,
        cpu={way: 5.0, "api": 1.0, "postgres": 2.5},
        others=0.5,
        load=0.25,
        peak=(300 if way == "assay" else 100) << 20,
    )


@pytest.fixture
def contest() -> Contest:
    """The product is ten times as quick as the loop, with three times its memory."""
    return Contest(
        ABOUT,
        {
            "assay": Setup("Assay", {"stream": "With all that it promises."}, []),
            "plain": Setup("plain loop", {"stream": "A row at a time."}, ["httpx==0.28.1"]),
        },
        [
            *(figure("assay", seconds) for seconds in (9.0, 10.0, 12.0)),
            *(figure("plain", seconds) for seconds in (90.0, 100.0, 120.0)),
            figure("assay", 8.0, "batch", "model"),
        ],
        [Limit("COPY", [190_000.0, 200_000.0, 220_000.0])],
    )


def test_the_document_tells_medians_spread_and_ratios(contest: Contest) -> None:
    """A line for each contender, with the product's among them; limits beside what it reaches."""
    text = markdown(Found(contest), "pictures")
    assert (
        "| Assay | 100,000 ± 13,889 | 111,111 ± 17,045 | 5.0 ± 0.0 | 3.5 ± 0.0 | 300 ± 0 |  |"
        in text
    )
    assert "| plain loop | 10,000 ± 1,389 | 10,101 ± 1,416 |" in text
    assert f"| 10.00 {TIMES} |" in text
    assert "| COPY | 200,000 ± 15,000 | 50% | 62% |" in text
    assert "`httpx==0.28.1`" in text
    assert "A row at a time." in text


def test_the_document_tells_losses_as_plainly_as_wins(contest: Contest) -> None:
    """What the product is better and worse in is told alike; equal figures are neither."""
    text = markdown(Found(contest), "pictures")
    assert f"**ahead** in: records/s against plain loop (10.00 {TIMES})." in text
    assert f"**behind** in: memory against plain loop (3.00 {TIMES})." in text
    assert f"**level** in: own CPU against plain loop (1.00 {TIMES}), servers' CPU" in text
    slower = [
        replace(each, seconds=each.seconds * 20) if each.way == "assay" else each
        for each in contest.runs
    ]
    assert "**ahead** in: nothing." in markdown(Found(replace(contest, runs=slower)), "pictures")


def test_the_document_is_written_with_its_figures_and_pictures(
    contest: Contest, tmp_path: Path
) -> None:
    """All that it links to is there, no picture of an earlier run, and figures can be read back."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "stream-model.png").touch()
    merge(tmp_path, contest=contest)
    text = (tmp_path / "benchmarks.md").read_text("utf-8")
    linked = set(re.findall(r"\((benchmarks/[^)]+)\)", text))
    there = {str(each.relative_to(tmp_path)) for each in folder.iterdir()}
    assert linked == there
    assert {each.name for each in folder.glob("*.png")} == {"stream-stub.png", "batch-model.png"}
    read = from_json((folder / "figures.json").read_text("utf-8"))
    assert read == Found(contest)
    assert to_json(read) == to_json(Found(contest))


def test_each_contender_says_how_it_is_set_up() -> None:
    """The docstring of its script, and its packages where they are its own."""
    for each in CONTENDERS.values():
        for job in ("stream", "batch"):
            if each.does(job):
                assert len(each.about(job).splitlines()) > 3
                assert "Run as a process" not in each.about(job)
        pins = packages(each)
        assert bool(pins) == (each.packed != "project")
        if each.packed == "lock":
            script, *_ = next(iter(each.scripts.values()))
            locked = Path(f"{script}.lock").read_text("utf-8")
            pinned = re.findall(r"^([\w-]+)(?:\[\w+\])?==(.*)$", "\n".join(pins), re.MULTILINE)
            assert pinned
            for name, version in pinned:
                assert f'name = "{name}"\nversion = "{version}"' in locked
        if each.packed == "go":
            locked = (each.folder / "go.sum").read_text("utf-8")
            assert all(f"{pin.replace('@', ' ')} h1:" in locked for pin in pins)
        if each.packed == "maven":
            assert set(pins) <= jars.read(each.folder / f"{each.name}.lock.toml").jars.keys()


def test_what_a_contender_needs_is_said_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(jars.CACHE, str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LocalError, match=r"needs Go .* leave it out with --contenders"):
        ready(CONTENDERS["benthos"])


def test_configurations_of_peers_ask_for_what_is_in_their_environment() -> None:
    """Names in files of their own, of which the scripts and the benchmark set each."""
    asked = {
        "benthos": {"benthos/pipeline.yaml": r"\$\{([A-Z_0-9]+)\}"},
        "connect": dict.fromkeys(
            ["connect/worker.properties", "connect/sink.properties"], r"\$\{env:([A-Z_0-9]+)\}"
        ),
    }
    servers = {"ASSAY_KAFKA__BOOTSTRAP_SERVERS", "ASSAY_API__URL", "ASSAY_POSTGRES__URL"}
    for name, files in asked.items():
        folder = CONTENDERS[name].folder
        script = folder.with_suffix(".py").read_text("utf-8")
        for file, pattern in files.items():
            text = (folder.parent / file).read_text("utf-8")
            wanted = set(re.findall(pattern, text))
            assert wanted
            assert wanted <= servers | set(re.findall(r'"(BENCHMARK_\w+)"', script))


def test_who_does_half_of_the_work_reads_what_it_can_refuse() -> None:
    """As many broken records as for all others, each of them no JSON."""
    messages: list[str] = []
    stored: list[str | None] = []

    def put(frame: pl.DataFrame) -> int:
        messages.extend(frame["message"])
        stored.extend(frame["stored"])
        return 0

    sample = make(6_000, "scattered", put, faults=UNREADABLE)
    broken = [message for message, kept in zip(messages, stored, strict=True) if kept is None]
    assert len(broken) == sample.broken == make(6_000, "scattered", lambda _: 0).broken == 6
    for each in broken:
        with pytest.raises(JSONDecodeError):
            loads(each)


def test_the_document_says_who_does_half_of_the_work(contest: Contest) -> None:
    assert "does not do the same" not in markdown(Found(contest), "pictures")
    half = replace(contest.setups["plain"], title="a sink", half=True)
    setups = contest.setups | {"plain": half}
    assert "**a sink does not do the same**" in markdown(
        Found(replace(contest, setups=setups)), "pictures"
    )


def test_contenders_are_named_and_the_product_is_always_one() -> None:
    assert [each.name for each in chosen("quix, plain")] == ["assay", "plain", "quix"]
    with pytest.raises(LocalError, match="there is no flink"):
        chosen("flink")


def asked() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row": [0, 1],
            "transaction_id": ["T1", 'T"2'],
            "description": ["CAFÉ", "TAXI"],
            "amount": ["1.00", "2.50"],
            "currency": ["EUR", "EUR"],
            "operation_type": ["payment", "payment"],
            "side": ["debit", "debit"],
        }
    ).select(
        (pl.col(name) if name in {"row", "transaction_id", "description"} else pl.lit(None))
        .cast(dtype)
        .alias(name)
        for name, dtype in TRANSACTIONS.items()
    )


def test_the_stub_speaks_the_protocol_of_the_model_api() -> None:
    """Its answers pass what holds any API's against the question, in both formats."""
    questions = asked()
    for answers in (
        arrow.read_verdicts(stub.answer(arrow.write_transactions(questions), arrow.CONTENT_TYPE)),
        read_json(stub.answer(json.write_transactions(questions), "application/json")),
    ):
        found = verdicts(answers, questions, DEFAULT)
        assert found["status"].to_list() == ["ok", "ok"]
        assert found["confidence"].to_list() == [0.9, 0.9]
        assert found["category"].to_list() == [
            DEFAULT.categories[int(each[-1]) if each[-1].isdigit() else 0]
            for each in questions["transaction_id"]
        ]
        with pytest.raises(Refused):
            verdicts(answers, questions.reverse().head(1), DEFAULT)
    with pytest.raises(ValueError, match="no id"):
        stub.answer(b'[{"description": "CAFE"}]', "application/json")


def test_what_a_command_spends_is_its_own() -> None:
    """Memory does not start with that of the process that measures; a failure is told."""
    held = bytearray(300 << 20)
    held[:: 1 << 12] = b"x" * len(range(0, len(held), 1 << 12))
    spent = run(["python3", "-c", "print('done')"], {}, {})
    assert spent.output == "done"
    assert spent.peak < 100 << 20
    assert 0 < spent.cpu < 60
    with pytest.raises(CommandFailed, match="exited 3"):
        run(["python3", "-c", "raise SystemExit(3)"], {}, {})
    del held


LIMITED = {"stream": {"hold": 1_000, "decode": 8_000, "commit": 1_000}, "model": {"new": 5_000}}


def slower(path: str, **more: float) -> dict[str, dict[str, int]]:
    """The costs of `LIMITED`, of these steps so many times as much."""
    steps = {name: round(cost * more.get(name, 1)) for name, cost in LIMITED[path].items()}
    return LIMITED | {path: steps}


def test_the_guard_objects_to_a_path_that_a_change_has_slowed() -> None:
    """It names the path, by how much, and the step that has moved most; a tenth is let pass."""
    assert guard.objections(LIMITED, LIMITED) == []
    assert guard.objections(slower("stream", hold=1.1, decode=1.1, commit=1.1), LIMITED) == []
    (said,) = guard.objections(slower("stream", hold=1.19, decode=1.19, commit=1.6), LIMITED)
    assert "path `stream` takes 23% more instructions" in said
    assert "its step `decode` has moved most: 8,000 → 9,520 a record, +19%" in said


def test_the_guard_objects_to_a_step_that_a_change_has_slowed() -> None:
    """Also where it is too small a part of its path to make that much slower."""
    assert guard.objections(slower("stream", commit=1.19), LIMITED) == []
    (said,) = guard.objections(slower("stream", commit=1.25), LIMITED)
    assert "step `commit` of the path `stream`" in said
    assert "1,000 → 1,250 a record, +25%" in said


def test_limits_of_other_steps_are_no_limits() -> None:
    (said,) = guard.objections(LIMITED, LIMITED | {"model": {"known": 5_000}})
    assert "steps are others" in said


def test_the_guard_says_what_to_do_and_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until somebody has written new limits, which hold from then on."""
    monkeypatch.setattr(guard, "LIMITS", tmp_path / "guard.toml")
    counted = LIMITED
    monkeypatch.setattr(guard, "measured", lambda _: counted)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] - takes a folder
    monkeypatch.setattr(guard, "about", lambda: {"date": "2026-01-02", "polars": "2.1.0"})
    guard.guard(write=True)
    guard.guard()
    monkeypatch.setattr(guard, "about", lambda: {"date": "2026-03-04", "polars": "2.2.0"})
    counted = slower("model", new=1.5)
    with pytest.raises(typer.Exit):
        guard.guard()
    said = capsys.readouterr().err
    assert "path `model` takes 50% more instructions" in said
    assert "2026-01-02; since then: polars 2.1.0 → 2.2.0" in said
    assert "poe bench guard --write" in said
    guard.guard(write=True)
    guard.guard()
    counted = LIMITED
    guard.guard()
    assert "quicker: the path `model` takes 33% less" in capsys.readouterr().err


def test_the_limits_are_of_the_steps_that_are_counted() -> None:
    """The steps hang together: what is read comes out at the other end, but for broken records."""
    limits = guard.read(guard.LIMITS.read_text("utf-8"))
    assert guard.read(guard.written(limits)) == limits
    of = hot.given(1_000)
    taken: dict[str, list[str]] = {}
    outcomes: list[Outcome] = []

    def steps(path: str) -> hot.Step:
        def step(name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
            answer = function(*arguments, **named)
            taken.setdefault(path, []).append(name)
            if isinstance(answer, Outcome):
                outcomes.append(answer)
            return answer

        return step

    for name, path in hot.PATHS.items():
        path(of, steps(name))
    assert {path: set(names) for path, names in taken.items()} == {
        path: set(names) for path, names in limits.costs.items()
    }
    assert [(each.classified.height, each.rejects.height) for each in outcomes] == [(999, 1)] * 2
