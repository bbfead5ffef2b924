"""What was answered before, by a 64-bit hash of all that counted, as it came."""

import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

ANSWER: Final = np.dtype(
    [
        ("code", np.uint8),
        ("confidence", np.float64),
        ("fingerprint", np.uint64),
        ("familiarity", np.uint8),
    ]
)
"""A category's place in the taxonomy, its probability, the fingerprint of the normalised text, and
how well that text is known."""


class Cache:
    """A table of answers, each in one of two places that follow from its key.

    A key goes to its second place where its first is taken, and puts out whoever stands there.
    Safe to share between threads. Holds `2**bits` answers at most, in 26 bytes each.
    """

    def __init__(self, bits: int = 20) -> None:
        self._mask = np.uint64((1 << bits) - 1)
        self._keys = np.zeros(1 << bits, np.uint64)
        self._answers = np.zeros(1 << bits, ANSWER)
        self._lock = threading.Lock()

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
        """The answer for each key, and which of them are known; an unknown one's is arbitrary."""
        first, second = self._places(keys)
        with self._lock:
            places = np.where(self._keys[first] == keys, first, second)
            # Zero marks an empty place, so a record of that hash is never found.
            return self._answers[places], (self._keys[places] == keys) & (keys != 0)

    def keep(self, keys: NDArray[np.uint64], answers: NDArray[np.void]) -> None:
        """Remembers the answer for each of these distinct keys."""
        first, second = self._places(keys)
        with self._lock:
            there = self._keys[first]
            free = (there == 0) | (there == keys)
            places, rows = np.unique(np.where(free, first, second), return_index=True)
            self._keys[places] = keys[rows]
            self._answers[places] = answers[rows]

    def _places(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        return keys & self._mask, keys >> np.uint64(32) & self._mask
