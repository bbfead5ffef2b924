"""Which model answers: one immutable state, swapped as one reference between calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from assay.domain.taxonomy import Taxonomy
from assay.ports.meter import Meter
from assay_ml_api import metrics
from assay_ml_api.predict import Model
from assay_ml_api.shadow import Shadow


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Corrections:
    """What people have published.

    Attributes:
        said: all of it, shaped as `assay.wire.corrections.CORRECTIONS`.
        stamp: the version of the object that it was read from.
        since: when it began to be answered here.
    """

    said: pl.DataFrame
    stamp: str
    since: datetime = field(default_factory=_now)


@dataclass(frozen=True)
class State:
    """All that an answer depends on.

    Attributes:
        model: who classifies, as people have corrected it.
        challenger: who is asked the same afterwards, for comparison; None for nobody.
        promotion: the number of the promotion that it follows; None where none was asked.
        corrections: those in force; None for none.
        since: when the model began to serve here, with these corrections or others.
    """

    model: Model
    challenger: Model | None = None
    promotion: int | None = None
    corrections: Corrections | None = None
    since: datetime = field(default_factory=_now)


_RESULTS: Final = {
    metrics.RELOADS: ("done", "failed", "away"),
    metrics.SHADOW_RECORDS: ("agree", "disagree", "skipped", "failed"),
}


class Serving:
    """The state that holds, for those who answer and for whoever replaces it.

    Attributes:
        state: taken once for a call, which keeps it to its end.
    """

    def __init__(self, state: State, meter: Meter) -> None:
        self.state = state
        self._meter = meter
        self._shadow = Shadow(meter)
        # A counter that is there from the beginning shows its first increase, too.
        for counter, results in _RESULTS.items():
            for result in results:
                meter.add(counter, 0, result=result)
        self._tell(state.model, serves=True)

    def swap(self, state: State) -> None:
        """Has calls that begin from now on answered by another state."""
        before, self.state = self.state, state
        self._tell(before.model, serves=False)
        self._tell(state.model, serves=True)

    def shadowed(self, state: State) -> Model:
        """The state's model; what it is asked from now on, its challenger is asked as well."""
        if state.challenger is None:
            return state.model
        return _Shadowed(state.model, state.challenger, self._shadow.offer)

    def start(self) -> None:
        """Begins to ask challengers."""
        self._shadow.start()

    def close(self) -> None:
        """Asks challengers no more; does not wait for one that hangs."""
        self._shadow.close()

    def _tell(self, model: Model, *, serves: bool) -> None:
        self._meter.set(metrics.MODEL, float(serves), name=model.name, version=model.version)


@dataclass(frozen=True)
class _Shadowed:
    """A model whose questions and answers are offered to a challenger."""

    model: Model
    challenger: Model
    offer: Callable[[Model, pl.DataFrame, pl.DataFrame], None]

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def version(self) -> str:
        return self.model.version

    @property
    def taxonomy(self) -> Taxonomy:
        return self.model.taxonomy

    @property
    def reference(self) -> Mapping[str, Any] | None:
        return self.model.reference

    def explain(self, transactions: pl.DataFrame, categories: pl.Series) -> pl.Series:
        return self.model.explain(transactions, categories)

    def predict(self, transactions: pl.DataFrame) -> pl.DataFrame:
        answers = self.model.predict(transactions)
        self.offer(self.challenger, transactions, answers)
        return answers
