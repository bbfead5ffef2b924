"""The letters of a memory store, handed out to relays."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from itertools import count
from typing import Final

import polars as pl

from assay.domain.reject import LETTERS
from assay.memory.store import MemoryStore
from assay.ports.letters import Claim

_NUMBERS: Final = count(1)


class MemoryLetters:
    """The port `assay.ports.letters.Letters` on a memory store.

    Args:
        store: where the letters are.
        relay: the relay that sees them.
        lease: how long a claim is left alone by other relays.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self, store: MemoryStore, relay: str, *, lease: timedelta, now: Callable[[], float]
    ) -> None:
        self._store, self._relay, self._lease, self._now = store, relay, lease, now

    def destinations(self, prefix: str) -> Sequence[str]:
        """Where letters wait to be published, of the destinations that begin so, in order."""
        waiting = self._waiting()
        return sorted({to for to in waiting["destination"] if to.startswith(prefix)})

    def claim(self, destination: str, limit: int) -> Claim | None:
        """The next letters for a destination, at most `limit`; None where none wait."""
        self._store.faults.at("claim")
        with self._store.lock:
            waiting = self._waiting().filter(pl.col("destination") == destination)
            for name in waiting["claim"].drop_nulls().unique().sort():
                relay, until = self._store.leases[name]
                if relay == self._relay or until <= self._now():
                    return self._take(waiting.filter(pl.col("claim") == name), name)
            fresh = waiting.filter(pl.col("claim").is_null()).head(limit)
            return self._take(fresh, f"claim-{next(_NUMBERS)}") if fresh.height else None

    def stamp(self, claim: Claim, place: str) -> None:
        """These letters are published, and where."""
        self._store.faults.at("stamp")
        with self._store.lock:
            for letter in self._store.letters.values():
                if letter.get("claim") == claim.name:
                    letter["place"] = place

    def set_aside(self, claim: Claim, rows: Collection[int]) -> Claim:
        """Takes letters out of a claim whose destination does not take them; returns the rest."""
        self._store.faults.at("set aside")
        with self._store.lock:
            self._lease_to("", f"claim-{next(_NUMBERS)}", {claim.ids[row] for row in rows})
        return claim.without(rows)

    def give_back(self) -> None:
        """What this relay has claimed and not stamped is handed out to whoever asks, at once."""
        with self._store.lock:
            for name, (relay, _) in self._store.leases.items():
                if relay == self._relay:
                    self._store.leases[name] = relay, self._now()

    def _waiting(self) -> pl.DataFrame:
        schema = LETTERS | {"claim": pl.String(), "id": pl.Int64()}
        letters = [each for each in self._store.letters.values() if "place" not in each]
        return pl.DataFrame(letters, schema=schema).sort("source", "partition", "position")

    def _take(self, letters: pl.DataFrame, name: str) -> Claim:
        ids: list[int] = letters["id"].to_list()
        self._lease_to(self._relay, name, set(ids))
        return Claim(name, letters.select(LETTERS.names()), ids)

    def _lease_to(self, relay: str, name: str, ids: set[int]) -> None:
        self._store.leases[name] = relay, self._now() + self._lease.total_seconds()
        for letter in self._store.letters.values():
            if letter["id"] in ids:
                letter["claim"] = name
