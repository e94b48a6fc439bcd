"""What every output file has in common: it grows aside, and takes its name when it is whole."""

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
                self.partial.replace(self.output)

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
        except OSError as error:
            raise OutputError(
                f"{self.output} cannot be written: {error.strerror or error}",
                hint=f"Rows written before it are in {self.partial}.",
            ) from error
