"""A webhook as a target: each chosen record is a request of its own, signed.

Requests are those of Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): `POST`
of a JSON object with `type`, `timestamp` and `data`, and the headers `webhook-id`,
`webhook-timestamp` (seconds) and `webhook-signature`, `v1,` and the base64 of an HMAC-SHA256 over
id, timestamp and body with dots between them. The id is the place of the prediction on its topic,
with the topic's id, so it is the same whenever the record comes again.
"""

import hmac
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock
from typing import Final, NamedTuple

import httpx
import polars as pl

from assay.domain.errors import AssayError, Fatal, Unavailable
from assay.domain.outcome import Outcome
from assay.domain.reject import faults, letter_id, no_rejects
from assay.wire.predictions import documents
from assay_adapters.http.exchange import Exchange
from assay_adapters.http.statuses import retry_after
from assay_adapters.webhook.config import WebhookConfig, key_of

_TYPE: Final = "transaction.classified"
_AWAY: Final = frozenset({408, 425, 429})
_WRONG: Final = {
    401: "it does not take the signature: check ASSAY_WEBHOOK__SECRET",
    403: "it does not take the signature: check ASSAY_WEBHOOK__SECRET",
    404: "nobody listens there: check ASSAY_WEBHOOK__URL",
    405: "it takes no POST: check ASSAY_WEBHOOK__URL",
    410: "it wants no more of these: do not start this connector again",
}


class _Request(NamedTuple):
    """One record that is to be told of."""

    row: int
    transaction_id: str
    id: str
    data: str


class WebhookTarget:
    """The port `assay.ports.target.Target` on a webhook.

    Who answers 2xx has taken a record; another answer than those that say to come again, or that
    the whole address is wrong, refuses it. What was taken or refused before an `Unavailable` is not
    sent again by the same object.
    """

    by_range = False

    def __init__(self, config: WebhookConfig, now: Callable[[], float] = time.time) -> None:
        """Connects at the first record.

        Args:
            config: where, and what is told.
            now: seconds since 1970, for the signature.
        """
        self._config, self._now = config, now
        self._key = key_of(config.secret)
        headers = {"content-type": "application/json", "user-agent": "assay"}
        self._exchange = Exchange(
            str(config.url), config, name="the webhook", section="WEBHOOK", headers=headers
        )
        self._senders = ThreadPoolExecutor(config.connections, thread_name_prefix="webhook")
        self._answers: dict[str, str | None] = {}  # of what is not all delivered yet
        self._lock = Lock()

    def deliver(self, outcome: Outcome) -> pl.DataFrame:
        """Sends those that are chosen, as the port says.

        Raises:
            Unavailable: it is away, or asks to come again: 408, 425, 429, 5xx.
            Fatal: 401, 403, 404, 405, 410, or a redirection.
        """
        requests = list(self._chosen(outcome))
        answers = self._senders.map(self._told, requests)
        refused: list[tuple[_Request, str]] = []
        failure: AssayError | None = None
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, AssayError):
                # What is wrong for good is said before what passes.
                failure = answer if failure is None or isinstance(answer, Fatal) else failure
            elif answer is not None:
                refused.append((request, answer))
        if failure is not None:
            raise failure
        with self._lock:
            self._answers.clear()
        return _rejects(refused)

    def close(self) -> None:
        """Closes the connections."""
        self._senders.shutdown(cancel_futures=True)
        self._exchange.close()

    def _chosen(self, outcome: Outcome) -> Iterator[_Request]:
        config, classified = self._config, outcome.classified
        is_chosen = pl.col("confidence").is_between(config.least_confidence, config.most_confidence)
        if config.categories:
            is_chosen &= pl.col("category").is_in(list(config.categories))
        chosen = classified.filter(is_chosen)
        origin = outcome.records[chosen["row"]]
        topics = {each.partition: each.numbering for each in outcome.ranges}
        rows = zip(
            chosen["row"],
            chosen["transaction_id"],
            origin["partition"],
            origin["position"],
            documents(chosen),
            strict=True,
        )
        for row, name, partition, position, data in rows:
            id_ = letter_id(outcome.source, partition, topics[partition], position)
            yield _Request(row, name, id_, data)

    def _told(self, request: _Request) -> str | AssayError | None:
        """Sends one, unless it was answered before; returns why it was refused, or failed."""
        with self._lock:
            if request.id in self._answers:
                return self._answers[request.id]
        at = self._now()
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        body = f'{{"type":"{_TYPE}","timestamp":"{moment}","data":{request.data}}}'.encode()
        signed = f"{request.id}.{int(at)}.".encode() + body
        signature = b64encode(hmac.new(self._key, signed, sha256).digest()).decode()
        headers = {
            "webhook-id": request.id,
            "webhook-timestamp": str(int(at)),
            "webhook-signature": f"v1,{signature}",
        }
        try:
            response = self._exchange.send("POST", "", headers, body)
        except Unavailable as error:
            return error
        found = self._meant(response)
        if not isinstance(found, AssayError):
            with self._lock:
                self._answers[request.id] = found
        return found

    def _meant(self, response: httpx.Response) -> str | AssayError | None:
        status, said = response.status_code, f"{self._exchange.where} answered"
        if response.is_success:
            return None
        if status in _AWAY or response.is_server_error:
            return Unavailable(f"{said} {status}", retry_after=retry_after(response.headers))
        if status in _WRONG:
            return Fatal(f"{said} {status}: {_WRONG[status]}")
        if response.is_redirect:
            return Fatal(
                f"{said} {status}, a redirection: set ASSAY_WEBHOOK__URL to where it leads"
            )
        return f"it answered {status}"


def _rejects(refused: list[tuple[_Request, str]]) -> pl.DataFrame:
    if not refused:
        return no_rejects()
    rows = [
        {
            "row": request.row,
            "transaction_id": request.transaction_id,
            "code": "target_refused",
            "message": message,
        }
        for request, message in refused
    ]
    return faults(pl.DataFrame(rows, schema_overrides={"row": pl.UInt32}), stage="commit")
