"""When a producer sends how many records."""

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from assay.domain.errors import Fatal

_TICK: Final = 0.05  # seconds
_FULL: Final = 5_000
_SLOWEST: Final = 1e-6  # records per second; one in twelve days


@dataclass(frozen=True)
class Preset:
    """Between `least` and `most` records every so many seconds."""

    every: float
    least: int
    most: int


PresetName: TypeAlias = Literal["trickle", "gusts"]

PRESETS: Final[Mapping[PresetName, Preset]] = {
    "trickle": Preset(0.5, 1, 10),
    "gusts": Preset(1.0, 5, 20),
}

Schedule = Iterator[tuple[float, int]]
"""Seconds after the start, and how many records are due then."""


def schedule(preset: PresetName | None, rate: str | None, seed: int) -> Schedule:
    """The schedule that two options ask for, of which one at most may be given.

    Args:
        preset: one of `PRESETS`.
        rate: records per second, or `max`.
        seed: of what a preset leaves to chance.

    Raises:
        Fatal: they have no meaning.
    """
    if preset is not None and rate is not None:
        raise Fatal("give --preset or --rate, not both")
    if rate == "max":
        return _full()
    if rate is not None:
        return _steady(_number(rate))
    return _by_chance(PRESETS[preset or "trickle"], seed)


def _number(rate: str) -> float:
    try:
        number = float(rate)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise Fatal(f"--rate {rate} is neither a number of records per second nor `max`")
    if number < _SLOWEST:
        raise Fatal(f"--rate {rate} is too slow: give {_SLOWEST:f} records per second or more")
    return number


def _full() -> Schedule:
    return itertools.repeat((0.0, _FULL))


def _steady(rate: float) -> Schedule:
    every = max(_TICK, 1 / rate)
    sent = 0
    for tick in itertools.count(1):
        due = int(tick * every * rate + 1e-6)
        # What is behind its time goes in parts that a buffer takes.
        for first in range(sent, due, _FULL):
            yield tick * every, min(_FULL, due - first)
        sent = due


def _by_chance(preset: Preset, seed: int) -> Schedule:
    chance = random.Random(seed)  # noqa: S311 - invented data, no secrets
    for tick in itertools.count():
        yield tick * preset.every, chance.randint(preset.least, preset.most)
