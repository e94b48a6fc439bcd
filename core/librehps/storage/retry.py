"""Retries with growing waits, for errors of the network that a later try may not have."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from librehps.errors import StorageNetworkError
from librehps.storage.limits import limits

# The first wait, which doubles, and the longest, also if the server asks for more.
FIRST_WAIT_S, MAX_WAIT_S = 0.5, 60.0

T = TypeVar("T")


def now() -> float:
    """Return the seconds of a clock that never goes back."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def retried(call: Callable[[float], T], attempts: int | None = None, extra_s: float = 0.0) -> T:
    """Return what `call` returns, with a retry after each StorageNetworkError.

    `call` is given the seconds that are left for all attempts, and must end within them. `attempts`
    replaces the limit on attempts, `extra_s` is added to the limit on their time.
    """
    bounds = limits()
    end = now() + bounds.total_s + extra_s
    attempts = attempts or bounds.attempts
    for attempt in range(1, attempts + 1):
        try:
            return call(end - now())
        except StorageNetworkError as error:
            wait = wait_s(attempt, error.retry_after)
            if attempt == attempts or now() + wait >= end:
                message = f"{error}, attempt {attempt} of {attempts}"
                raise StorageNetworkError(message, error.hint, error.cause, error.host) from error
        sleep(wait)
    raise AssertionError("at least one attempt is made")


def wait_s(attempt: int, requested: float | None) -> float:
    """Return the seconds until the next attempt: doubled each time, at least `requested`.

    A random part keeps readers that failed together from trying again together.
    """
    seconds: float = max(FIRST_WAIT_S * 2.0 ** min(attempt - 1, 16), requested or 0.0)
    return min(seconds, MAX_WAIT_S) * random.uniform(1.0, 1.5)
