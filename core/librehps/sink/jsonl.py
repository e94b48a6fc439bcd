"""JSON Lines: one record a line, numbers as short as float32 allows."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from librehps.settings import Settings
from librehps.sink.schema import Record, partial_of


def to_line(record: Record) -> str:
    """One line of valid JSON, without its end; floats are the shortest that round-trip float32."""
    return json.dumps({key: _short(value) for key, value in record.items()}, ensure_ascii=False)


class JsonlSink:
    """Writes `X.jsonl`, and the full settings to `X.jsonl.settings.json`."""

    def __init__(self, output: Path, settings: Settings) -> None:
        self._output, self._settings = output, settings
        self._file = partial_of(output).open("w", encoding="utf-8", newline="\n")

    def write(self, record: Record) -> None:
        self._file.write(to_line(record) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if error is None:
            beside = self._output.with_name(self._output.name + ".settings.json")
            beside.write_text(json.dumps(self._settings.record(), indent=1) + "\n")
            partial_of(self._output).replace(self._output)


def _short(value: Any) -> Any:
    return float(str(np.float32(value))) if isinstance(value, float) else value
