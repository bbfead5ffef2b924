"""A webhook as a target, over real HTTP."""

import hmac
import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pytest
from answering import Question, Reply, Server
from pydantic import SecretStr, ValidationError

from assay.domain.errors import Fatal, Unavailable
from assay.ports.target import Target
from assay.testing.frames import outcome, transaction
from assay.testing.target import TargetSuite
from assay_adapters.webhook.config import WebhookConfig
from assay_adapters.webhook.target import WebhookTarget

SECRET = b"a secret of some length"


@dataclass
class Receiver:
    """Takes requests in, and answers as it is told.

    Attributes:
        status: what it answers, by the transaction's id; 200 unless said.
        headers: of its answers.
    """

    server: Server
    status: Callable[[str], int] = lambda _: 200
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.server.reply = self._reply

    def _reply(self, question: Question) -> Reply:
        return Reply(self.status(_told(question)), self.headers)

    @property
    def told(self) -> list[str]:
        """The ids of transactions that it was told of, in order."""
        return sorted(map(_told, self.server.questions))


def _told(question: Question) -> str:
    return json.loads(question.body)["data"]["transaction_id"]


@pytest.fixture
def receiver(server: Server) -> Receiver:
    """Where requests go."""
    return Receiver(server)


def _config(receiver: Receiver, **settings: Any) -> WebhookConfig:
    given = {
        "url": f"{receiver.server.url}/hook?for=assay",
        "secret": SECRET.decode(),
        "timeout": 5.0,
    } | settings
    return WebhookConfig.model_validate(given)


@pytest.fixture
def target(receiver: Receiver) -> Iterator[WebhookTarget]:
    """One that tells of everything."""
    made = WebhookTarget(_config(receiver), now=lambda: 1_700_000_000.5)
    yield made
    made.close()


class TestWebhookTarget(TargetSuite):
    @pytest.fixture
    def target(self, receiver: Receiver) -> Iterator[Target]:
        self._receiver = receiver
        made = WebhookTarget(_config(receiver))
        yield made
        made.close()

    def held(self, target: Target) -> Mapping[str, Mapping[str, Any]]:
        """Who takes it knows it by the id of the request."""
        del target
        by_id = {
            each.headers["webhook-id"]: json.loads(each.body)["data"]
            for each in self._receiver.server.questions
        }
        held = {each["transaction_id"]: each for each in by_id.values()}
        assert len(held) == len(by_id)
        return held


def test_requests_are_signed_as_standard_webhooks_are(
    receiver: Receiver, target: WebhookTarget
) -> None:
    """By an HMAC over id, time and body, which a receiver can make again."""
    target.deliver(outcome(["a"], first=7))
    (asked,) = receiver.server.questions
    assert asked.headers["webhook-id"] == "files/transactions/0@7"
    assert asked.headers["webhook-timestamp"] == "1700000000"
    signed = b"files/transactions/0@7.1700000000." + asked.body
    mac = b64encode(hmac.new(SECRET, signed, sha256).digest()).decode()
    assert asked.headers["webhook-signature"] == f"v1,{mac}"
    said = json.loads(asked.body)
    assert (said["type"], said["timestamp"]) == (
        "transaction.classified",
        "2023-11-14T22:13:20+00:00",
    )
    assert said["data"]["amount"] == "12.50"


def test_secrets_may_be_in_base64(receiver: Receiver) -> None:
    """After the prefix that Standard Webhooks gives them; what is no secret is refused."""
    secret = f"whsec_{b64encode(SECRET).decode()}"
    target = WebhookTarget(_config(receiver, secret=SecretStr(secret)), now=lambda: 1.0)
    target.deliver(outcome(["a"]))
    target.close()
    (asked,) = receiver.server.questions
    signed = b"files/transactions/0@0.1." + asked.body
    mac = b64encode(hmac.new(SECRET, signed, sha256).digest()).decode()
    assert asked.headers["webhook-signature"] == f"v1,{mac}"
    for wrong in ("whsec_not base64", "short"):
        with pytest.raises(ValidationError):
            _config(receiver, secret=wrong)


def test_only_what_is_chosen_is_told(receiver: Receiver) -> None:
    """By category and confidence; the others are done with as well."""
    chosen = {"categories": "Food, Home", "least_confidence": 0.5, "most_confidence": 0.9}
    target = WebhookTarget(_config(receiver, **chosen))
    rows = [
        transaction("food", confidence=0.5),
        transaction("home", category="Home", confidence=0.9),
        transaction("rent", category="Rent", confidence=0.7),
        transaction("unsure", confidence=0.49),
        transaction("sure", confidence=0.91),
    ]
    assert target.deliver(outcome(rows)).is_empty()
    target.close()
    assert receiver.told == ["food", "home"]


def test_what_it_refuses_becomes_a_reject(receiver: Receiver, target: WebhookTarget) -> None:
    """Nothing of the record is in the message; the others are there."""
    receiver.status = lambda name: 422 if name == "b" else 204
    (refused,) = target.deliver(outcome(["a", "b", "c"])).to_dicts()
    assert (refused["row"], refused["transaction_id"], refused["code"]) == (
        1,
        "b",
        "target_refused",
    )
    assert refused["message"] == "it answered 422"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_who_is_away_is_asked_again_about_the_rest(
    receiver: Receiver, target: WebhookTarget, status: int
) -> None:
    """What was taken is not sent once more, and it is left alone as long as it asks."""
    receiver.status = lambda name: status if name == "b" else 200
    receiver.headers = {"retry-after": "7"}
    given = outcome(["a", "b", "c"])
    with pytest.raises(Unavailable, match=f"answered {status}") as away:
        target.deliver(given)
    assert away.value.retry_after == 7
    receiver.status = lambda _: 200
    assert target.deliver(given).is_empty()
    assert receiver.told == ["a", "b", "b", "c"]


def test_what_was_refused_beside_an_outage_stays_refused(
    receiver: Receiver, target: WebhookTarget
) -> None:
    """It is not asked again, and is a reject once the others are taken."""
    receiver.status = {"a": 204, "b": 422, "c": 503}.__getitem__
    given = outcome(["a", "b", "c"])
    with pytest.raises(Unavailable):
        target.deliver(given)
    receiver.status = lambda _: 204
    assert target.deliver(given)["transaction_id"].to_list() == ["b"]
    assert sorted(receiver.told) == ["a", "b", "c", "c"]


def test_ids_of_a_topic_that_was_made_anew_are_others(
    receiver: Receiver, target: WebhookTarget
) -> None:
    """Whoever keeps ids does not take its first record for one that is known."""
    one = outcome(["a"])
    for topic in ("old", "new"):
        target.deliver(replace(one, ranges=(replace(one.ranges[0], numbering=topic),)))
    ids = [each.headers["webhook-id"] for each in receiver.server.questions]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "SECRET"), (404, "URL"), (410, "wants no more"), (302, "redirection")],
)
def test_a_wrong_address_stops_it(
    receiver: Receiver, target: WebhookTarget, status: int, said: str
) -> None:
    """The message says what to set."""
    receiver.status = lambda _: status
    with pytest.raises(Fatal, match=said):
        target.deliver(outcome(["a"]))


def test_nobody_there_is_waited_for() -> None:
    """A refused connection is an outage."""
    config = WebhookConfig.model_validate(
        {"url": "http://127.0.0.1:1/", "secret": SecretStr(SECRET.decode())}
    )
    target = WebhookTarget(config)
    with pytest.raises(Unavailable, match=r"the webhook at http://127\.0\.0\.1:1 is away"):
        target.deliver(outcome(["a"]))
    target.close()
