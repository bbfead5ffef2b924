"""What claims of letters guarantee to redrives, as tests: a subclass says how to make them."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any, Protocol

import polars as pl
import pytest

from assay.domain.choice import Filter
from assay.domain.errors import Fatal, Fenced, Unavailable
from assay.domain.outcome import Outcome
from assay.domain.position import Range
from assay.domain.reject import LETTERS, REDRIVE
from assay.domain.tally import Tally
from assay.ports.letters import Letters
from assay.ports.selection import Selection
from assay.ports.store import Store
from assay.testing.frames import outcome, transaction

_LONG = timedelta(hours=1)
_OVER = timedelta(0)
_TO = "memory:errors"


class MakeSelection(Protocol):
    """Makes what a redrive claims letters with, on the data of the store."""

    def __call__(
        self, run_id: str, *, lease: timedelta, edits: Mapping[str, str] = ...
    ) -> Selection:
        """For the run of this name, whose claims others leave alone for as long as the lease."""
        ...


def _anything(_: Mapping[str, int]) -> None:
    pass


def _claim(selection: Selection, limit: int | None = None, **chosen: Any) -> int:
    while True:
        try:
            return selection.claim(Filter(**chosen), limit, _anything)
        except Unavailable:
            continue


def _ids(page: pl.DataFrame) -> list[str | None]:
    return page["transaction_id"].to_list()


def _tried(run: str, *rows: str | Mapping[str, Any], first: int = 0, **given: Any) -> Outcome:
    """What became of letters of a redrive, in the order of their numbers: rejects come last."""
    return outcome(list(rows), first=first, run=run, source=REDRIVE, partition=run, **given)


class SelectionSuite:
    """The port suite of `assay.ports.selection.Selection`, and of a store's commits under a claim.

    Override `store`, `letters` and `make_selection`; say in `facts` how to look.
    """

    @pytest.fixture
    def store(self) -> Store:
        """A store that is empty, where letters come from."""
        raise NotImplementedError

    @pytest.fixture
    def letters(self, store: Store) -> Letters:
        """Its letters as a relay sees them."""
        raise NotImplementedError

    @pytest.fixture
    def make_selection(self, store: Store) -> MakeSelection:
        """Makes selections on that store's data."""
        raise NotImplementedError

    def facts(self, store: Store) -> list[tuple[object, ...]]:
        """Id, state, code, attempt and run of every letter, in the order of their commits."""
        raise NotImplementedError

    def actions(self, store: Store) -> list[tuple[object, ...]]:
        """Letter's id, action, code before it, run and edits of all that was done, in order."""
        raise NotImplementedError

    # ------------------------------------------------------------ claims

    def test_a_claim_holds_open_letters_in_the_order_of_their_commits(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """With every column, from any number on, and no more at once than asked for."""
        store.commit(outcome(["a"], rejected=["x", "y", None], source="zz"))
        store.commit(outcome([], rejected=["z"]))
        selection = make_selection("r", lease=_LONG)
        assert _claim(selection) == 4
        page = selection.page(0, 10)
        assert page.schema == LETTERS
        assert _ids(page) == ["x", "y", None, "z"]
        assert page["raw"].to_list() == [b"record 1", b"record 2", b"record 3", b"record 0"]
        assert _ids(selection.page(1, 2)) == ["y", None]
        assert _ids(selection.page(4, 2)) == []

    def test_a_limit_takes_the_first(self, store: Store, make_selection: MakeSelection) -> None:
        """The others stay free."""
        store.commit(outcome([], rejected=["x", "y", "z"]))
        assert _claim(make_selection("r", lease=_LONG), 2) == 2
        assert _claim(make_selection("s", lease=_LONG)) == 1

    def test_what_cannot_be_read_prevents_the_claim(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """It is asked with what would be claimed by source; nothing is claimed if it raises."""
        store.commit(outcome([], rejected=["x", "y"]))
        store.commit(outcome([], rejected=["z"], source="topic"))
        told: list[Mapping[str, int]] = []

        def refuse(sources: Mapping[str, int]) -> None:
            told.append(dict(sources))
            raise Fatal("no")

        with pytest.raises(Fatal):
            make_selection("r", lease=_LONG).claim({}, None, refuse)
        assert told == [{"files": 2, "topic": 1}]
        assert _claim(make_selection("s", lease=_LONG)) == 3

    def test_nobody_takes_what_is_claimed(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """Until it is freed; freeing what is not held does nothing."""
        store.commit(outcome([], rejected=["x", "y"]))
        one, two = make_selection("one", lease=_LONG), make_selection("two", lease=_LONG)
        assert _claim(one) == 2
        assert _claim(two) == 0
        two.free()
        assert _ids(one.page(0, 2)) == ["x", "y"]
        one.free()
        assert _claim(make_selection("three", lease=_LONG)) == 2
        with pytest.raises(Fenced):
            one.page(0, 2)

    def test_a_claim_whose_lease_is_over_is_lost_to_the_next(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """Until somebody claims it is the run's own, and can be renewed."""
        store.commit(outcome([], rejected=["x"]))
        gone = make_selection("gone", lease=_OVER)
        assert _claim(gone) == 1
        gone.renew()
        assert _ids(gone.page(0, 1)) == ["x"]
        assert _claim(make_selection("next", lease=_LONG)) == 1
        with pytest.raises(Fenced):
            gone.renew()
        with pytest.raises(Fenced):
            gone.page(0, 1)

    def test_of_several_that_claim_at_once_each_letter_goes_to_one(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """And none is left behind."""
        store.commit(outcome([], rejected=[str(number) for number in range(50)]))
        start = Barrier(4)

        def claim(number: int) -> list[str | None]:
            selection = make_selection(f"r{number}", lease=_LONG)
            start.wait()
            return _ids(selection.page(0, 50)) if _claim(selection, 20) else []

        with ThreadPoolExecutor(4) as pool:
            shares = list(pool.map(claim, range(4)))
        assert sorted(int(each or "") for share in shares for each in share) == list(range(50))

    def test_letters_are_chosen_by_what_is_known_of_them(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """By code, id and attempts; closed ones never."""
        store.commit(outcome(["a"]))
        other = transaction("a", description="Another bakery")
        store.commit(outcome([other], first=1, rejected=["x", "y"]))
        selection = make_selection("r", lease=_LONG)
        named = [each[0] for each in self.facts(store) if each[2] == "missing_side"]
        assert _claim(selection, codes=["missing_side", "other"], ids=named[1:]) == 1
        selection.free()
        selection = make_selection("s", lease=_LONG)
        assert _claim(selection, codes=["missing_side"], max_attempts=2) == 2
        assert store.commit(_tried("s", "x", rejected=["y"])).balances
        selection.free()
        selection = make_selection("t", lease=_LONG)
        assert _claim(selection, codes=["missing_side"], max_attempts=2) == 0
        selection.free()
        selection = make_selection("u", lease=_LONG)
        assert _claim(selection, codes=["missing_side"], due=timedelta(hours=1)) == 0
        selection.free()
        assert _claim(make_selection("v", lease=_LONG), codes=["missing_side"], due=_OVER) == 1

    # ------------------------------------------------------------ commits under a claim

    def test_a_commit_settles_the_letters(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """Classified and known ones are closed, the others open with one attempt more."""
        store.commit(outcome(["a"]))
        same, other = transaction("a"), transaction("a", description="Another bakery")
        store.commit(outcome([], first=1, rejected=["w", "x", "y", "z"]))
        selection = make_selection("r", lease=_LONG, edits={"side": "debit"})
        assert _claim(selection) == 4
        tried = _tried("r", "w", same, other, rejected=["z"], end="finished")
        assert store.commit(tried) == Tally(read=4, classified=1, rejected=2, duplicate=1)
        assert [each[1:] for each in self.facts(store)] == [
            ("closed", "missing_side", 1, "run-1"),
            ("closed", "missing_side", 1, "run-1"),
            ("open", "conflicting_duplicate", 2, "r"),
            ("open", "missing_side", 2, "r"),
        ]
        edits = {"side": "debit"}
        assert [each[1:] for each in self.actions(store)] == [
            ("closed", "missing_side", "r", edits),
            ("closed", "missing_side", "r", edits),
            ("failed", "missing_side", "r", edits),
            ("failed", "missing_side", "r", edits),
        ]

    def test_a_repeated_commit_changes_nothing(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """Also when the claim is given back, and the letters have been taken by another."""
        store.commit(outcome([], rejected=["x", "y"]))
        selection = make_selection("r", lease=_LONG)
        _claim(selection)
        tried = _tried("r", "x", rejected=["y"])
        tally = store.commit(tried)
        assert store.commit(tried) == tally
        selection.free()
        assert _claim(make_selection("s", lease=_LONG)) == 1
        assert store.commit(tried) == tally
        assert [each[1:4] for each in self.facts(store)] == [
            ("closed", "missing_side", 1),
            ("open", "missing_side", 2),
        ]
        assert len(self.actions(store)) == 2

    def test_letters_are_settled_chunk_by_chunk(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """Each commit those of its own range; the rest is claimed still."""
        store.commit(outcome([], rejected=["x", "y", "z"]))
        selection = make_selection("r", lease=_LONG)
        _claim(selection)
        store.commit(_tried("r", rejected=["x", "y"]))
        assert _ids(selection.page(2, 5)) == ["z"]
        store.commit(_tried("r", "z", first=2, end="finished"))
        assert [each[1:4] for each in self.facts(store)] == [
            ("open", "missing_side", 2),
            ("open", "missing_side", 2),
            ("closed", "missing_side", 1),
        ]

    def test_without_a_claim_nothing_is_committed(
        self, store: Store, make_selection: MakeSelection
    ) -> None:
        """Where there never was one, it was given back, or another has taken the letters."""
        store.commit(outcome([], rejected=["x"]))
        before = self.facts(store)
        lost = make_selection("lost", lease=_OVER)
        _claim(lost)
        freed = make_selection("freed", lease=_LONG)
        _claim(freed)
        freed.free()
        for run in "lost", "freed", "never":
            with pytest.raises(Fenced) as fenced:
                store.commit(_tried(run, "x"))
            assert fenced.value.ranges == (Range(run, 0, 1, 1),)
            assert store.positions(REDRIVE, [run]) == {}
        assert self.facts(store) == before
        assert store.commit(outcome(["x"], source="other")) == Tally(read=1, classified=1)

    def test_a_commit_renews_the_lease(self, store: Store, make_selection: MakeSelection) -> None:
        """Whoever commits in time is never interrupted."""
        store.commit(outcome([], rejected=["x", "y"]))
        selection = make_selection("r", lease=_LONG)
        _claim(selection)
        self.expire(store, "r")
        store.commit(_tried("r", "x"))
        assert _claim(make_selection("s", lease=_LONG)) == 0
        self.expire(store, "r")
        assert _claim(make_selection("s2", lease=_LONG)) == 1

    def expire(self, store: Store, run_id: str) -> None:
        """Lets the lease of a run's claim be over."""
        raise NotImplementedError

    # ------------------------------------------------------------ published again

    def test_a_letter_that_failed_again_is_published_again(
        self, store: Store, letters: Letters, make_selection: MakeSelection
    ) -> None:
        """With its new attempt, where it went before; one that is closed is not."""
        store.commit(outcome([], rejected=["x", "y"]))
        while (claim := letters.claim(_TO, 1)) is not None:
            letters.stamp(claim, "there")
        _claim(make_selection("r", lease=_LONG))
        store.commit(replace(_tried("r", "x", rejected=["y"]), destination="elsewhere"))
        again = letters.claim(_TO, 10)
        assert again is not None
        assert again.letters.select("source", "position", "attempt", "run_id").rows() == [
            ("files", 1, 2, "r")
        ]
        letters.stamp(again, "there")
        assert letters.claim(_TO, 10) is None

    def test_a_relay_that_was_at_it_stamps_the_old_attempt_only(
        self, store: Store, letters: Letters, make_selection: MakeSelection
    ) -> None:
        """What it published of the letter is not the new attempt."""
        store.commit(outcome([], rejected=["x", "y"]))
        old = letters.claim(_TO, 10)
        assert old is not None
        _claim(make_selection("r", lease=_LONG), 1)
        store.commit(_tried("r", rejected=["x"]))
        letters.stamp(old, "there")
        new = letters.claim(_TO, 10)
        assert new is not None
        assert new.letters.select("position", "attempt").rows() == [(0, 2)]
        assert new.name != old.name
