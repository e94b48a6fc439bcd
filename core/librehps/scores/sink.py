"""The base class of output writers: rows go to OUT.partial, which is renamed when complete."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from librehps.files import is_equal, partial_of, publish, writing

Record = Mapping[str, Any]


class Sink(ABC):
    """A writer of records; the output exists once the `with` block ends without an error.

    After an error the rows written so far are in `OUT.partial`. A failed write raises OutputError.
    """

    # True if an output that would not change is left alone, with its time of change.
    keeps_equal = False

    def __init__(self, output: Path) -> None:
        self.output = output
        self.partial = partial_of(output)

    def write(self, record: Record) -> None:
        with self._translated():
            self._write(record)

    def write_table(self, table: Any) -> None:
        """Write the rows of an Arrow table that has every column; see `RowSchema`."""
        with self._translated():
            self._write_table(table)

    def replace(self, rows: Any, places: Any, table: Any) -> None:
        """Write rows of an output in this format, those at `places` replaced by the table's."""
        with self._translated():
            self._replace(rows, places, table)

    def __enter__(self) -> Self:
        with self._translated():
            self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._translated():
            self._close()
            if error is None:
                self._finish()
                self._publish()

    def _publish(self) -> None:
        if self.keeps_equal and is_equal(self.partial, self.output):
            self.partial.unlink()
        else:
            # Synced to the disk before the caller deletes the journal.
            publish(self.partial, self.output)

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _write(self, record: Record) -> None: ...

    @abstractmethod
    def _write_table(self, table: Any) -> None: ...

    @abstractmethod
    def _replace(self, rows: Any, places: Any, table: Any) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _finish(self) -> None:
        """Write the files that belong to a complete output, such as its settings."""

    def _translated(self) -> AbstractContextManager[None]:
        hint = f"Rows written before the error are in {self.partial}."
        return writing(self.output, hint, (OSError, ValueError))
