"""What was answered before, by a 64-bit hash of the text as it came."""

import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

ANSWER: Final = np.dtype(
    [("code", np.uint8), ("confidence", np.float64), ("fingerprint", np.uint64)]
)
"""A category's place in the taxonomy, its probability, and the fingerprint of what was seen."""


class Cache:
    """A direct-mapped table of answers: of two texts that meet in a slot, the later one stays.

    Safe to share between threads. Holds `2**bits` answers at most, in 25 bytes each.
    """

    def __init__(self, bits: int = 20) -> None:
        self._mask = np.uint64((1 << bits) - 1)
        self._keys = np.zeros(1 << bits, np.uint64)
        self._answers = np.zeros(1 << bits, ANSWER)
        self._lock = threading.Lock()

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
        """The answer for each key, and which of them are known; an unknown one's is arbitrary."""
        slots = keys & self._mask
        with self._lock:
            # Zero marks an empty slot, so a text of that hash is never found.
            return self._answers[slots], (self._keys[slots] == keys) & (keys != 0)

    def keep(self, keys: NDArray[np.uint64], answers: NDArray[np.void]) -> None:
        """Remembers the answer for each of these distinct keys."""
        slots, places = np.unique(keys & self._mask, return_index=True)
        with self._lock:
            self._keys[slots] = keys[places]
            self._answers[slots] = answers[places]
