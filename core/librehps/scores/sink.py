"""What every output file has in common: it grows aside, and takes its name when it is whole."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from librehps.files import partial_of, publish, writing

Record = Mapping[str, Any]


class Sink(ABC):
    """Takes records; whole on disk once the `with` block ends without an error.

    After an error, what was written lies beside the output as `OUT.partial`. A write that fails
    raises OutputError.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.partial = partial_of(output)

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
                publish(self.partial, self.output)

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _write(self, record: Record) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _finish(self) -> None:
        """Write what else belongs to a whole output."""

    def _translated(self) -> AbstractContextManager[None]:
        hint = f"Rows written before it are in {self.partial}."
        return writing(self.output, hint, (OSError, ValueError))
