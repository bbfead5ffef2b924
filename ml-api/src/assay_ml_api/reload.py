"""Loads what the registry says is to be served, at the start and whenever that changes."""

import threading
import time
import traceback
from dataclasses import replace
from typing import Final

import polars as pl
import structlog

from assay.domain.errors import AssayError, Fatal, Replaced, Unavailable
from assay.ports.meter import Meter
from assay_ml_api import metrics
from assay_ml_api.calls import predict_canary
from assay_ml_api.serving import Serving, State
from assay_model.artifact import ArtifactError
from assay_model.predict import Model
from assay_model.registry import Promotion, Registry

_LONGEST: Final = 300.0  # seconds until what could not be loaded is tried again
_END: Final = 2.0  # seconds that a look at the registry gets to end in

_log = structlog.stdlib.get_logger(__name__)


def promoted(registry: Registry, meter: Meter) -> State:
    """What is to be served now; a challenger that cannot be loaded holds nobody up.

    Raises:
        Unavailable: the registry is away.
        Fatal: nothing is promoted, or what is cannot be loaded.
    """
    promotion = registry.current()
    if promotion is None:
        raise Fatal(
            f"nothing is promoted in {registry.root}: `assay model add` and `assay model promote`,"
            " or name a version in ASSAY_MODELS__VERSION"
        )
    return _state(registry, promotion, None, meter)


def pinned(registry: Registry | None, version: str) -> State:
    """A version that is to be served whatever is promoted.

    Args:
        registry: where it is; None where the one that the package carries must be the one.
        version: its whole name.

    Raises:
        Unavailable: the registry is away.
        Fatal: there is no such version, or it cannot be loaded.
    """
    if registry is not None:
        return State(_loaded(registry, version))
    model = Model.load()
    if model.version != version:
        raise Fatal(
            f"ASSAY_MODELS__VERSION is {version}, and the model that comes with Assay is"
            f" {model.version}: set ASSAY_MODELS__REGISTRY, or leave the version out"
        )
    return State(model)


class Watcher:
    """Looks at a registry again and again, and has the service follow it.

    What cannot be loaded leaves served what is served; it is logged, counted, and tried again with
    growing pauses. A look that fails is followed by the next.

    Args:
        registry: what to follow.
        serving: whom to tell.
        meter: counts.
        poll: seconds from one look to the next.
    """

    def __init__(self, registry: Registry, serving: Serving, meter: Meter, poll: float) -> None:
        self._registry = registry
        self._serving = serving
        self._meter = meter
        self._poll = poll
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="registry", daemon=True)
        self._said: str | None = None
        self._pause = 0.0
        self._again: tuple[int, float] | None = None

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def close(self) -> None:
        """Looks no more; does not wait for a registry that hangs."""
        self._end.set()
        self._thread.join(_END)

    def _watch(self) -> None:
        while not self._end.wait(self._poll):
            self.look()

    def look(self) -> None:
        """Looks once."""
        try:
            self._follow()
        except (Unavailable, Replaced) as error:
            self._meter.add(metrics.RELOADS, result="away")
            self._say(str(error))
        except AssayError as error:
            self._meter.add(metrics.RELOADS, result="failed")
            self._say(str(error))
        # A panic of polars is no Exception.
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - the next look may do better
            self._meter.add(metrics.RELOADS, result="failed")
            at = traceback.extract_tb(error.__traceback__)[-1]
            self._say(f"{type(error).__name__} at {at.filename}:{at.lineno}")
        else:
            if self._said is not None and self._again is None:
                self._said = None
                _log.info("the registry can be followed again", registry=self._registry.root)

    def _follow(self) -> None:
        promotion = self._registry.current()
        state = self._serving.state
        if promotion is None or promotion.number == state.promotion:
            self._again = None
            return
        if self._again is not None:
            number, at = self._again
            if number == promotion.number and time.monotonic() < at:
                return
            if number != promotion.number:
                self._pause = 0.0
        # Whatever is raised now, this promotion is not tried again at once.
        self._pause = min(2 * self._pause or self._poll, _LONGEST)
        self._again = promotion.number, time.monotonic() + self._pause
        loaded = _state(self._registry, promotion, state, self._meter)
        self._serving.swap(loaded)
        self._again, self._pause = None, 0.0
        self._meter.add(metrics.RELOADS, result="done")
        _log.info(
            "another model serves",
            version=loaded.model.version,
            before=state.model.version,
            challenger=loaded.challenger and loaded.challenger.version,
            promotion=promotion.number,
        )

    def _say(self, reason: str) -> None:
        """Logs a reason once, until another one comes or all is well."""
        if reason != self._said:
            self._said = reason
            serves = self._serving.state.model.version
            _log.error("the registry cannot be followed", reason=reason, serves=serves)


def _state(registry: Registry, promotion: Promotion, before: State | None, meter: Meter) -> State:
    """What a promotion asks for; models that are there already are not loaded again."""
    there = [] if before is None else [before.model, before.challenger]
    known = {each.version: each for each in there if each is not None}
    model = known.get(promotion.version) or _loaded(registry, promotion.version)
    state = State(model, None, promotion.number)
    if before is not None and model is before.model:
        state = replace(state, since=before.since)
    if promotion.challenger is None:
        return state
    try:
        challenger = known.get(promotion.challenger) or _loaded(registry, promotion.challenger)
    except Fatal as error:
        meter.add(metrics.RELOADS, result="failed")
        _log.error("there is no challenger", version=promotion.challenger, reason=str(error))
        return state
    return replace(state, challenger=challenger)


def _loaded(registry: Registry, version: str) -> Model:
    """A version that has answered once.

    Raises:
        ArtifactError: it is damaged, or does not answer.
    """
    model = Model.of(registry.read(registry.manifest(version)))
    try:
        predict_canary(model)
    except (Exception, pl.exceptions.PanicException) as error:
        raise ArtifactError(f"{version} does not answer: {type(error).__name__}") from error
    return model
