"""A store of dictionaries: the same guarantees as the real one, for as long as the process lives.

Written row by row and apart from the real one on purpose: it is the model that the pump's tests
compare with.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import polars as pl

from assay.domain.errors import Fenced
from assay.domain.outcome import Outcome, letters
from assay.domain.position import Partition, Position, Positions, Range
from assay.domain.reject import LETTERS, REDRIVE, RENEWED, faults
from assay.domain.rescore import is_rescore
from assay.domain.tally import Tally
from assay.memory.faults import Faults
from assay.ports.selection import LOST


@dataclass(frozen=True)
class Entry:
    """One ledger entry."""

    source: str
    range: Range
    tally: Tally
    run_id: str
    accepts_rejects: bool


@dataclass
class Taken:
    """A redrive's claim.

    Attributes:
        letters: the origins of its letters by their numbers.
        now: seconds on a monotonic clock.
        lease: seconds.
        until: when the lease runs out.
        note: by whom and with which edits.
    """

    letters: Sequence[tuple[str, str, int]]
    now: Callable[[], float]
    lease: float
    note: Mapping[str, object]
    until: float = 0

    def renew(self) -> None:
        """Begins the lease anew."""
        self.until = self.now() + self.lease


@dataclass
class MemoryStore:
    """Transactions by id, dead letters by origin, the ledger in order of commit, positions.

    Attributes:
        predictions: what rescores have added to the transactions' own predictions, by transaction,
            model and version.
        leases: relay and end of each claim of letters; see `assay.memory.letters`.
        redrives: the claims of redrives by their runs; see `assay.memory.selection`.
        actions: what redrives have done with letters, in order.
        lock: held while anything above is changed.
        faults: at `positions`, `recent`, `commit` and `commit.done`.
    """

    transactions: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    predictions: dict[tuple[str, str, str], dict[str, object]] = field(
        default_factory=dict[tuple[str, str, str], dict[str, object]]
    )
    letters: dict[tuple[str, str, int], dict[str, object]] = field(
        default_factory=dict[tuple[str, str, int], dict[str, object]]
    )
    ledger: list[Entry] = field(default_factory=list[Entry])
    stands: dict[tuple[str, Partition], Position] = field(
        default_factory=dict[tuple[str, Partition], Position]
    )
    faults: Faults = field(default_factory=Faults)
    leases: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    redrives: dict[str, Taken] = field(default_factory=dict[str, Taken])
    actions: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    lock: threading.RLock = field(default_factory=threading.RLock)

    def positions(self, source: str, partitions: Sequence[Partition]) -> Positions:
        """Where each of these partitions stands."""
        self.faults.at("positions")
        asked = ((each, self.stands.get((source, each))) for each in partitions)
        return {partition: position for partition, position in asked if position is not None}

    def recent(self, source: str, partition: Partition | None, records: int) -> Tally:
        """The sum of the latest ledger entries that reach that many records together."""
        self.faults.at("recent")
        total = Tally()
        for entry in reversed(self.ledger):
            of_it = entry.source == source and partition in {None, entry.range.partition}
            if of_it and (entry.accepts_rejects or total.read >= records):
                break
            total += entry.tally if of_it else Tally()
        return total

    def commit(self, outcome: Outcome) -> Tally:
        """Sorts the outcome by what the store knows, and keeps it, all at once."""
        self.faults.at("commit")
        with self.lock:
            tally = self._stored(outcome) or self._keep(outcome)
        self.faults.at("commit.done")
        return tally

    def _stored(self, outcome: Outcome) -> Tally | None:
        """The stored tally of a repeated commit; None where it is new; else raises `Fenced`."""
        elsewhere = [
            each
            for each in outcome.ranges
            if not each.follows(
                self.stands.get((outcome.source, each.partition), Position(each.first))
            )
        ]
        if not elsewhere:
            return None
        own = [
            entry.tally
            for entry in self.ledger
            if (entry.source, entry.run_id) == (outcome.source, outcome.run_id)
            and entry.range in outcome.ranges
        ]
        if len(own) == len(outcome.ranges):
            return sum(own, Tally())
        raise Fenced(elsewhere)

    def _keep(self, outcome: Outcome) -> Tally:
        if outcome.source == REDRIVE:
            self._hold(outcome)
        of = outcome.records["partition"]
        tallies = {each.partition: Tally(read=each.read) for each in outcome.ranges}

        def count(row: int, door: Tally) -> None:
            tallies[of[row]] += door

        conflicts: list[int] = []
        for row in outcome.classified.iter_rows(named=True):
            if is_rescore(outcome.source):
                door = self._predict(row)
            else:
                door = self._classify(row, of[row["row"]], outcome.run_id)
            if door is None:
                conflicts.append(row["row"])
            else:
                count(row["row"], door)
        conflicting = outcome.classified.filter(pl.col("row").is_in(conflicts)).select(
            "row",
            "transaction_id",
            code=pl.lit("conflicting_duplicate"),
            field=pl.lit("transaction_id"),
            message=pl.lit("this id is known with other content"),
        )
        rejects = pl.concat([outcome.rejects, faults(conflicting, stage="commit")])
        for row in rejects["row"]:
            count(row, Tally(rejected=1))
        self._keep_letters(outcome, rejects)
        for each in outcome.ranges:
            self.stands[outcome.source, each.partition] = each.position
            self.ledger.append(
                Entry(
                    outcome.source,
                    each,
                    tallies[each.partition],
                    outcome.run_id,
                    outcome.accepts_rejects,
                )
            )
        return sum(tallies.values(), Tally())

    def _classify(
        self, row: Mapping[str, object], partition: Partition, run_id: str
    ) -> Tally | None:
        """Keeps a transaction with its prediction, and says which door it took; None: conflict."""
        known = self.transactions.get(cast(str, row["transaction_id"]))
        if known is None:
            origin: dict[str, object] = {"partition": partition, "run_id": run_id}
            self.transactions[cast(str, row["transaction_id"])] = origin | dict(row)
            return Tally(classified=1, needs_review=int(cast(bool, row["needs_review"])))
        return Tally(duplicate=1) if known["content_hash"] == row["content_hash"] else None

    def _keep_letters(self, outcome: Outcome, rejects: pl.DataFrame) -> None:
        if is_rescore(outcome.source):
            return
        made = letters(outcome, rejects).select(LETTERS.names()).iter_rows(named=True)
        if outcome.source == REDRIVE:
            self._close(outcome, {letter["position"]: letter for letter in made})
            return
        for letter in made:
            kept: dict[str, object] = {**letter, "state": "open", "id": len(self.letters) + 1}
            self.letters[letter["source"], letter["partition"], letter["position"]] = kept

    def _predict(self, row: Mapping[str, object]) -> Tally:
        """Keeps a prediction beside the others of its transaction, and says which door it took."""
        model = row["model_name"], row["model_version"]
        own = self.transactions.get(cast(str, row["transaction_id"]), {})
        key = cast(tuple[str, str, str], (row["transaction_id"], *model))
        if key in self.predictions or (own.get("model_name"), own.get("model_version")) == model:
            return Tally(duplicate=1)
        self.predictions[key] = dict(row)
        return Tally(classified=1, needs_review=int(cast(bool, row["needs_review"])))

    def _hold(self, outcome: Outcome) -> None:
        """Renews the claim that an outcome of a redrive rests on, or raises `Fenced`."""
        claim = self.redrives.get(outcome.run_id)
        if claim is None:
            raise Fenced(outcome.ranges, LOST)
        claim.renew()

    def _close(self, outcome: Outcome, again: Mapping[int, Mapping[str, object]]) -> None:
        """Closes the letters of a redrive's records, but for those that were rejected again."""
        claim = self.redrives[outcome.run_id]
        for number in outcome.records["position"]:
            letter = self.letters[claim.letters[number]]
            action = "failed" if number in again else "closed"
            self.actions.append(
                {
                    "letter": letter["id"],
                    "action": action,
                    "run_id": outcome.run_id,
                    "code": letter["code"],
                    **claim.note,
                }
            )
            letter["tried_at"] = claim.now()
            if number not in again:
                letter["state"] = "closed"
                continue
            attempt, name = letter["attempt"], letter["transaction_id"]
            letter |= {each: again[number][each] for each in RENEWED}
            letter["attempt"] = cast(int, attempt) + 1
            letter["transaction_id"] = name or again[number]["transaction_id"]
            letter.pop("claim", None)
            letter.pop("place", None)
