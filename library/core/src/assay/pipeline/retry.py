"""How long to wait before the next attempt; tenacity computes, the pump keeps the time."""

from typing import Final

from tenacity import RetryCallState, Retrying, wait_random_exponential
from tenacity.wait import wait_base

from assay.domain.errors import Unavailable

FULL_JITTER: Final = wait_random_exponential(multiplier=0.2, max=10)
"""Exponential with full jitter: between 0 and 0.2 s · 2^attempt, at most 10 s.

https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""


LONGEST: Final = 300.0
"""Seconds: whoever asks to be left alone for longer is asked again all the same."""


def delay(policy: wait_base, attempt: int, error: Unavailable | None = None) -> float:
    """Seconds to wait after a number of failed attempts, at least what the dependency asked for.

    It may ask for `LONGEST` at most.
    """
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    asked = error.retry_after if error is not None and error.retry_after is not None else 0.0
    return max(float(policy(state)), min(asked, LONGEST))
