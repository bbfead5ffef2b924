"""What dead letters guarantee to relays, as tests: a subclass says how to make them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Protocol

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assay.domain.errors import Unavailable
from assay.domain.outcome import letters as letters_of
from assay.domain.reject import LETTERS
from assay.ports.letters import Claim, Letters
from assay.ports.store import Store
from assay.testing.frames import outcome, together

_LONG = timedelta(hours=1)
_OVER = timedelta(0)
_TO = "memory:errors"


class MakeLetters(Protocol):
    """Makes letters on the data of the store, for a relay of this name."""

    def __call__(self, relay: str, *, lease: timedelta) -> Letters:
        """Letters whose claims others leave alone for as long as the lease."""
        ...


def _claim(letters: Letters, limit: int = 100) -> Claim:
    claim = letters.claim(_TO, limit)
    assert claim is not None
    return claim


def _same(one: Claim, other: Claim) -> bool:
    return one.name == other.name and one.letters.equals(other.letters)


class LettersSuite:
    """The port suite of `assay.ports.letters.Letters`. Override `store` and `make_letters`."""

    @pytest.fixture
    def store(self) -> Store:
        """A store that is empty, where letters come from."""
        raise NotImplementedError

    @pytest.fixture
    def make_letters(self, store: Store) -> MakeLetters:
        """Makes letters on that store's data."""
        raise NotImplementedError

    @pytest.fixture
    def letters(self, make_letters: MakeLetters) -> Letters:
        """The letters as the relay `one` sees them."""
        return make_letters("one", lease=_LONG)

    def test_where_none_wait_there_is_no_claim(self, store: Store, letters: Letters) -> None:
        """Neither without letters, nor where all are for another destination."""
        store.commit(outcome(["a"]))
        store.commit(outcome([], first=1, rejected=["x"], destination="elsewhere"))
        assert letters.claim(_TO, 10) is None

    def test_a_claim_holds_the_letters_as_they_were_committed(
        self, store: Store, letters: Letters
    ) -> None:
        """Every column and byte, those that no text could hold included."""
        blob = bytes(range(256))
        plain = outcome(["a"], rejected=[None, "☕\n\\.\n", '"', "\\N", ""])
        given = replace(
            plain,
            headers={"transactions/0": blob},
            records=plain.records.with_columns(
                key=pl.Series([None, b"", blob, b"k", None, b"k"]),
                raw=pl.Series([b"", b"", blob, b"\\x00", b"\0", b"\n"]),
                sha256=pl.Series([None, None, blob[:32], None, None, None]),
            ),
        )
        store.commit(given)
        assert_frame_equal(_claim(letters).letters, letters_of(given, given.rejects))

    def test_letters_come_in_order_and_no_more_than_asked_for(
        self, store: Store, letters: Letters
    ) -> None:
        """In order of source, partition and position, whenever they were committed."""
        store.commit(outcome([], rejected=["x", "y"], source="zz"))
        store.commit(
            together(
                outcome([], rejected=["x", "y"], partition="b"),
                outcome([], rejected=["x"] * 11, partition="a"),
            )
        )
        first = _claim(letters, 12)
        assert first.letters.schema == LETTERS
        origins = first.letters.select("source", "partition", "position").rows()
        assert origins == [("files", "a", number) for number in range(11)] + [("files", "b", 0)]
        letters.stamp(first, "there")
        second = _claim(letters, 12)
        assert second.letters.select("source", "partition", "position").rows() == [
            ("files", "b", 1),
            ("zz", "transactions/0", 0),
            ("zz", "transactions/0", 1),
        ]
        assert first.name != second.name

    def test_destinations_are_those_where_letters_wait(
        self, store: Store, letters: Letters
    ) -> None:
        """In order, each once, of those that begin as asked for; claimed ones wait, too."""
        for number, to in enumerate([_TO, "s3://b/2", "s3://b/1", "s3://a%", "s3://b/1"]):
            store.commit(outcome([], first=number, rejected=["x"], destination=to))
        assert letters.destinations("s3:") == ["s3://a%", "s3://b/1", "s3://b/2"]
        assert letters.destinations("s3://a%") == ["s3://a%"]
        assert letters.destinations("s3://_") == []
        claim = _claim(letters)
        assert letters.destinations("mem") == [_TO]
        letters.stamp(claim, "there")
        assert letters.destinations("mem") == []

    def test_a_stamped_claim_is_done(self, store: Store, letters: Letters) -> None:
        """Its letters never come again, also if it is stamped twice."""
        store.commit(outcome([], rejected=["x", "y"]))
        claim = _claim(letters)
        letters.stamp(claim, "there")
        letters.stamp(claim, "there")
        assert letters.claim(_TO, 10) is None

    def test_a_claim_never_stamped_comes_again(
        self, store: Store, make_letters: MakeLetters
    ) -> None:
        """At once to the same relay, started anew or not, whatever it asks for and what is new."""
        store.commit(outcome([], rejected=["x", "y", "z"]))
        claim = _claim(make_letters("one", lease=_LONG), 2)
        store.commit(outcome([], source="another", rejected=["w"]))
        assert _same(claim, _claim(make_letters("one", lease=_LONG), 1))
        assert _same(claim, _claim(make_letters("one", lease=_LONG), 10))

    def test_a_leased_claim_is_left_alone(self, store: Store, make_letters: MakeLetters) -> None:
        """Another relay gets other letters, or none."""
        store.commit(outcome([], rejected=["x", "y", "z"]))
        one, two = make_letters("one", lease=_LONG), make_letters("two", lease=_LONG)
        mine, other = _claim(one, 2), _claim(two, 2)
        assert mine.letters["transaction_id"].to_list() == ["x", "y"]
        assert other.letters["transaction_id"].to_list() == ["z"]
        assert mine.name != other.name
        assert make_letters("three", lease=_LONG).claim(_TO, 2) is None
        two.stamp(other, "there")
        assert two.claim(_TO, 2) is None
        assert _same(mine, _claim(one, 2))

    def test_a_claim_whose_lease_is_over_goes_to_another_relay(
        self, store: Store, make_letters: MakeLetters
    ) -> None:
        """With the same name and letters; it is then leased to that one."""
        store.commit(outcome([], rejected=["x", "y", "z"]))
        claim = _claim(make_letters("one", lease=_OVER), 2)
        assert _same(claim, _claim(make_letters("two", lease=_LONG), 1))
        other = _claim(make_letters("one", lease=_LONG), 2)
        assert other.letters["transaction_id"].to_list() == ["z"]

    def test_what_is_set_aside_holds_up_no_other(
        self, store: Store, make_letters: MakeLetters
    ) -> None:
        """The rest of its claim is published; it comes to nobody before a lease is over."""
        store.commit(outcome([], rejected=["x", "y", "z"]))
        letters = make_letters("one", lease=_LONG)
        rest = letters.set_aside(_claim(letters), [1])
        assert rest.letters["transaction_id"].to_list() == ["x", "z"]
        letters.stamp(rest, "there")
        store.commit(outcome([], first=3, rejected=["v"]))
        new = _claim(letters)
        assert new.letters["transaction_id"].to_list() == ["v"]
        letters.stamp(new, "there")
        for relay in ("one", "two"):
            assert make_letters(relay, lease=_LONG).claim(_TO, 10) is None
        assert letters.destinations("mem") == [_TO]

    def test_what_was_set_aside_comes_again(self, store: Store, make_letters: MakeLetters) -> None:
        """When a lease is over, to whoever asks, alone and under another name."""
        store.commit(outcome([], rejected=["x", "y"]))
        letters = make_letters("one", lease=_OVER)
        claim = _claim(letters)
        letters.stamp(letters.set_aside(claim, [0]), "there")
        for relay in ("two", "one"):
            again = _claim(make_letters(relay, lease=_OVER))
            assert again.name != claim.name
            assert again.letters["transaction_id"].to_list() == ["x"]
            letters.stamp(claim, "there")
        letters.stamp(_claim(letters), "there")
        assert letters.claim(_TO, 10) is None

    def test_what_is_given_back_goes_to_another_relay(
        self, store: Store, make_letters: MakeLetters
    ) -> None:
        """At once, with the same name and letters; what others have claimed stays theirs."""
        store.commit(outcome([], rejected=["x", "y", "z"]))
        one, two = make_letters("one", lease=_LONG), make_letters("two", lease=_LONG)
        mine, other = _claim(one, 2), _claim(two, 2)
        one.give_back()
        three = make_letters("three", lease=_LONG)
        assert _same(mine, _claim(three))
        three.stamp(mine, "there")
        assert three.claim(_TO, 10) is None
        assert _same(other, _claim(two))

    def test_relays_at_the_same_time_share_the_letters(
        self, store: Store, make_letters: MakeLetters
    ) -> None:
        """Each letter goes to one of them, and none is left behind."""
        store.commit(outcome([], rejected=[str(number) for number in range(200)]))

        def relay(number: int) -> list[str]:
            letters = make_letters(f"relay-{number}", lease=_LONG)
            got: list[str] = []
            while True:
                try:
                    claim = letters.claim(_TO, 7)
                    if claim is None:
                        return got
                    letters.stamp(claim, f"place-{number}")
                except Unavailable:
                    continue
                got.extend(claim.letters["transaction_id"])

        with ThreadPoolExecutor(4) as pool:
            shares = list(pool.map(relay, range(4)))
        every = sorted(int(each) for share in shares for each in share)
        assert every == list(range(200))

    def test_a_claim_whose_lease_is_over_goes_to_one_relay(
        self, store: Store, make_letters: MakeLetters
    ) -> None:
        """Of several that ask at the same time."""
        gone = make_letters("gone", lease=_OVER)
        relays = [make_letters(f"relay-{number}", lease=_LONG) for number in range(4)]
        start = Barrier(4)

        def ask(letters: Letters) -> Claim | None:
            start.wait()
            while True:
                try:
                    return letters.claim(_TO, 10)
                except Unavailable:
                    continue

        with ThreadPoolExecutor(4) as pool:
            for turn in range(10):
                store.commit(outcome([], first=3 * turn, rejected=["x", "y", "z"]))
                claim = _claim(gone)
                got = [each for each in pool.map(ask, relays) if each is not None]
                assert [each.name for each in got] == [claim.name]
                assert _same(claim, got[0])
                gone.stamp(claim, "there")
