"""What every output file has in common: it grows aside, and takes its name when it is whole."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from librehps.errors import OutputError

Record = Mapping[str, Any]


class Sink(ABC):
    """Takes records; whole on disk once the `with` block ends without an error.

    After an error, what was written lies beside the output as `OUT.partial`. A write that fails
    raises OutputError.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.partial = output.with_name(output.name + ".partial")

    def write(self, record: Record) -> None:
        with self._translated():
            self._write(record)

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
                # Whole on the disk itself before whatever it was made from is deleted.
                sync(self.partial)
                self.partial.replace(self.output)
                sync(self.output.absolute().parent)

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _write(self, record: Record) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _finish(self) -> None:
        """Write what else belongs to a whole output."""

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(
                f"{self.output} cannot be written: {reason}",
                hint=f"Rows written before it are in {self.partial}.",
            ) from error


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk itself."""
    if path.is_dir() and os.name == "nt":
        # Windows opens no folders.
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
