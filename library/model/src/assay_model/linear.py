"""The classifier: one weight per n-gram and category, kept in 8 bits."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay_model.features import ngrams

_BLOCK: Final = 2048
"""Texts at a time: what is worked on stays in the processor's cache, and memory is bounded."""


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
    weights: NDArray[np.float64], importance: NDArray[np.float64], intercept: NDArray[np.float64]
) -> Linear:
    """The layer whose weights, by category at most 1/254 of the largest away, are these.

    Args:
        weights: one row per category, of n-grams already multiplied by their importance.
        importance: one per n-gram.
        intercept: one per category.
    """
    largest = np.abs(weights).max(axis=1)
    scale = np.where(largest > 0, largest / 127, 1.0)
    return Linear(
        weights=np.ascontiguousarray(np.rint(weights / scale[:, None]).T.astype(np.int8)),
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
    table: NDArray[np.float32], intercept: NDArray[np.float32], texts: pl.Series
) -> NDArray[np.float64]:
    """One row per normalised text, one column per category; always finite."""
    bits = table.shape[0].bit_length() - 1
    found = np.empty((texts.len(), intercept.size))
    for start in range(0, texts.len(), _BLOCK):
        product = ngrams(texts.slice(start, _BLOCK), bits) @ table
        lengths = np.sqrt(product[:, -1:])
        found[start : start + _BLOCK] = product[:, :-1] / lengths + intercept
    return found


def probabilities(found: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Softmax of the logits divided by the temperature (Guo et al. 2017), row by row."""
    exponents = found / temperature
    exponents -= exponents.max(axis=1, keepdims=True)
    powers = np.exp(exponents)
    return powers / powers.sum(axis=1, keepdims=True)
