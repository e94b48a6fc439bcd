"""What a caller may hear of a run while it runs."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from librehps.runs.progress import RunProgress

log = logging.getLogger("librehps")


class RunObserver:
    """Hears of a run; override any method. Notes are logged at INFO unless overridden."""

    def note(self, message: str) -> None:
        """Take one line for a reader: files that were skipped, rows done before, waiting."""
        log.info("%s", message)

    def confirm_download(self, message: str) -> bool:
        """Return whether a model that is not on this machine may be downloaded."""
        return False

    def watching(self, progress: "RunProgress") -> AbstractContextManager[object]:
        """Return a context manager that is entered while rows are scored."""
        return nullcontext()

    def advanced(self, progress: "RunProgress") -> None:
        """Take the progress after each row, or after each table of rows with Ray."""
