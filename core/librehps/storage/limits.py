"""Limits of a read: how long without a byte, how many attempts, how long in all."""

import os
from dataclasses import dataclass
from functools import lru_cache

from librehps.errors import UsageError

# Environment variables that replace the defaults.
TIMEOUT_VARIABLE = "LIBREHPS_READ_TIMEOUT"
ATTEMPTS_VARIABLE = "LIBREHPS_READ_ATTEMPTS"
TOTAL_VARIABLE = "LIBREHPS_READ_LIMIT"
CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Limits:
    """Limits of a read: seconds without a byte, attempts, and seconds of all attempts together."""

    timeout_s: float = 30.0
    attempts: int = 3
    total_s: float = 600.0

    @property
    def connect_s(self) -> float:
        """The longest wait for a connection, in seconds."""
        return min(CONNECT_TIMEOUT_S, self.timeout_s)


def limits() -> Limits:
    """Return the limits that the environment sets; raises UsageError for an invalid value."""
    names = (TIMEOUT_VARIABLE, ATTEMPTS_VARIABLE, TOTAL_VARIABLE)
    return _parsed(*(os.environ.get(name, "") for name in names))


@lru_cache(maxsize=4)
def _parsed(timeout: str, attempts: str, total: str) -> Limits:
    usual = Limits()
    return Limits(
        positive(TIMEOUT_VARIABLE, timeout, usual.timeout_s),
        round(positive(ATTEMPTS_VARIABLE, attempts, usual.attempts, least=1.0)),
        positive(TOTAL_VARIABLE, total, usual.total_s),
    )


def positive(name: str, text: str, usual: float, least: float = 0.001) -> float:
    """Return the number in an environment variable, `usual` if that is empty; raises UsageError."""
    try:
        number = float(text) if text else usual
    except ValueError:
        number = -1.0
    if not least <= number < float("inf"):
        raise UsageError(f"{name}: expected a number of at least {least:g}, got {text!r}")
    return number
