"""The two fits that training consists of, by L-BFGS and without a random step.

Both minimise the weighted log loss of a softmax and a penalty on the squares of the weights;
intercepts are free.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

_MEMORY: Final = 8
_MIXTURE_ITERATIONS: Final = 150


def multinomial(
    vectors: sparse.csr_array[np.float32, tuple[int, int]],
    truth: NDArray[np.int64],
    weight: NDArray[np.float32],
    categories: int,
    *,
    penalty: float,
    iterations: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights, one row per column of the vectors, and the intercept of each category.

    Args:
        vectors: one row per example.
        truth: each one's category by its number.
        weight: of each.
        categories: how many there are; those without an example are unlikely, not impossible.
        penalty: half of it times the sum of squared weights is added to the loss.
        iterations: at most.
    """
    used = np.unique(vectors.indices)
    rows = sparse.csr_array(
        (vectors.data, np.searchsorted(used, vectors.indices), vectors.indptr),
        (vectors.shape[0], used.size),
    )
    columns = rows.T.tocsr()
    size = used.size * categories

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        numbers = flat.astype(np.float32)
        weights = numbers[:size].reshape(used.size, categories)
        value, slope = _loss(rows @ weights + numbers[size:], truth, weight)
        value += penalty / 2 * float(np.vdot(weights, weights))
        steep = columns @ slope + penalty * weights
        return value, np.concatenate([steep.ravel(), slope.sum(axis=0)]).astype(np.float64)

    found = _minimise(loss, np.zeros(size + categories), iterations).astype(np.float32)
    weights = np.zeros((vectors.shape[1], categories), np.float32)
    weights[used] = found[:size].reshape(used.size, categories)
    return weights, found[size:]


@dataclass(frozen=True)
class Mixture:
    """How the scores of several models become one.

    Attributes:
        matrices: by model a square one, from its scores to what it adds.
        intercept: one per category.
    """

    matrices: NDArray[np.float64]
    intercept: NDArray[np.float64]


def mixture(
    parts: Sequence[NDArray[np.floating]],
    truth: NDArray[np.int64],
    weight: NDArray[np.floating],
    *,
    penalty: float,
) -> Mixture:
    """The mixture of models that answers best (stacking: Wolpert, Neural Networks 5, 1992).

    Each matrix is a free multiple of the identity and a deviation from it, which is penalised:
    a category is believed as much as all others unless many examples speak for more or less.

    Args:
        parts: by model one row per example and one column per category, of examples that the
            model has not learnt.
        truth: each example's category by its number.
        weight: of each.
        penalty: half of it times the sum of squared deviations is added to the loss.
    """
    stacked = np.stack(parts).astype(np.float64)
    count, _, categories = stacked.shape
    wide = np.hstack(list(stacked))
    size = count * categories

    def unpack(flat: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        deviations = flat[count + categories :].reshape(size, categories)
        return flat[:count], flat[count : count + categories], deviations

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        shares, intercept, deviations = unpack(flat)
        mixed = np.tensordot(shares, stacked, 1) + wide @ deviations + intercept
        value, slope = _loss(mixed, truth, weight)
        value += penalty / 2 * float(np.vdot(deviations, deviations))
        steep = wide.T @ slope + penalty * deviations
        by_share = np.tensordot(stacked, slope, 2)
        return value, np.concatenate([by_share, slope.sum(axis=0), steep.ravel()])

    start = np.zeros(count + categories + size * categories)
    start[:count] = 1 / 2
    shares, intercept, deviations = unpack(_minimise(loss, start, _MIXTURE_ITERATIONS))
    squares = deviations.reshape(count, categories, categories)
    return Mixture(shares[:, None, None] * np.eye(categories) + squares, intercept)


def _loss(
    scores: NDArray[Any], truth: NDArray[np.int64], weight: NDArray[Any]
) -> tuple[float, NDArray[Any]]:
    """The log loss, and its slope by score; takes the scores' memory."""
    each = np.arange(truth.size)
    scores -= scores.max(axis=1, keepdims=True)
    right = scores[each, truth]
    powers = np.exp(scores, out=scores)
    sums = powers.sum(axis=1, keepdims=True)
    value = -float((weight * (right - np.log(sums[:, 0]))).sum())
    slope = powers / sums
    slope[each, truth] -= 1
    slope *= weight[:, None]
    return value, slope


def _minimise(
    loss: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]],
    start: NDArray[np.float64],
    iterations: int,
) -> NDArray[np.float64]:
    # One thread, because the order in which threads add up shows in the last digits.
    with threadpool_limits(limits=1):
        return minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "maxcor": _MEMORY, "maxfun": 2 * iterations},
        ).x
