"""The types of a GPU check: where it runs, its result, and its reasons to end."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["passed", "failed", "skipped"]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Where:
    """The device under test, the size of the random model that is timed on it, and how much.

    Of the golden cases each `every`-th is scored; 1 scores all.
    """

    device: str = "cuda"
    config: str = "4b"
    every: int = 1


class Skipped(Exception):  # noqa: N818 - not an error
    """Raised by a step that this machine or installation cannot run; the text says why."""


class Failed(Exception):  # noqa: N818 - a finding, with its figures
    """Raised by a step whose figures are out of bounds."""

    def __init__(self, reason: str, figures: Figures) -> None:
        super().__init__(reason)
        self.figures = figures


@dataclass
class Result:
    """The outcome of a step, as it stands in the report."""

    name: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
    figures: Figures = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Step:
    """A named check; `about_s` is what it usually takes, `limit_s` when it is stopped."""

    name: str
    run: Callable[[Where], Figures]
    about_s: float
    limit_s: float


def check(figures: Figures, bounds: dict[str, tuple[float, float]]) -> Figures:
    """Return the figures; raises Failed if a (value, bound) of `bounds` is exceeded or NaN."""
    over = [
        f"{name}: {value:.3g} (bound {bound:g})"
        for name, (value, bound) in bounds.items()
        # Also true of NaN.
        if not value <= bound
    ]
    if over:
        raise Failed("; ".join(over), figures)
    return figures
