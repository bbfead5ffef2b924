"""Records that share an id, sorted by what stands under it."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.settle import KNOWN, nothing_known, settle


def _frame(pairs: list[tuple[str, bytes]]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=KNOWN, orient="row").with_row_index("row")


def test_distinct_ids_are_all_new() -> None:
    """Where nothing is known and no id repeats, all is new."""
    classified = _frame([("a", b"1"), ("b", b"1")])
    new, duplicates, conflicts = settle(classified, nothing_known())
    assert new.equals(classified)
    assert duplicates.is_empty()
    assert conflicts.is_empty()


def test_the_first_of_several_stands() -> None:
    """Of several records with one id the first stands, and the others are held against it."""
    classified = _frame([("a", b"1"), ("b", b"1"), ("a", b"2"), ("a", b"1")])
    new, duplicates, conflicts = settle(classified, nothing_known())
    assert new["row"].to_list() == [0, 1]
    assert duplicates["row"].to_list() == [3]
    assert conflicts["row"].to_list() == [2]


def test_what_is_known_stands_before_what_comes() -> None:
    """A known id is judged by its known content, not by the first record that comes with it."""
    classified = _frame([("a", b"2"), ("a", b"1"), ("a", b"2")])
    new, duplicates, conflicts = settle(classified, _frame([("a", b"1")]).drop("row"))
    assert new.is_empty()
    assert duplicates["row"].to_list() == [1]
    assert conflicts["row"].to_list() == [0, 2]


_PAIRS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([b"1", b"2"])))


@given(pairs=_PAIRS, known=st.dictionaries(st.sampled_from("abc"), st.sampled_from([b"1", b"2"])))
def test_each_record_gets_the_verdict_of_a_plain_loop(
    pairs: list[tuple[str, bytes]], known: dict[str, bytes]
) -> None:
    """Sorting whole columns and going through the records one by one agree; no row is lost."""
    standing = dict(known)
    doors: tuple[list[int], ...] = ([], [], [])
    for row, (key, content) in enumerate(pairs):
        new = key not in standing
        standing.setdefault(key, content)
        doors[0 if new else 1 if standing[key] == content else 2].append(row)
    settled = settle(_frame(pairs), _frame(list(known.items())).drop("row"))
    assert tuple(door["row"].to_list() for door in settled) == doors
