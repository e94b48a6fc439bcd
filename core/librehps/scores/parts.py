"""An output that is a folder of Parquet parts, each of which is whole or absent.

`part-FIRST.parquet` holds the rows from FIRST of the listing on: as many as follow from the size
of the listing alone, so that whoever writes a part again writes the same. `_UNFINISHED` lies in
the folder until all are there, `_DONE.json` from then on.
"""

import json
import re
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from librehps.errors import EngineError, UsageError
from librehps.files import PARTIAL, check_parent, growing, sync, write_whole, writing
from librehps.scores.markers import DONE_FILE, PART_KEY, SCORED_SUFFIXES, UNFINISHED_FILE
from librehps.scores.parquet import ROW_GROUP

MIN_PART_ROWS, MAX_PART_ROWS, WANTED_PARTS = 64, 16_384, 256
PART_NAME = re.compile(r"part-(\d{12})\.parquet(\.partial)?")
FOLDER_HINT = "Give the Ray engine a folder: -o scores (commands that read scores take folders)."


def rows_of_part(total: int) -> int:
    """Rows of every part but the last: a power of two, so that a kill loses little of any run."""
    wanted = max(MIN_PART_ROWS, min(MAX_PART_ROWS, total // WANTED_PARTS))
    return int(1 << (wanted.bit_length() - 1))


@dataclass(frozen=True)
class Part:
    """What a part says of itself; `run` is the run that wrote it."""

    run: str
    first: int
    ok: int
    errors: int

    @property
    def rows(self) -> int:
        return self.ok + self.errors


class Parts:
    """The folder `output`, for a listing of `total` items; failed writes raise OutputError."""

    def __init__(self, output: Path, total: int, run: str) -> None:
        self.output, self.total, self.run = output, total, run
        self.rows = rows_of_part(total)

    def begin(self) -> None:
        """Have the folder; parts of other runs are cleared away."""
        with self._translated():
            self.output.mkdir(exist_ok=True)
            if self.done().get("run") != self.run:
                # In this order, so that at no time a folder passes for whole that is not.
                write_whole(self.output / UNFINISHED_FILE, "librehps score --resume goes on\n")
                (self.output / DONE_FILE).unlink(missing_ok=True)
            whole = self.whole()
            for file in list(self.output.iterdir()):
                found = PART_NAME.fullmatch(file.name)
                if found and (found[2] or int(found[1]) not in whole):
                    file.unlink()

    def done(self) -> dict[str, Any]:
        """What the mark of a finished folder says; empty where there is none."""
        try:
            found = json.loads((self.output / DONE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def whole(self) -> dict[int, Part]:
        """The parts of this run by their first index."""
        found = {}
        for file in part_files(self.output):
            part = read_part(file)
            if part is not None and part.run == self.run and self._fits(part):
                found[part.first] = part
        return found

    def bounds(self, index: int) -> tuple[int, int]:
        """First index, and that after the last, of the part that an index falls into."""
        first = index // self.rows * self.rows
        return first, min(first + self.rows, self.total)

    def path(self, first: int) -> Path:
        return self.output / f"part-{first:012d}.parquet"

    def write(self, first: int, table: Any, errors: int) -> None:
        """Write a whole part; it grows aside, and then takes its name."""
        path = self.path(first)
        part = Part(self.run, first, len(table) - errors, errors)
        metadata = {**(table.schema.metadata or {}), PART_KEY: json.dumps(asdict(part))}
        table = table.replace_schema_metadata(metadata)
        with self._translated(), growing(path) as partial:
            pq.write_table(table, partial, compression="zstd", row_group_size=ROW_GROUP)

    def finish(self) -> tuple[int, int]:
        """(ok, errors) of all rows, once every index is in a part; then the folder is done.

        Raises EngineError, naming what is missing.
        """
        whole = self.whole()
        missing = [first for first in range(0, self.total, self.rows) if first not in whole]
        if missing:
            names = ", ".join(self.path(first).name for first in missing[:8])
            raise EngineError(
                f"{self.output} lacks {len(missing)} parts: {names}", hint="--resume goes on."
            )
        ok, errors = (sum(getattr(p, n) for p in whole.values()) for n in ("ok", "errors"))
        facts = {"rows": self.total, "ok": ok, "errors": errors, "parts": len(whole)}
        with self._translated():
            write_whole(self.output / DONE_FILE, json.dumps({**facts, "run": self.run}) + "\n")
            (self.output / UNFINISHED_FILE).unlink(missing_ok=True)
            sync(self.output)
        return ok, errors

    def _fits(self, part: Part) -> bool:
        first, after = self.bounds(part.first)
        return part.first == first and part.rows == after - first

    def _translated(self) -> AbstractContextManager[None]:
        hint = "Parts written before it are kept; make room and go on with --resume."
        return writing(self.output, hint, (OSError, pa.ArrowException))


def part_files(output: Path) -> list[Path]:
    """The parts of a folder in order."""
    if not output.is_dir():
        return []
    found = [(PART_NAME.fullmatch(file.name), file) for file in output.iterdir()]
    return sorted(file for match, file in found if match and not match[2])


def read_part(file: Path) -> Part | None:
    """What a part says of itself; None where it is torn, or of something else."""
    try:
        metadata = pq.read_metadata(file)
        part = Part(**json.loads((metadata.metadata or {})[PART_KEY.encode()]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return part if metadata.num_rows == part.rows else None


def check_folder(output: Path) -> None:
    """Raise UsageError for what cannot be a folder of parts."""
    if output.suffix.lower() in SCORED_SUFFIXES or output.is_file():
        raise UsageError(f"{output}: the Ray engine writes a folder of parts", hint=FOLDER_HINT)
    if not output.name:
        raise UsageError(f"{output}: the folder needs a name", hint=FOLDER_HINT)
    check_parent(output)
    if output.is_dir():
        marks = (DONE_FILE, UNFINISHED_FILE)
        ours = {*marks, *(mark + PARTIAL for mark in marks)}
        names = [file.name for file in output.iterdir()]
        other = [name for name in names if name not in ours and not PART_NAME.fullmatch(name)]
        if other:
            raise UsageError(
                f"{output} holds {sorted(other)[0]}, which is no part of scores",
                hint="Give a new folder.",
            )
