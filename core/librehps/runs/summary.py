"""What a run left: counts by status, and whether it is complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from librehps.runs.progress import Distribution


@dataclass(frozen=True)
class RunSummary:
    """Result of `score_to`: rows of the whole output, those of earlier calls among them.

    `errors` counts failed rows by type of error, `skipped` files of unsupported kinds, `kept` rows
    that an earlier call scored. Where `interrupted`, the journal beside the output has the rows,
    and `resume=True` goes on. `distributions` of each axis are over the rows of this call.
    """

    output: Path
    total: int
    ok: int
    failed: int
    errors: Mapping[str, int]
    skipped: int = 0
    kept: int = 0
    was_complete: bool = False
    interrupted: bool = False
    distributions: Mapping[str, Distribution] = field(default_factory=dict)

    @property
    def remaining(self) -> int:
        """Number of items without a row, 0 unless interrupted."""
        return self.total - self.ok - self.failed
