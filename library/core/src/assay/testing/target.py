"""What every target guarantees, as tests: a subclass says how to make one and what it holds."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from assay.ports.target import Target
from assay.testing.frames import outcome, together, transaction

_AWKWARD = (
    'line\nbreak\ttab "quotes" \\backslash',
    "\u2028 \u202eright to left \U0001f469\u200d\U0001f467 e\u0301",
    "<script>alert(1)</script> {} [] null NaN ${HOME} %s",
    "x" * 1024,
)
"""Descriptions that are valid all the same."""


class TargetSuite:
    """The port suite of `assay.ports.target.Target`. Override `target` and `held`.

    What each record becomes is asked for by its id, and that it is there once.
    """

    @pytest.fixture
    def target(self) -> Target:
        """One that holds nothing yet."""
        raise NotImplementedError

    def held(self, target: Target) -> Mapping[str, Mapping[str, Any]]:
        """What it holds: by id `description`, `amount` as text, and `category`."""
        raise NotImplementedError

    def test_what_is_delivered_is_there(self, target: Target) -> None:
        """With what came, and what a model said of it."""
        wide = transaction("b", amount=Decimal("9999999999999999.99"), category="Home")
        assert target.deliver(outcome(["a", wide])).is_empty()
        found = self.held(target)
        assert found.keys() == {"a", "b"}
        assert (found["a"]["description"], found["a"]["category"]) == ("Bakery a", "Food")
        assert (found["b"]["amount"], found["b"]["category"]) == ("9999999999999999.99", "Home")

    def test_what_comes_again_changes_nothing(self, target: Target) -> None:
        """Also beside what comes for the first time."""
        target.deliver(outcome(["a", "b"]))
        target.deliver(outcome(["a", "b"]))
        again, new = outcome(["a", "b"]), outcome(["c"], partition="transactions/1")
        target.deliver(together(again, new))
        assert self.held(target).keys() == {"a", "b", "c"}

    def test_what_comes_again_may_come_in_other_ranges(self, target: Target) -> None:
        """Unless the target tells records by these."""
        if not target.by_range:
            target.deliver(outcome(["a", "b"]))
            target.deliver(outcome(["b", "c"], first=1))
            assert self.held(target).keys() == {"a", "b", "c"}

    def test_nothing_is_delivered_of_what_has_left(self, target: Target) -> None:
        """After `without`, the records still hold it; the target does not look."""
        both = together(outcome(["a"]), outcome(["b"], partition="transactions/1"))
        target.deliver(both.without(["transactions/0"]))
        assert self.held(target).keys() == {"b"}

    def test_rejects_are_not_delivered(self, target: Target) -> None:
        """They leave by another door; an outcome may have nothing else."""
        assert target.deliver(outcome([], rejected=["x"])).is_empty()
        assert target.deliver(outcome(["a"], first=1, rejected=["y"])).is_empty()
        assert self.held(target).keys() == {"a"}

    def test_any_text_is_kept_as_it_is(self, target: Target) -> None:
        """No folding, no escaping that shows."""
        rows = [transaction(f"t-{n}", description=text) for n, text in enumerate(_AWKWARD)]
        assert target.deliver(outcome(rows)).is_empty()
        found = self.held(target)
        assert tuple(found[f"t-{n}"]["description"] for n in range(len(_AWKWARD))) == _AWKWARD
