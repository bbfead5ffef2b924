"""The letters of a memory store, claimed by redrives."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import cast

import polars as pl

from assay.domain.choice import ENOUGH, Filter
from assay.domain.errors import Fenced
from assay.domain.reject import LETTERS
from assay.memory.store import MemoryStore, Taken
from assay.ports.selection import LOST, Readable


class MemorySelection:
    """The port `assay.ports.selection.Selection` on a memory store.

    Of a filter it heeds codes, ids, attempts and `due`.

    Args:
        store: where the letters are.
        run_id: the redrive.
        lease: how long its claim is left alone.
        now: seconds on a monotonic clock.
        by: who has asked for it.
        edits: which were made; kept with what is done.
    """

    def __init__(
        self,
        store: MemoryStore,
        run_id: str,
        *,
        lease: timedelta,
        now: Callable[[], float],
        by: str = "somebody",
        edits: Mapping[str, str] | None = None,
    ) -> None:
        self._store, self._run_id, self._lease, self._now = store, run_id, lease, now
        self._note: dict[str, object] = {"by": by, "edits": dict(edits or {})}

    def claim(self, chosen: Filter, limit: int | None, readable: Readable) -> int:
        """Claims open letters that nobody else holds; once for a run."""
        self._store.faults.at("claim")
        with self._store.lock:
            claims = self._store.redrives
            for run_id in [each for each, it in claims.items() if it.until <= self._now()]:
                del claims[run_id]
            held = {origin for each in claims.values() for origin in each.letters}
            found = [
                origin
                for origin, letter in self._store.letters.items()
                if letter["state"] == "open"
                and origin not in held
                and self._is_chosen(letter, chosen)
            ][:limit]
            readable({each: sum(o[0] == each for o in found) for each in {o[0] for o in found}})
            taken = Taken(found, self._now, self._lease.total_seconds(), self._note)
            taken.renew()
            claims[self._run_id] = taken
            return len(found)

    def page(self, first: int, limit: int) -> pl.DataFrame:
        """The claimed letters from a number on."""
        self._store.faults.at("page")
        with self._store.lock:
            origins = self._own().letters[first : first + limit]
            letters = [self._store.letters[each] for each in origins]
            return pl.DataFrame(
                [{name: each[name] for name in LETTERS} for each in letters], LETTERS
            )

    def renew(self) -> None:
        """Begins the lease anew."""
        self._store.faults.at("renew")
        with self._store.lock:
            self._own().renew()

    def free(self) -> None:
        """Gives up what is left of the claim."""
        with self._store.lock:
            self._store.redrives.pop(self._run_id, None)

    def _own(self) -> Taken:
        claim = self._store.redrives.get(self._run_id)
        if claim is None:
            raise Fenced((), LOST)
        return claim

    def _is_chosen(self, letter: Mapping[str, object], chosen: Filter) -> bool:
        limit, due = chosen.get("max_attempts"), chosen.get("due")
        attempt = cast(int, letter["attempt"])
        tried = cast(float, letter.get("tried_at", 0.0))
        longest = max(due, ENOUGH) if due is not None else ENOUGH
        wait = due.total_seconds() * 2 ** (attempt - 1) if due is not None else 0.0
        wait = min(wait, longest.total_seconds())
        return (
            letter["code"] in (chosen.get("codes") or {letter["code"]})
            and letter["id"] in (chosen.get("ids") or {letter["id"]})
            and (limit is None or attempt < limit)
            and (due is None or tried + wait <= self._now())
        )
