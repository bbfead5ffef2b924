"""How much at a time: records of a chunk and of a call, and calls to the classifier at once.

All three begin at what suits a classifier and a store that are quick, and give way to the slowest
stage: down by a factor, up by steps. Nothing here holds a clock or calls anything; the pump tells
what it has seen, and asks.
"""

from math import ceil, log
from typing import Final

GOAL: Final = 5.0
"""Seconds that a stage should take at most.

So long what was read may usually still be committed when partitions move. Much less would not do:
full chunks that pass at 65,000 records/s are in the window for more than two seconds.
"""

_LEAST: Final = 500  # records; fewer at once cost more than they spare
_STEEPEST: Final = 8  # what a size is divided by at once, at most
_PROOF: Final = 20  # good calls after which more is tried than what has failed before
_PATIENCE: Final = (4, 64)  # slow ones that are borne after a change that was wrong
_EPOCH: Final = 8  # answers per call at once over which a rate is taken
_HELD: Final = (2, 16)  # epochs for which another call that did not pay is not tried again
_SHORT: Final = 0.5  # share of the time for which the classifier held all up


class Size:
    """How many records to do something with at once, so that it takes about `goal` seconds or less.

    What takes longer is divided, down to `least`; what stays below half of the goal grows by a
    half, in steps of a quarter of `most` at the utmost. In between nothing changes. Where a change
    shows that it is not the number of records that takes the time, it is undone: smaller calls to
    what answers after six seconds whatever it is asked would only be slower.

    Attributes:
        now: records, 1 to `most`.
    """

    def __init__(self, most: int, goal: float, least: int) -> None:
        self.now: int = most
        self._most, self._cap = most, most
        self._goal, self._least = goal, min(least, most)
        self._good = 0  # of the size of the cap
        self._moved_from: tuple[int, float] | None = None  # records and seconds, until it is judged
        self._is_down = True  # the direction in which a slow one moves
        self._hold, self._patience = 0, _PATIENCE[0]

    @property
    def is_lowered(self) -> bool:
        """Whether it is not what it began with."""
        return self.now < self._most

    def took(self, records: int, seconds: float) -> None:
        """So many records took so long."""
        if records > self.now or not records:
            return  # it began before the size was lowered
        if seconds <= self._goal:
            self._is_well(records, seconds)
        elif records >= self._least:
            self._is_slow(records, seconds)

    def failed(self, records: int) -> None:
        """So many were too many: the rest of them is tried, however few that are."""
        if records > self.now:
            return
        self.now = self._cap = ceil(records / 2)
        self._good, self._moved_from = 0, None

    def _is_well(self, records: int, seconds: float) -> None:
        self._moved_from, self._is_down = None, True
        self._hold, self._patience = 0, _PATIENCE[0]
        if 2 * records <= self.now:
            return  # it says nothing of more
        if self.now == self._cap < self._most:
            self._good += 1
            if self._good == _PROOF:
                self._good, self._cap = 0, min(2 * self._cap, self._most)
        if seconds * self.now / records < self._goal / 2:
            step = max(1, min(self.now // 2, self._most // 4))
            self.now = min(self.now + step, self._cap)

    def _is_slow(self, records: int, seconds: float) -> None:
        if self._hold:
            self._hold -= 1
        elif 2 * records <= self.now:
            if self._moved_from is None:
                self.now = max(self.now // 2, self._least)
        elif self._moved_from is not None and not self._was_right(records, seconds):
            self.now = min(max(self._moved_from[0], self._least), self._cap)
            self._turn()
        else:
            self._move(records, seconds)

    def _was_right(self, records: int, seconds: float) -> bool:
        """Whether the last move led to less time, or to more records in about the same."""
        if self._moved_from is None or records == self._moved_from[0]:
            return True
        fewer, shorter = records / self._moved_from[0], seconds / self._moved_from[1]
        return (log(shorter) / log(fewer) > 0.5) == self._is_down  # noqa: PLR2004 - half way

    def _move(self, records: int, seconds: float) -> None:
        if self._is_down:
            to = int(0.75 * records * self._goal / seconds)
            to = max(min(to, records // 2), records // _STEEPEST, self._least)
        else:
            to = 2 * self.now
        to = min(to, self._cap)
        if (to < self.now) != self._is_down or to == self.now:
            self._turn()
            return
        if self._moved_from is not None:
            self._patience = _PATIENCE[0]
        self.now, self._moved_from = to, (records, seconds)

    def _turn(self) -> None:
        """Bears it for a while, and tries the other direction then."""
        self._moved_from, self._is_down = None, not self._is_down
        self._hold, self._patience = self._patience, min(2 * self._patience, _PATIENCE[1])


class Calls:
    """How many calls are worth being under way at once.

    What it begins with costs nothing to keep. More than that are tried one by one while the
    classifier holds all up, and kept where they bring at least half of what they would bring a
    classifier with room for them. Failures halve the number; it comes back with the answers.

    Attributes:
        now: 1 to `most`.
    """

    def __init__(self, usual: int, most: int) -> None:
        self.most = max(most, 1)
        self.now = self._usual = self._proven = min(usual, self.most)
        self._hold, self._held = 0, _HELD[0]
        self._rate = 0.0  # records/s of the last epoch with the proven number
        self._began: float | None = None
        self._answers = self._records = 0
        self._short = 0.0  # seconds of the epoch
        self._looked: float | None = None  # when it last held all up, unless it does no longer

    def failed(self) -> None:
        """A call found the classifier away."""
        self.now = max(self.now // 2, 1)
        self._began = None

    def looked(self, at: float, *, is_short: bool) -> None:
        """Whether at this time there is nothing else to do than to wait for the classifier."""
        if self._looked is not None:
            self._short += at - self._looked
        self._looked = at if is_short else None

    def answered(self, records: int, at: float) -> None:
        """A call that asked about so many records was answered at this time."""
        if self.now < self._proven:
            self.now += 1
            self._began = None
        elif self._began is None:
            self._began, self._answers, self._records, self._short = at, 0, 0, 0.0
        else:
            self._answers += 1
            self._records += records
            if self._answers >= _EPOCH * self.now and at > self._began:
                self._judge(at - self._began)
                self._began = None

    def _judge(self, seconds: float) -> None:
        rate = self._records / seconds
        if self._short < _SHORT * seconds:
            self.now, self._hold = self._proven, 0
        elif self.now > self._proven:
            if rate >= self._rate * (1 + 0.5 / self._proven):
                self._proven, self._rate, self._held = self.now, rate, _HELD[0]
                self.now = min(self.now + 1, self.most)
            else:
                self.now, self._hold = self._proven, self._held
                self._held = min(2 * self._held, _HELD[1])
        elif rate < self._rate / 2 and self._proven > self._usual:
            self.now = self._proven = max(self._proven // 2, self._usual)
            self._hold = self._held
        elif self._hold:
            self._hold -= 1
        else:
            self._rate = rate
            self.now = min(self.now + 1, self.most)


class Pace:
    """What a pump takes on at a time, between its settings and what has proved to be too much.

    Used from one thread: the pump's, in which the source is read as well.
    """

    def __init__(
        self,
        records: int = 50_000,
        *,
        chunks: int = 3,
        calls: int = 3,
        goal: float = GOAL,
        least: int = _LEAST,
    ) -> None:
        """At its quickest, until something is seen.

        Args:
            records: of a chunk and of a call, at most.
            chunks: of the window; so many calls are usual.
            calls: at once, at most.
            goal: seconds that a call, a chunk's calls together, or its commit should take at most.
            least: records below which nothing is made smaller only because it is slow.
        """
        self._chunk = Size(records, goal, least)
        self._call = Size(records, goal, least)
        self._calls = Calls(chunks, calls)
        self._chunks, self._least = chunks, least

    @property
    def chunk_records(self) -> int:
        """Records of the next chunk, at most."""
        return self._chunk.now

    @property
    def call_records(self) -> int:
        """Records of the next call, at most."""
        return self._call.now

    @property
    def calls(self) -> int:
        """Calls that may be under way at once."""
        return self._calls.now

    @property
    def most_calls(self) -> int:
        """What `calls` never exceeds."""
        return self._calls.most

    @property
    def limits(self) -> dict[str, int]:
        """What it is just now, by name."""
        return {
            "chunk_records": self.chunk_records,
            "call_records": self.call_records,
            "calls": self.calls,
        }

    @property
    def is_lowered(self) -> bool:
        """Whether chunks or calls have fewer records than they may."""
        return self._chunk.is_lowered or self._call.is_lowered

    def share(self, left: int, whole: int) -> int:
        """How many records the next call asks about, in equal parts.

        Args:
            left: records that are to be asked about, one or more.
            whole: those of their chunk.
        """
        parts = ceil(self.calls / self._chunks)  # of each chunk, so that all calls have some
        most = min(self.call_records, max(ceil(whole / parts), self._least))
        return ceil(left / ceil(left / most))

    def looked(self, at: float, *, is_short: bool) -> None:
        """How it stands: see `Calls.looked`."""
        self._calls.looked(at, is_short=is_short)

    def answered(self, records: int, seconds: float, at: float) -> None:
        """A call that took so long was answered at this time."""
        self._call.took(records, seconds)
        self._calls.answered(records, at)

    def too_much(self, records: int) -> None:
        """A call of so many records was too large, or had no answer in time."""
        self._call.failed(records)

    def away(self) -> None:
        """A call found the classifier away."""
        self._calls.failed()

    def committed(self, records: int, seconds: float) -> None:
        """A chunk is committed; the slower of its stages took so long."""
        self._chunk.took(records, seconds)


def within(records: int, *, chunks: int, workers: int, connections: int, timeout: float) -> Pace:
    """The pace of a pipeline between its settings.

    Args:
        records: of a chunk and of a call, at most.
        chunks: of the window.
        workers: of the executor, of which one is left for the commit.
        connections: to the classifier, at most.
        timeout: seconds that a call may take; it is slow after a third of them, or sooner.
    """
    calls = min(workers - 1, connections)
    return Pace(records, chunks=chunks, calls=calls, goal=min(GOAL, timeout / 3))
