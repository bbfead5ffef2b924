"""Whatever answers in the model API's place, nothing wrong is written, and nobody else pays."""

import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from hostile_files import HEAD, line
from impostor import Answer, Behaviour, Impostor, Reply, answers, number_of, whole
from system import System

from assay.domain.errors import DATA, TEMPORARY, AssayError, RejectLimitExceeded
from assay.pipeline.pump import Policy
from assay.wire import arrow
from assay_batch.run import Result

RECORDS = 200
CULPRIT = 142
JSON = "application/json"
HTML = Reply(headers={"content-type": "text/html"}, body=b"<h1>Welcome to nginx!</h1>")
SOON = {"ASSAY_API__TIMEOUT": "0.5"}


class Job:
    """A file of a name of its own in a folder of its own, and its place in the shared tables."""

    def __init__(self, system: System, folder: Path, api: Impostor) -> None:
        self.system, self.folder, self.api = system, folder / "in", api
        self.name = folder.name
        self.folder.mkdir()
        self.ids = [f"{self.name}-{number}" for number in range(RECORDS)]
        self.write(self.ids)

    def write(self, ids: list[str], more: Sequence[bytes] = ()) -> None:
        """Puts a file there that holds these records."""
        self.records = [*(line(each, f"SHOP {each}") for each in ids), *more]
        (self.folder / "a.csv").write_bytes(b"\n".join([HEAD, *self.records]))

    def run(
        self, spoken: str = "arrow", *, patience: float = 30, reject_limit: float = 0.5
    ) -> tuple[Result, AssayError | None]:
        """Does it."""
        return self.system.batch_here(
            f"{self.folder}/",
            self.system.contract("transactions").read_text("utf-8"),
            Policy(patience=patience, reject_limit=reject_limit, alone=True),
            **SOON,
            ASSAY_API__URL=self.api.url,
            ASSAY_API__FORMAT=spoken,
        )

    def _rows(self, columns: str, of: str, order: str = "position") -> list[tuple[object, ...]]:
        here = f"starts_with(partition, %s) ORDER BY {order}"
        question = f"SELECT {columns} FROM {of} WHERE {here}"  # noqa: S608 - ours
        return self.system.query(question, self.folder.as_uri())

    @property
    def predictions(self) -> list[tuple[object, ...]]:
        """What stands in the tables, in the order of the file."""
        return self._rows(
            "transaction_id, category, confidence, predictions.needs_review, model_name,"
            " model_version",
            "transactions JOIN ledger USING (entry) LEFT JOIN predictions USING (number)",
        )

    @property
    def letters(self) -> list[tuple[object, ...]]:
        """The same of its dead letters."""
        return self._rows("position, raw, stage, code, retriable", "dead_letters")

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was written at all."""
        return not (self.predictions or self.letters or self._rows("read", "ledger", "first"))


@pytest.fixture
def job(shared_system: System, tmp_path: Path, api: Impostor) -> Job:
    """A job."""
    return Job(shared_system, tmp_path, api)


def expected(ids: list[str]) -> list[tuple[object, ...]]:
    """The right predictions."""
    return [
        (
            each["transaction_id"],
            each["category"],
            Decimal(number_of(each["transaction_id"])).scaleb(-3),
            each["needs_review"],
            each["model_name"],
            each["model_version"],
        )
        for each in answers(ids)
    ]


def culprit(spoil: Callable[[Answer], Answer]) -> Behaviour:
    """Good answers, but for one record's."""
    return lambda ids: [
        spoil(each) if number_of(each["transaction_id"]) == CULPRIT else each
        for each in answers(ids)
    ]


def where(is_there: Behaviour) -> Behaviour:
    """Good answers, unless the culprit is among the questions."""
    return lambda ids: (
        is_there(ids) if any(number_of(each) == CULPRIT for each in ids) else answers(ids)
    )


def failing(status: int) -> Behaviour:
    """This status wherever the culprit is among the questions."""
    return where(lambda _: Reply(status))


def error(*, retriable: bool) -> Callable[[Answer], Answer]:
    """An error in the place of an answer."""
    return lambda each: {
        "transaction_id": each["transaction_id"],
        "error": {"code": "too_odd", "message": "?", "retriable": retriable},
    }


WRONG_FOR_ONE: dict[str, tuple[str, Behaviour]] = {
    "too few": (
        "classifier_refused",
        lambda ids: [each for each in answers(ids) if number_of(each["transaction_id"]) != CULPRIT],
    ),
    "too many": (
        "classifier_refused",
        where(lambda ids: answers(ids) + answers([ids[0]])),
    ),
    "an unknown id": ("classifier_refused", culprit(lambda each: each | {"transaction_id": "x-1"})),
    "no id": ("classifier_refused", culprit(lambda each: each | {"transaction_id": None})),
    "a repeated id": (
        "classifier_refused",
        lambda ids: [
            each | {"transaction_id": each["transaction_id"].replace(f"-{CULPRIT}", "-141")}
            for each in answers(ids)
        ],
    ),
    "confidence NaN": (
        "invalid_prediction",
        culprit(lambda each: each | {"confidence_score": float("nan")}),
    ),
    "confidence 1.5": (
        "invalid_prediction",
        culprit(lambda each: each | {"confidence_score": 1.5}),
    ),
    "negative confidence": (
        "invalid_prediction",
        culprit(lambda each: each | {"confidence_score": -1e-9}),
    ),
    "endless confidence": (
        "invalid_prediction",
        culprit(lambda each: each | {"confidence_score": float("inf")}),
    ),
    "no confidence": (
        "invalid_prediction",
        culprit(lambda each: each | {"confidence_score": None}),
    ),
    "an unknown category": (
        "invalid_prediction",
        culprit(lambda each: each | {"category": "Gold"}),
    ),
    "no category": ("invalid_prediction", culprit(lambda each: each | {"category": None})),
    "no version": ("invalid_prediction", culprit(lambda each: each | {"model_version": None})),
    "a version with a NUL": (
        "invalid_prediction",
        culprit(lambda each: each | {"model_version": "1\0"}),
    ),
    "an error": ("too_odd", culprit(error(retriable=False))),
    "an error again and again": ("classifier_gave_up", culprit(error(retriable=True))),
    "a 500 that follows it": ("classifier_refused", failing(500)),
    "a 400 that follows it": ("classifier_refused", failing(400)),
    "a 413 that follows it": ("classifier_refused", failing(413)),
    "a 422 that follows it": ("classifier_refused", failing(422)),
}


@pytest.mark.parametrize("spoken", ["arrow", "json"])
@pytest.mark.parametrize("kind", WRONG_FOR_ONE)
def test_what_is_wrong_for_one_record_rejects_it_alone(job: Job, kind: str, spoken: str) -> None:
    """All others get their own prediction; the culprit's bytes may be tried with another model."""
    code, job.api.behaviour = WRONG_FOR_ONE[kind]
    result, stopped = job.run(spoken)
    assert (stopped, result.exit_code) == (None, 0)
    assert (result.tally.read, result.tally.rejected) == (RECORDS, 1)
    assert job.predictions == expected(job.ids[:CULPRIT] + job.ids[CULPRIT + 1 :])
    assert job.letters == [(CULPRIT, job.records[CULPRIT], "classify", code, True)]
    # The culprit is found by halving.
    assert len(job.api.asked) < 25


def test_several_culprits_of_several_kinds(job: Job) -> None:
    """Each is found, wherever the others are."""
    chance = random.Random(1)  # noqa: S311 - which records
    lost, refused, odd = (set(chance.sample(range(n, RECORDS, 3), 4)) for n in range(3))

    def behave(ids: list[str]) -> list[Answer] | Reply:
        numbers = set(map(number_of, ids))
        if numbers & refused:
            return Reply(500)
        return [
            each | ({"confidence_score": 2.0} if number_of(each["transaction_id"]) in odd else {})
            for each in answers(ids)
            if number_of(each["transaction_id"]) not in lost
        ]

    job.api.behaviour = behave
    assert job.run()[0].exit_code == 0
    culprits = lost | refused | odd
    assert job.predictions == expected(
        [each for each in job.ids if number_of(each) not in culprits]
    )
    assert {position: code for position, _, _, code, _ in job.letters} == {
        **dict.fromkeys(lost | refused, "classifier_refused"),
        **dict.fromkeys(odd, "invalid_prediction"),
    }


def then_good(calls: int, reply: Reply) -> Callable[[], Behaviour]:
    """This reply for the first calls, and good ones from then on."""

    def make() -> Behaviour:
        numbers = count()
        return lambda ids: reply if next(numbers) < calls else answers(ids)

    return make


def shuffled(ids: list[str]) -> list[Answer]:
    """Good answers in another order."""
    found = answers(ids)
    random.Random(1).shuffle(found)  # noqa: S311 - any order
    return found


def _busy() -> Behaviour:
    numbers = count()
    return lambda ids: (
        [error(retriable=True)(each) for each in answers(ids)]
        if next(numbers) < 2
        else answers(ids)
    )


PASSING: dict[str, Callable[[], Behaviour]] = {
    "other order": lambda: shuffled,
    "backwards": lambda: lambda ids: answers(ids)[::-1],
    "busy": _busy,
    "HTML": then_good(2, HTML),
    "cut": then_good(2, Reply(headers={"content-type": JSON}, body=b"[" + b" " * 99, cut=50)),
    "silence": then_good(1, Reply(silence=True)),
    "429": then_good(2, Reply(429)),
    "503": then_good(2, Reply(503)),
    "a 500 that follows nobody": then_good(1, Reply(500)),
    "other format": then_good(1, Reply(415)),
}


@pytest.mark.parametrize("kind", PASSING)
def test_what_passes_costs_no_record(job: Job, kind: str) -> None:
    """Every record gets its own prediction, and none is rejected."""
    job.api.behaviour = PASSING[kind]()
    result, stopped = job.run()
    assert (stopped, result.exit_code) == (None, 0)
    assert job.predictions == expected(job.ids)
    assert not job.letters


def test_one_id_twice_and_answers_in_another_order(job: Job) -> None:
    """Records of one id are asked about apart, where their order is all that tells them apart."""
    job.write(job.ids[:100], more=[line(each, "OTHER") for each in job.ids[50:60]])
    job.api.behaviour = shuffled
    result, _ = job.run()
    assert (result.tally.classified, result.tally.rejected) == (100, 10)
    assert job.predictions == expected(job.ids[:100])
    assert {code for *_, code, _ in job.letters} == {"conflicting_duplicate"}


def test_retry_after_is_obeyed(job: Job) -> None:
    """No call is made before the time that the API asks for."""
    job.api.behaviour = then_good(1, Reply(429, {"retry-after": "2"}))()
    assert job.run()[0].exit_code == 0
    first, *_, last = (moment for moment, _ in job.api.asked)
    assert last - first >= 2
    assert job.predictions == expected(job.ids)


AWAY: dict[str, Callable[[list[str]], Reply]] = {
    "HTML": lambda _: HTML,
    "HTML as JSON": lambda _: Reply(headers={"content-type": JSON}, body=HTML.body),
    "no body": lambda _: Reply(headers={"content-type": JSON}),
    "no list": lambda _: Reply(headers={"content-type": JSON}, body=b'{"detail": "?"}'),
    "nested": lambda _: Reply(headers={"content-type": JSON}, body=b"[" * 100_000),
    "cut JSON": lambda ids: Reply(
        headers={"content-type": JSON}, body=whole(answers(ids), JSON).body[:-9]
    ),
    "cut Arrow": lambda ids: Reply(
        headers={"content-type": arrow.CONTENT_TYPE},
        body=whole(answers(ids), arrow.CONTENT_TYPE).body[:-9],
    ),
    "broken off": lambda _: Reply(body=b"x" * 100, cut=50),
    "silence": lambda _: Reply(silence=True),
    "429": lambda _: Reply(429, {"retry-after": "0"}),
    "429 for years": lambda _: Reply(429, {"retry-after": "9" * 400}),
    "503": lambda _: Reply(503),
    "204": lambda _: Reply(204),
}


@pytest.mark.parametrize("kind", AWAY)
def test_an_outage_ends_with_75_and_writes_nothing(job: Job, kind: str) -> None:
    """No record is blamed for it, and the next run does all."""
    job.api.behaviour = AWAY[kind]
    _, stopped = job.run(patience=0.2)
    assert stopped is not None
    assert stopped.exit_code == TEMPORARY
    assert job.is_untouched
    job.api.behaviour = answers
    assert job.run()[0].exit_code == 0
    assert job.predictions == expected(job.ids)


def test_a_500_while_the_api_is_ill_is_an_outage(job: Job) -> None:
    """Only an API that is well can blame a record."""
    job.api.behaviour, job.api.healthy = failing(500), False
    _, stopped = job.run(patience=0.2)
    assert stopped is not None
    assert stopped.exit_code == TEMPORARY
    assert not job.letters
    assert job.predictions in ([], expected(job.ids[:100]))


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_what_is_no_outage_ends_with_78(job: Job, status: int) -> None:
    """A wrong address or key is not tried again."""
    job.api.behaviour = lambda _: Reply(status, {"location": "/elsewhere"})
    _, stopped = job.run()
    assert stopped is not None
    assert stopped.exit_code == 78
    assert "ASSAY_API__" in str(stopped)
    assert job.is_untouched


@pytest.mark.parametrize("kind", ["too few", "other ids", "confidence NaN", "500"])
def test_what_is_wrong_for_all_records_is_no_records_fault(job: Job, kind: str) -> None:
    """The reject limit ends it with 65 before anything is written."""
    spoilt: dict[str, Behaviour] = {
        "too few": lambda ids: answers(ids)[1:],
        "other ids": lambda ids: answers([f"x-{number_of(each)}" for each in ids]),
        "confidence NaN": lambda ids: [
            each | {"confidence_score": float("nan")} for each in answers(ids)
        ],
        "500": lambda _: Reply(500),
    }
    job.api.behaviour = spoilt[kind]
    result, stopped = job.run()
    assert stopped is None
    assert result.exit_code == DATA
    (problem,) = result.problems.values()
    assert isinstance(problem, RejectLimitExceeded)
    assert job.letters == job.predictions == []


def test_the_books_balance_after_all_of_this(shared_system: System) -> None:
    """The tables agree with each other, whatever was answered."""
    assert shared_system.balances()
