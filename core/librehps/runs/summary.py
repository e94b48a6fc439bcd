"""The summary of a run: counts by status, and whether the output is complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from librehps.files import printable
from librehps.items.passed_over import PassedOver
from librehps.runs.progress import Distribution
from librehps.storage.url_path import AnyPath

if TYPE_CHECKING:
    from librehps.runs.changes import Changes


@dataclass(frozen=True)
class RunSummary:
    """The result of `score_to`: row counts of the whole output, including earlier calls.

    `errors` counts failed rows by error type, `skipped` files that are not media, `kept` rows of
    earlier calls. If `interrupted`, the rows are in OUT.journal and `resume=True` continues the
    run. `distributions` holds each axis over the rows of this call. `passed_over` names the skipped
    files by reason and suffix, and linked, hidden and unreadable folders. `changes` counts what
    an update that has finished changed.
    """

    output: AnyPath
    total: int
    ok: int
    failed: int
    errors: Mapping[str, int]
    skipped: int = 0
    kept: int = 0
    was_complete: bool = False
    interrupted: bool = False
    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    passed_over: PassedOver = field(default_factory=PassedOver)
    changes: "Changes | None" = None

    @property
    def remaining(self) -> int:
        """The number of items without a row; 0 unless interrupted."""
        return self.total - self.ok - self.failed

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        axes = {axis: found._asdict() for axis, found in self.distributions.items()}
        return {
            **vars(self),
            "output": printable(self.output),
            "errors": dict(self.errors),
            "distributions": axes,
            "passed_over": self.passed_over.record(),
            "changes": self.changes and self.changes._asdict(),
        }
