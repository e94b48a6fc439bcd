"""JSON Lines output: one record per line, scores in the shortest text that keeps float32."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from librehps.files import write_whole
from librehps.scores.columns import REAL, TEXT, as_text, axes_among, default_columns, full_columns
from librehps.scores.markers import PLACE, settings_file
from librehps.scores.media_folder import recorded
from librehps.scores.sink import Record, Sink
from librehps.settings import Settings
from librehps.storage.url_path import AnyPath


def to_line(record: Record, kinds: Mapping[str, str] | None = None) -> str:
    """Return a record as one line of valid JSON, without the newline.

    Scores are written as the shortest text that round-trips float32; `kinds` tells which columns
    are scores (None: the columns of the record's axes).
    """
    if kinds is None:
        kinds = full_columns([name for name in axes_among(record) if name in record])
    short = {name: _short(value, kinds.get(name)) for name, value in record.items()}
    return json.dumps(short, ensure_ascii=False)


class JsonlSink(Sink):
    """A sink that writes `X.jsonl`, and the full settings to `X.jsonl.settings.json`."""

    def __init__(
        self,
        output: Path,
        settings: Settings,
        columns: Mapping[str, str] | None = None,
        request: Mapping[str, Any] | None = None,
        home: AnyPath | None = None,
    ) -> None:
        super().__init__(output)
        self._settings, self._request, self._home = settings, request, home or output
        self._columns = default_columns(settings.axes) if columns is None else columns

    def _open(self) -> None:
        self._file = self.partial.open("wb")

    def _write(self, record: Record) -> None:
        kept = {
            name: as_text(record.get(name)) if kind == TEXT else record.get(name)
            for name, kind in self._columns.items()
        }
        self._file.write(to_line(kept, self._columns).encode() + b"\n")

    def _write_table(self, table: Any) -> None:
        # Imported here: a row on stdout needs no pyarrow.
        from librehps.scores.json_text import json_lines

        for batch in table.to_batches():
            self._file.write(json_lines(batch, self._columns))

    def _replace(self, rows: list[bytes], places: Any, table: Any) -> None:
        if len(places):
            from librehps.scores.json_text import json_lines

            fresh = b"".join(bytes(json_lines(b, self._columns)) for b in table.to_batches())
            for place, line in zip(places.tolist(), fresh.splitlines(keepends=True), strict=True):
                rows[place] = line
        self._file.writelines(rows)

    def _close(self) -> None:
        self._file.close()

    def _finish(self) -> None:
        beside = settings_file(self.output)
        record = self._settings.record()
        if self._request is not None:
            record["request"] = dict(self._request)
        record[PLACE] = recorded(self._home, self._request)
        write_whole(beside, json.dumps(record, indent=1) + "\n")


def _short(value: Any, kind: str | None) -> Any:
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        # JSON has no NaN or infinity.
        return None
    return float(str(np.float32(value))) if kind == REAL else value
