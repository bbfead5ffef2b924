"""A rescore: stored transactions through the same pump once more, for predictions alone."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from assay.domain.errors import Replaced, Unavailable
from assay.domain.rescore import decode, source_of
from assay.domain.tally import Tally
from assay.pipeline.pump import Policy, Pump
from assay.pipeline.watch import Watch
from assay.ports.classifier import Classifier
from assay.ports.clock import Clock
from assay.ports.source import Source
from assay.ports.store import Store

SETTLES: Final = 60.0
"""Seconds in which all processes of a model API have come to serve the same version."""

_NOWHERE: Final = ""  # a reject has no letter
_ADVICE: Final = "Look at the model API: what it rejects it has been asked about before"


class Pinned:
    """A classifier whose answers are all of one version, or there are none."""

    def __init__(
        self, inner: Classifier, name: str, version: str, clock: Clock, *, settles: float = SETTLES
    ) -> None:
        """Holds answers against a model's name and version.

        Args:
            inner: who answers.
            name: the model's.
            version: the model's.
            clock: monotonic.
            settles: seconds for which answers of another version count as an outage, since not
                all processes that answer load a version at the same moment.
        """
        self._inner, self._expected, self._clock = inner, (name, version), clock
        self._settles = settles
        self._other_since: float | None = None

    def classify(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """A verdict for each transaction, as the port says.

        Raises:
            Replaced: answers have been of another model or version for too long.
        """
        verdicts = self._inner.classify(transactions)
        models = verdicts.select("model_name", "model_version").drop_nulls().unique().rows()
        others = [each for each in models if each != self._expected]
        if not others:
            self._other_since = None
            return verdicts
        now = self._clock.now()
        since = self._other_since = now if self._other_since is None else self._other_since
        (name, version), (own, began) = others[0], self._expected
        said = f"the model API answers with {name} {version}, and this run predicts with"
        if now - since < self._settles:
            raise Unavailable(f"{said} {own} {began}")
        raise Replaced(
            f"{said} {own} {began}: run again to predict all with {version}; what is committed "
            "stays"
        )


@dataclass(frozen=True)
class Request:
    """What is asked of a rescore.

    Attributes:
        run_id: its name.
        name, version: the model's, whose predictions are made.
        policy: patience, window and reject limit.
        settles: see `Pinned`.
    """

    run_id: str
    name: str
    version: str
    policy: Policy
    settles: float = SETTLES


@dataclass(frozen=True)
class Services:
    """What a rescore is composed of; the source hands out chunks of stored transactions."""

    source: Source
    store: Store
    classifier: Classifier
    executor: Executor
    clock: Clock


def pump_for(request: Request, services: Services, watch: Watch) -> Pump:
    """What predicts each transaction that the source hands out, once for each version.

    Ended between any two steps it doubles nothing and leaves nothing out.
    """
    return Pump(
        run_id=request.run_id,
        source_name=source_of(request.name, request.version),
        destination=_NOWHERE,
        source=services.source,
        decode=decode,
        classifier=Pinned(
            services.classifier,
            request.name,
            request.version,
            services.clock,
            settles=request.settles,
        ),
        store=services.store,
        executor=services.executor,
        clock=services.clock,
        watch=watch,
        policy=replace(request.policy, alone=True, advice=_ADVICE),
    )


def rescore(pump: Pump) -> Tally:
    """Runs the pump of a rescore to its end.

    Raises:
        Fenced: another rescore of the same version is at work.
        RejectLimitExceeded: the model rejects too many.
        Replaced: the model API serves another version now.
        Unavailable: a dependency was away for longer than the policy's patience.
        Fatal: nothing that the pump could do helps.
    """
    report = pump.run()
    for error in report.given_up.values():
        raise error
    return report.tally
