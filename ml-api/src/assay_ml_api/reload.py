"""Loads what the registry says is to be served, at the start and whenever that changes."""

import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, cast, overload

import polars as pl
import structlog

from assay.domain.errors import AssayError, Fatal, Replaced, Unavailable
from assay.ports.meter import Meter
from assay.ports.objects import Object
from assay_ml_api import metrics
from assay_ml_api.calls import predict_canary
from assay_ml_api.predict import Model as Served
from assay_ml_api.serving import Corrections, Serving, State
from assay_model.artifact import ArtifactError
from assay_model.corrections import Corrected, corrected
from assay_model.predict import Model
from assay_model.registry import Promotion, Registry

_LONGEST: Final = 300.0  # seconds until what could not be loaded is tried again
_END: Final = 2.0  # seconds that a look at the registry gets to end in

_log = structlog.stdlib.get_logger(__name__)


def promoted(registry: Registry, meter: Meter) -> State:
    """What is to be served now, with the corrections that people have published.

    A challenger that cannot be loaded holds nobody up, nor do corrections that cannot be used.
    These are done without: refusing to start would be an outage of everything for the sake of
    some descriptors, and would meet each process that happens to be started anew. It is not done
    in silence: it is logged as an error and counted, again and again as long as it lasts, and
    `/model` and the version of each answer tell that no corrections are in force.

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
    return _begun(registry, _promoted(registry, promotion, None, meter), meter)


def pinned(registry: Registry | None, version: str, meter: Meter) -> State:
    """A version that is to be served whatever is promoted; with corrections as `promoted` has them.

    Args:
        registry: where it is; None where the one that the package carries must be the one.
        version: its whole name.
        meter: counts.

    Raises:
        Unavailable: the registry is away.
        Fatal: there is no such version, or it cannot be loaded.
    """
    if registry is not None:
        return _begun(registry, State(_loaded(registry, version)), meter)
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
    growing pauses. A look that fails is followed by the next. Neither holds the other up: a model
    goes without the corrections in force if it lacks their categories, and corrections follow
    whatever is promoted.

    Args:
        registry: what to follow.
        serving: whom to tell.
        meter: counts.
        poll: seconds from one look to the next.
        is_pinned: whether the model stays, so that corrections alone are followed.
    """

    def __init__(
        self,
        registry: Registry,
        serving: Serving,
        meter: Meter,
        poll: float,
        *,
        is_pinned: bool = False,
    ) -> None:
        self._registry = registry
        self._serving = serving
        self._meter = meter
        self._poll = poll
        self._is_pinned = is_pinned
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="registry", daemon=True)
        self._said = dict[str, str]()  # why something cannot be followed, by what it is
        self._models = _Pauses(poll)
        self._corrections = _Pauses(poll)

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
        self._tried("the registry", self._follow)

    def _follow(self) -> None:
        promotion = None if self._is_pinned else self._registry.current()
        item = self._registry.said()
        try:
            if promotion is not None:
                self._follow_promotion(promotion)
        finally:
            self._tried("corrections", lambda: self._follow_corrections(item))

    def _follow_promotion(self, promotion: Promotion) -> None:
        state = self._serving.state
        if promotion.number == state.promotion:
            self._models.forget()
            return
        with self._models.attempt(promotion.number):
            loaded = _promoted(self._registry, promotion, state, self._meter)
            self._serve(
                loaded,
                "another model serves",
                challenger=loaded.challenger and loaded.challenger.version,
                promotion=promotion.number,
            )

    def _follow_corrections(self, item: Object | None) -> None:
        state = self._serving.state
        stamp = None if item is None else item.version
        if stamp == (state.corrections and state.corrections.stamp):
            self._corrections.forget()
            return
        with self._corrections.attempt((stamp, state.promotion)):
            published = None if item is None else _published(self._registry, item)
            self._serve(_corrected(state, published), "other corrections are in force")

    def _serve(self, state: State, what: str, **facts: object) -> None:
        """Has calls answered by another state from now on, and says so."""
        before = self._serving.state.model.version
        self._serving.swap(state)
        self._meter.add(metrics.RELOADS, result="done")
        _log.info(what, version=state.model.version, before=before, **facts)

    def _tried(self, what: str, follow: Callable[[], None]) -> None:
        """Follows; what fails is counted, and logged once until another reason comes."""
        try:
            follow()
        except _Waiting:
            pass
        except (Unavailable, Replaced) as error:
            self._meter.add(metrics.RELOADS, result="away")
            self._say(what, str(error))
        # A panic of polars is no Exception.
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - the next look may do better
            self._meter.add(metrics.RELOADS, result="failed")
            self._say(what, _reason(error))
        else:
            if self._said.pop(what, None) is not None:
                _log.info(f"{what} can be followed again", registry=self._registry.root)

    def _say(self, what: str, reason: str) -> None:
        if reason != self._said.get(what):
            self._said[what] = reason
            serves = self._serving.state.model.version
            _log.error(f"{what} cannot be followed", reason=reason, serves=serves)


class _Waiting(Exception):
    """What could not be followed is not tried again yet."""


class _Pauses:
    """When what could not be loaded is tried again.

    Args:
        shortest: seconds until the second attempt.
    """

    def __init__(self, shortest: float) -> None:
        self._shortest = shortest
        self._wanted: object = None
        self._pause = 0.0
        self._at = 0.0

    @contextmanager
    def attempt(self, wanted: object) -> Generator[None]:
        """Tries this in the block; where that fails, it is not tried again at once.

        Raises:
            _Waiting: it may not be tried yet.
        """
        if wanted != self._wanted:
            self.forget()
        elif time.monotonic() < self._at:
            raise _Waiting
        self._wanted = wanted
        self._pause = min(2 * self._pause or self._shortest, _LONGEST)
        self._at = time.monotonic() + self._pause
        yield
        self.forget()

    def forget(self) -> None:
        """It is done, or wanted no more."""
        self._wanted, self._pause, self._at = None, 0.0, 0.0


def _promoted(
    registry: Registry, promotion: Promotion, before: State | None, meter: Meter
) -> State:
    """What a promotion asks for; models that are there already are not loaded again.

    They have the corrections in force. A model that lacks a category of them goes without: a
    promotion, which may be a roll-back in need, is not held up by them. Whoever follows the
    corrections meets them then, and says so.
    """
    there = [] if before is None else [before.model, before.challenger]
    known = {each.version: each for each in map(_trained, there) if each is not None}
    model = known.get(promotion.version) or _loaded(registry, promotion.version)
    state = State(model, _challenger(registry, promotion, known, meter), promotion.number)
    if before is None:
        return state
    if model is _trained(before.model):
        state = replace(state, since=before.since)
    try:
        return _corrected(state, before.corrections)
    except Fatal:
        return state


def _challenger(
    registry: Registry, promotion: Promotion, known: dict[str, Model], meter: Meter
) -> Model | None:
    if promotion.challenger is None:
        return None
    try:
        return known.get(promotion.challenger) or _loaded(registry, promotion.challenger)
    except Fatal as error:
        meter.add(metrics.RELOADS, result="failed")
        _log.error("there is no challenger", version=promotion.challenger, reason=str(error))
        return None


def _begun(registry: Registry, state: State, meter: Meter) -> State:
    """A state to start with, with the corrections that are published, if they can be used."""
    item = registry.said()
    if item is None:
        return state
    try:
        return _corrected(state, _published(registry, item))
    except (Unavailable, Replaced):
        raise
    # A panic of polars is no Exception.
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - see `promoted`
        meter.add(metrics.RELOADS, result="failed")
        serves = state.model.version
        _log.error("no corrections are in force", reason=_reason(error), serves=serves)
        return state


def _published(registry: Registry, item: Object) -> Corrections:
    """What people have published."""
    return Corrections(registry.corrections(item), item.version)


def _corrected(state: State, corrections: Corrections | None) -> State:
    """The state with these corrections in place of those that it has.

    The challenger has them as well, as far as it has their categories: else each of them would
    count as a disagreement.

    Raises:
        Fatal: the model lacks a category.
    """
    model, challenger = _trained(state.model), _trained(state.challenger)
    if corrections is None:
        return replace(state, model=model, challenger=challenger, corrections=None)
    if challenger is not None:
        categories = challenger.taxonomy.categories
        said = corrections.said.filter(pl.col("category").is_in(categories))
        challenger = corrected(challenger, said)
    model = corrected(model, corrections.said)
    predict_canary(model)
    return replace(state, model=model, challenger=challenger, corrections=corrections)


@overload
def _trained(model: Served) -> Model: ...
@overload
def _trained(model: Served | None) -> Model | None: ...
def _trained(model: Served | None) -> Model | None:
    """A model without corrections; here all are of this kind."""
    return cast("Model | None", model.model if isinstance(model, Corrected) else model)


def _reason(error: BaseException) -> str:
    """What may be told of an error: the text of a foreign one may quote what it was about."""
    if isinstance(error, AssayError):
        return str(error)
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {at.filename}:{at.lineno}"


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
