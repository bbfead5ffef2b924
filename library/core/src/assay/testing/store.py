"""What every store guarantees, as tests: a subclass says how to make one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from threading import Barrier

import pytest

from assay.domain.errors import Fenced, Unavailable
from assay.domain.outcome import Outcome
from assay.domain.position import Position, Range
from assay.domain.rescore import position_of
from assay.domain.tally import Tally
from assay.ports.store import Store
from assay.testing.frames import outcome, together, transaction

_HERE = "transactions/0"
_THERE = "transactions/1"


def _commit(store: Store, given: Outcome) -> Tally:
    """Commits as the pump does: what is away for a moment is tried again."""
    for _ in range(100):
        try:
            return store.commit(given)
        except Unavailable:
            continue
    return store.commit(given)


def _ranges(fenced: pytest.ExceptionInfo[Fenced]) -> list[tuple[str, int]]:
    return [(each.partition, each.first) for each in fenced.value.ranges]


class StoreSuite:
    """The port suite of `assay.ports.store.Store`, but for ids. Override `make_store`."""

    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        """Makes stores on the same data, which is empty at first."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, make_store: Callable[[], Store]) -> Store:
        """One of them."""
        return make_store()

    # ------------------------------------------------------------ positions

    def test_a_partition_never_committed_has_no_position(self, store: Store) -> None:
        """Its source decides where it begins."""
        store.commit(outcome(["a"]))
        assert store.positions("files", [_THERE]) == {}
        assert store.positions("other", [_HERE]) == {}
        assert store.positions("files", []) == {}

    def test_a_commit_moves_its_partition_to_the_end_of_the_range(self, store: Store) -> None:
        """The position is the range's `next`, wherever the partition began, holes included."""
        begun = outcome(["a", "b"], first=40)
        store.commit(replace(begun, ranges=(Range(_HERE, 40, 50, 2),)))
        assert store.positions("files", [_HERE]) == {_HERE: Position(50)}
        store.commit(outcome(["c"], first=50))
        assert store.positions("files", [_HERE, _THERE]) == {_HERE: Position(51)}

    def test_partitions_of_one_name_in_two_sources_are_two(self, store: Store) -> None:
        """A position belongs to source and partition."""
        store.commit(outcome(["a", "b"]))
        store.commit(outcome(["c"], source="other"))
        assert store.positions("files", [_HERE]) == {_HERE: Position(2)}
        assert store.positions("other", [_HERE]) == {_HERE: Position(1)}

    def test_all_ranges_of_an_outcome_move(self, store: Store) -> None:
        """An outcome may hold a range of several partitions."""
        both = together(outcome(["a"]), outcome(["b", "c"], partition=_THERE, first=7))
        assert store.commit(both) == Tally(read=3, classified=3)
        assert store.positions("files", [_HERE, _THERE]) == {
            _HERE: Position(1),
            _THERE: Position(9),
        }

    def test_positions_of_another_numbering_are_fenced(self, store: Store) -> None:
        """The same number means another record there; without any, numbers mean the same always."""

        def numbered(rows: list[str], first: int, numbering: str | None) -> Outcome:
            given = outcome(rows, first=first)
            return replace(given, ranges=(replace(given.ranges[0], numbering=numbering),))

        store.commit(outcome(["a"]))
        store.commit(numbered(["b"], 1, "by lines"))
        assert store.positions("files", [_HERE]) == {_HERE: Position(2, numbering="by lines")}
        for other in "by quotes", None:
            with pytest.raises(Fenced):
                store.commit(numbered(["c"], 2, other))
        assert store.commit(numbered(["b"], 1, "by lines")) == Tally(read=1, classified=1)
        assert store.commit(numbered(["c"], 2, "by lines")) == Tally(read=1, classified=1)

    def test_an_outcome_without_ranges_changes_nothing(self, store: Store) -> None:
        """What is left when all ranges have left a chunk may be committed."""
        assert store.commit(outcome(["a"]).without([_HERE])) == Tally()
        assert store.positions("files", [_HERE]) == {}

    # ------------------------------------------------------------ doors

    def test_each_record_is_counted_at_its_door(self, store: Store) -> None:
        """The tally balances; records that need review are counted beside it."""
        unsure = transaction("b", needs_review=True)
        tally = store.commit(outcome(["a", unsure, "c"], rejected=[None, "x"]))
        assert tally == Tally(read=5, classified=3, rejected=2, needs_review=1)
        assert tally.balances

    def test_rejects_may_hold_any_text(self, store: Store) -> None:
        """What is known of a rejected record's id broke the rules, maybe."""
        broken = ["\0", "a\0b", "", "\n\\.\n", '"', "\\N", "x" * 5000]
        assert store.commit(outcome([], rejected=broken)) == Tally(
            read=len(broken), rejected=len(broken)
        )

    def test_what_left_an_outcome_is_not_committed(self, store: Store) -> None:
        """After `without`, the records still hold it; the store does not look."""
        both = together(
            outcome(["a"], rejected=["x"]), outcome(["b"], partition=_THERE, rejected=["y"])
        )
        assert store.commit(both.without([_HERE])) == Tally(read=2, classified=1, rejected=1)
        assert store.positions("files", [_HERE, _THERE]) == {_THERE: Position(2)}

    # ------------------------------------------------------------ once

    def test_an_outcome_that_comes_again_returns_its_tally(self, store: Store) -> None:
        """Nothing is written twice."""
        first = outcome(["a", transaction("b", needs_review=True)], rejected=["x"])
        tally = Tally(read=3, classified=2, rejected=1, needs_review=1)
        assert store.commit(first) == tally
        assert store.commit(first) == tally
        assert store.positions("files", [_HERE]) == {_HERE: Position(3)}
        assert store.recent("files", None, 100) == tally

    @pytest.mark.parametrize(
        "other",
        [
            outcome(["a", "b"], run="run-2"),
            outcome(["a", "b", "c"]),
            outcome(["a"]),
            outcome(["a", "b"], end="finished"),
            outcome(["b"], first=1),
            outcome(["c"], first=3),
        ],
        ids=["run", "longer", "shorter", "end", "inside", "ahead"],
    )
    def test_a_partition_that_stands_elsewhere_is_fenced(
        self, store: Store, other: Outcome
    ) -> None:
        """Another run, another end, and any start but the position are refused as a whole."""
        store.commit(outcome(["a", "b"]))
        with pytest.raises(Fenced) as fenced:
            store.commit(other)
        assert fenced.value.ranges == other.ranges
        assert store.positions("files", [_HERE]) == {_HERE: Position(2)}
        assert store.recent("files", None, 100) == Tally(read=2, classified=2)

    def test_fenced_names_what_is_stored_and_keeps_nothing(self, store: Store) -> None:
        """Where one range is stored and another is not; the other one commits without it."""
        here = outcome(["a"])
        there = outcome(["b"], partition=_THERE, rejected=["x"])
        store.commit(here)
        with pytest.raises(Fenced) as fenced:
            store.commit(together(here, there))
        assert _ranges(fenced) == [(_HERE, 0)]
        assert store.positions("files", [_HERE, _THERE]) == {_HERE: Position(1)}
        rest = together(here, there).without({each.partition for each in fenced.value.ranges})
        assert store.commit(rest) == Tally(read=2, classified=1, rejected=1)

    @pytest.mark.parametrize("begun", [0, 1])
    def test_of_several_owners_of_one_partition_one_wins(
        self, make_store: Callable[[], Store], begun: int
    ) -> None:
        """The others are fenced and nothing of theirs is kept, at its first range and later."""
        if begun:
            make_store().commit(outcome(["z"]))
        start = Barrier(4)

        def race(number: int) -> Tally | Fenced:
            store = make_store()
            start.wait()
            try:
                mine = outcome([f"{number}-a", f"{number}-b"], first=begun, run=f"run-{number}")
                return _commit(store, mine)
            except Fenced as fenced:
                return fenced

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(race, range(4)))
        assert [each for each in results if isinstance(each, Tally)] == [
            Tally(read=2, classified=2)
        ]
        assert make_store().positions("files", [_HERE]) == {_HERE: Position(begun + 2)}
        there_is = Tally(read=begun + 2, classified=begun + 2)
        assert make_store().recent("files", None, 100) == there_is

    # ------------------------------------------------------------ recent

    def test_recent_sums_whole_entries_until_they_reach_enough(self, store: Store) -> None:
        """The latest entries count first, and no more of them than needed."""
        store.commit(outcome(["a", "b"]))
        store.commit(outcome(["c"], first=2, rejected=["x"]))
        store.commit(outcome(["d"], first=4, rejected=["y", "z"]))
        last = Tally(read=3, classified=1, rejected=2)
        before = Tally(read=2, classified=1, rejected=1)
        assert store.recent("files", None, 1) == last
        assert store.recent("files", None, 3) == last
        assert store.recent("files", None, 4) == last + before
        assert store.recent("files", None, 100) == last + before + Tally(read=2, classified=2)

    def test_recent_looks_at_one_source_and_partition(self, store: Store) -> None:
        """Nothing else is summed; where there is nothing, nothing is."""
        store.commit(outcome(["a"]))
        store.commit(outcome(["b", "c"], partition=_THERE))
        store.commit(outcome(["d"], source="other", rejected=["x"]))
        assert store.recent("files", _HERE, 100) == Tally(read=1, classified=1)
        assert store.recent("files", _THERE, 100) == Tally(read=2, classified=2)
        assert store.recent("files", None, 100) == Tally(read=3, classified=3)
        assert store.recent("other", _THERE, 100) == Tally()
        assert store.recent("none", None, 100) == Tally()

    def test_recent_ends_where_rejects_were_accepted(self, store: Store) -> None:
        """A raised limit accepts what is committed under it, and all that came before."""
        store.commit(outcome(["a"]))
        store.commit(outcome([], first=1, rejected=["x"], accepts_rejects=True))
        assert store.recent("files", None, 100) == Tally()
        store.commit(outcome(["b"], first=2, rejected=["y"]))
        assert store.recent("files", None, 100) == Tally(read=2, classified=1, rejected=1)
        assert store.recent("files", _HERE, 100) == Tally(read=2, classified=1, rejected=1)


class IdStoreSuite(StoreSuite):
    """What else a store guarantees that knows ids, and files beside streams."""

    # ------------------------------------------------------------ ends

    def test_a_finished_partition_ends_with_a_range_that_may_be_empty(self, store: Store) -> None:
        """Its position keeps how it ended, and nothing is committed after it."""
        last = outcome([], first=1, end="finished")
        store.commit(outcome(["a"]))
        assert store.commit(last) == Tally()
        assert store.positions("files", [_HERE]) == {_HERE: Position(1, "finished")}
        assert store.commit(last) == Tally()
        with pytest.raises(Fenced) as fenced:
            store.commit(outcome(["b"], first=1))
        assert _ranges(fenced) == [(_HERE, 1)]

    def test_an_abandoned_partition_goes_on_where_it_stands(self, store: Store) -> None:
        """Whoever finds the same version again commits what is left of it."""
        abandoned = outcome(["a"], end="abandoned")
        store.commit(abandoned)
        assert store.commit(abandoned) == Tally(read=1, classified=1)
        assert store.positions("files", [_HERE]) == {_HERE: Position(1, "abandoned")}
        store.commit(outcome(["b"], first=1, run="run-2", end="finished"))
        assert store.positions("files", [_HERE]) == {_HERE: Position(2, "finished")}

    def test_an_empty_partition_ends_where_it_began(self, store: Store) -> None:
        """A file without a record is finished at 0."""
        store.commit(outcome([], end="finished"))
        assert store.positions("files", [_HERE]) == {_HERE: Position(0, "finished")}

    # ------------------------------------------------------------ doors

    def test_a_duplicate_is_counted_at_its_door(self, store: Store) -> None:
        """The tally balances; records that need review are counted beside that."""
        store.commit(outcome(["a"]))
        unsure = transaction("b", needs_review=True)
        tally = store.commit(outcome(["a", unsure, "c"], first=1, rejected=[None, "x"]))
        assert tally == Tally(read=5, classified=2, rejected=2, duplicate=1, needs_review=1)
        assert tally.balances

    def test_a_known_id_with_the_same_content_is_a_duplicate(self, store: Store) -> None:
        """Whatever source, run and model it comes from."""
        store.commit(outcome(["a", "b"]))
        again = transaction(
            "a", model_version="2", category="Home", confidence=0.1, needs_review=True
        )
        other = outcome([again, "b", "c"], source="other", run="run-2")
        assert store.commit(other) == Tally(read=3, classified=1, duplicate=2)

    def test_a_known_id_with_other_content_is_rejected(self, store: Store) -> None:
        """What was committed first stands."""
        store.commit(outcome(["a"]))
        other = transaction("a", amount=Decimal("12.51"))
        assert store.commit(outcome([other, "b"], first=1)) == Tally(
            read=2, classified=1, rejected=1
        )
        assert store.commit(outcome(["a", other], first=3)) == Tally(
            read=2, rejected=1, duplicate=1
        )

    def test_of_one_id_inside_an_outcome_the_first_stands(self, store: Store) -> None:
        """The others are duplicates or rejects by its content, also across partitions."""
        other = transaction("a", description="Another bakery")
        mixed = together(
            outcome(["b", "a", other, "a"]), outcome(["a", other, "c"], partition=_THERE)
        )
        assert store.commit(mixed) == Tally(read=7, classified=3, rejected=2, duplicate=2)
        assert store.commit(outcome(["a", other], first=4)) == Tally(
            read=2, rejected=1, duplicate=1
        )

    def test_what_is_known_stands_before_what_comes(self, store: Store) -> None:
        """A known id is judged by its known content, not by the first record with it."""
        store.commit(outcome(["a"]))
        other = transaction("a", description="Another bakery")
        assert store.commit(outcome([other, "a", other], first=1)) == Tally(
            read=3, rejected=2, duplicate=1
        )

    def test_a_rejected_id_is_not_known(self, store: Store) -> None:
        """The same id may come again and be classified."""
        store.commit(outcome([], rejected=["a"]))
        assert store.commit(outcome(["a"], first=1)) == Tally(read=1, classified=1)

    def test_ids_are_told_apart_by_every_character(self, store: Store) -> None:
        """No folding of case, blanks, accents or normal forms."""
        awkward = ["a", "A", "a a", "a  a", "é", "e\u0301", "\\N", "NULL", '"a"', "a,b", "1", "01"]
        expected = Tally(read=len(awkward), classified=len(awkward))
        assert store.commit(outcome(awkward)) == expected
        again = store.commit(outcome(awkward, source="other"))
        assert again == Tally(read=len(awkward), duplicate=len(awkward))

    def test_ids_that_left_an_outcome_are_not_known(self, store: Store) -> None:
        """After `without`, the records still hold them; the store does not look."""
        both = together(outcome(["a"]), outcome(["b"], partition=_THERE))
        store.commit(both.without([_HERE]))
        assert store.commit(outcome(["a", "b"])) == Tally(read=2, classified=1, duplicate=1)

    def test_of_a_rescore_predictions_alone_are_kept(self, store: Store) -> None:
        """One for each version; transactions stay as they are, and rejects leave no trace."""
        store.commit(outcome(["a", "b"]))
        # The numbers of what the first ledger entry holds, in the order of their ids.
        first = position_of(1)
        unsure = [transaction(each, model_version="2", needs_review=each == "b") for each in "ab"]
        rescored = outcome(unsure, source="rescore/linear/2", first=first, rejected=["c"])
        tally = Tally(read=3, classified=2, rejected=1, needs_review=1)
        assert store.commit(rescored) == tally
        assert store.commit(rescored) == tally
        again = outcome(unsure, source="rescore/linear/2", partition=_THERE, first=first)
        assert store.commit(again) == Tally(read=2, duplicate=2)
        renamed = [transaction("a", model_name="tree"), "b"]
        tally = Tally(read=2, classified=1, duplicate=1)
        assert store.commit(outcome(renamed, source="rescore/tree/1", first=first)) == tally
        later = outcome(["a", "b", "c"], source="later")
        assert store.commit(later) == Tally(read=3, classified=1, duplicate=2)

    # ------------------------------------------------------------ once

    def test_a_repeated_commit_returns_the_stored_tally(
        self, make_store: Callable[[], Store]
    ) -> None:
        """Also later, and after a restart; nothing is written twice."""
        first = outcome(["a", transaction("b", needs_review=True)], rejected=["x"])
        tally = Tally(read=3, classified=2, rejected=1, needs_review=1)
        assert make_store().commit(first) == tally
        assert make_store().commit(first) == tally
        make_store().commit(outcome(["c"], first=3))
        assert make_store().commit(first) == tally
        assert make_store().positions("files", [_HERE]) == {_HERE: Position(4)}
        assert make_store().recent("files", None, 100) == tally + Tally(read=1, classified=1)

    def test_several_ranges_repeated_return_their_sum(self, store: Store) -> None:
        """Even where they were committed one by one."""
        here, there = outcome(["a"]), outcome(["b", "a"], partition=_THERE)
        store.commit(here)
        store.commit(there)
        assert store.commit(together(here, there)) == Tally(read=3, classified=2, duplicate=1)

    def test_what_a_fenced_owner_brought_is_not_known(self, store: Store) -> None:
        """Its ids may come from elsewhere and be classified."""
        store.commit(outcome(["a"]))
        with pytest.raises(Fenced):
            store.commit(outcome(["b", "c"], run="run-2"))
        later = outcome(["a", "b", "c"], source="later")
        assert store.commit(later) == Tally(read=3, classified=2, duplicate=1)

    def test_an_id_that_several_commit_at_once_is_kept_once(
        self, make_store: Callable[[], Store]
    ) -> None:
        """In whatever order the ids come: one classifies, the others see a duplicate."""
        ids = [f"id-{number:04}" for number in range(300)]
        start = Barrier(4)

        def commit(number: int) -> Tally:
            store = make_store()
            mine = ids if number % 2 else ids[::-1]
            start.wait()
            return _commit(store, outcome(mine, partition=f"transactions/{number}"))

        with ThreadPoolExecutor(4) as pool:
            total = sum(pool.map(commit, range(4)), Tally())
        assert total == Tally(read=1200, classified=300, duplicate=900)
