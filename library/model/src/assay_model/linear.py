"""A layer over n-grams: one weight per n-gram and category, kept in 8 bits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class Linear:
    """A quantised linear layer over `2**bits` n-grams.

    A text's logits are the sum of its n-grams' weights, divided by the length of the text's
    vector (the root of the sum of its n-grams' powers), plus the intercept.

    Attributes:
        weights: int8, one row per column of n-grams, one column per category.
        scale: float32, what a category's weights are multiplied by.
        power: float32, the square of each n-gram's importance (its inverse document frequency).
        intercept: float32, one per category.
    """

    weights: NDArray[np.int8]
    scale: NDArray[np.float32]
    power: NDArray[np.float32]
    intercept: NDArray[np.float32]

    @property
    def bits(self) -> int:
        """The n-grams are hashed into `2**bits` columns."""
        return self.power.size.bit_length() - 1


def quantise(
    weights: NDArray[np.floating],
    importance: NDArray[np.floating],
    intercept: NDArray[np.floating],
) -> Linear:
    """The layer whose weights, by category at most 1/254 of the largest away, are these.

    Args:
        weights: one row per n-gram, one column per category; they are yet to be multiplied by the
            n-gram's importance.
        importance: one per n-gram.
        intercept: one per category.
    """
    weighed = weights * importance[:, None]
    largest = np.abs(weighed).max(axis=0)
    scale = np.where(largest > 0, largest / 127, 1.0)
    return Linear(
        weights=np.rint(weighed / scale).astype(np.int8),
        scale=scale.astype(np.float32),
        power=np.square(importance).astype(np.float32),
        intercept=intercept.astype(np.float32),
    )


def dense(layer: Linear) -> NDArray[np.float32]:
    """The weights at full width with the power as a last column: what `logits` multiplies by."""
    table = np.empty((layer.power.size, layer.scale.size + 1), np.float32)
    np.multiply(layer.weights, layer.scale, out=table[:, :-1])
    table[:, -1] = layer.power
    table.setflags(write=False)
    return table


def logits(
    table: NDArray[np.float32],
    intercept: NDArray[np.float32],
    counts: sparse.csr_array[np.float32, tuple[int, int]],
) -> NDArray[np.float64]:
    """One row per text, one column per category; always finite.

    Args:
        table: see `dense`.
        intercept: the layer's.
        counts: see `assay_model.features.ngrams`.
    """
    product = (counts @ table).astype(np.float64)
    return product[:, :-1] / np.sqrt(product[:, -1:]) + intercept


def probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax, row by row."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
