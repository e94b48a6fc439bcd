"""An output folder of Parquet parts, local or in a bucket, each written atomically.

`part-FIRST.parquet` holds the rows of the listing from index FIRST. The number of rows depends
only on the size of the listing, so that a retry writes the same part. The folder holds
`_UNFINISHED` until all parts exist, then `_DONE.json`.
"""

import json
import re
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from librehps.errors import EngineError, UsageError
from librehps.files import PARTIAL, check_parent, sync, writing
from librehps.rowfiles.parquet_file import footer
from librehps.scores.markers import (
    DONE_FILE,
    JOURNAL_SUFFIX,
    PART_KEY,
    SCORED_SUFFIXES,
    UNFINISHED_FILE,
)
from librehps.scores.parquet import ROW_GROUP_ROWS, dictionary_columns
from librehps.storage.at_once import at_once
from librehps.storage.outputs import content_of, listed, make_folder, put, remove
from librehps.storage.url_path import AnyPath, UrlPath

MIN_PART_ROWS, MAX_PART_ROWS, TARGET_PARTS = 64, 16_384, 256
# A part has a partial file for each process that writes it: a process that was given up may still
# write while another does.
PART_NAME = re.compile(r"part-(\d{12})\.parquet((?:\.[0-9a-f]+)?\.partial)?")
FOLDER_HINT = "Give a folder, such as -o scores; commands that read scores take folders."


def rows_of_part(total: int) -> int:
    """Return the rows per part, a power of two; small, because a kill loses unfinished parts."""
    target = max(MIN_PART_ROWS, min(MAX_PART_ROWS, total // TARGET_PARTS))
    return int(1 << (target.bit_length() - 1))


@dataclass(frozen=True)
class Part:
    """The metadata of a part: the run that wrote it, its first index, and its ok and error rows."""

    run: str
    first: int
    ok: int
    errors: int

    @property
    def rows(self) -> int:
        return self.ok + self.errors


class Parts:
    """The parts in the folder `output`, for a listing of `total` items; `rows` are those of each.

    A failed write raises OutputError.
    """

    def __init__(self, output: AnyPath, total: int, run: str, rows: int | None = None) -> None:
        self.output, self.total, self.run = output, total, run
        self.rows = rows_of_part(total) if rows is None else rows

    def begin(self) -> dict[int, Part]:
        """Create the folder, delete the parts of other runs, and return the complete parts."""
        with self.translated():
            make_folder(self.output)
            if self.done().get("run") != self.run:
                # In this order, so that an unfinished folder never looks finished.
                put(self.output / UNFINISHED_FILE, b"Continue with librehps score --resume\n")
                remove([self.output / DONE_FILE])
            whole = self.whole()
            self._delete(lambda first, is_partial: is_partial or first not in whole)
        return whole

    def _delete(self, is_wrong: Callable[[int, bool], bool]) -> None:
        """Delete the parts and partial files for which `is_wrong(first index, is partial)`."""
        found = [(PART_NAME.fullmatch(file.name), file) for file in listed(self.output)]
        remove(file for match, file in found if match and is_wrong(int(match[1]), bool(match[2])))

    def done(self) -> dict[str, Any]:
        """Return the content of `_DONE.json`; empty if the folder is not finished."""
        return done_facts(self.output)

    def whole(self) -> dict[int, Part]:
        """Return the complete parts of this run by their first index."""
        found = at_once(read_part, part_files(self.output))
        return {p.first: p for p in found if p and p.run == self.run and self._fits(p)}

    def bounds(self, index: int) -> tuple[int, int]:
        """Return (first, end) of the part that holds an index; `end` is exclusive."""
        first = index // self.rows * self.rows
        return first, min(first + self.rows, self.total)

    def path(self, first: int) -> AnyPath:
        return self.output / f"part-{first:012d}.parquet"

    def write(self, first: int, table: Any, errors: int) -> None:
        """Write a part atomically."""
        part = Part(self.run, first, len(table) - errors, errors)
        metadata = {**(table.schema.metadata or {}), PART_KEY: json.dumps(asdict(part))}
        table = table.replace_schema_metadata(metadata)
        content = pa.BufferOutputStream()
        pq.write_table(
            table,
            content,
            compression="zstd",
            row_group_size=ROW_GROUP_ROWS,
            use_dictionary=dictionary_columns(table.schema),
        )
        path = self.path(first)
        name = f"{path.name}.{secrets.token_hex(4)}{PARTIAL}"
        partial = path.with_name(name) if isinstance(path, Path) else None
        with self.translated():
            put(path, content.getvalue().to_pybytes(), partial)

    def read(self, first: int) -> Any:
        """Return the table of a part."""
        return pq.read_table(part_source(self.path(first)))

    def delete(self, first: int) -> None:
        """Delete a part, if it exists."""
        with self.translated():
            remove([self.path(first)])

    def finish(self) -> tuple[int, int]:
        """Mark the folder as finished, and return the numbers of (ok, error) rows.

        Raises EngineError, naming the missing parts.
        """
        whole = self.whole()
        missing = [first for first in range(0, self.total, self.rows) if first not in whole]
        if missing:
            names = ", ".join(self.path(first).name for first in missing[:8])
            raise EngineError(
                f"{self.output}: {len(missing)} parts are missing: {names}",
                hint="Continue with --resume.",
            )
        ok, errors = (sum(getattr(p, n) for p in whole.values()) for n in ("ok", "errors"))
        facts = {"rows": self.total, "ok": ok, "errors": errors, "parts": len(whole)}
        done = json.dumps({**facts, "run": self.run}) + "\n"
        with self.translated():
            # A process of an earlier run may have written a part since the start of this one.
            self._delete(lambda first, is_partial: is_partial or first not in whole)
            put(self.output / DONE_FILE, done.encode())
            remove([self.output / UNFINISHED_FILE])
            if isinstance(self.output, Path):
                sync(self.output)
        return ok, errors

    def _fits(self, part: Part) -> bool:
        first, after = self.bounds(part.first)
        return part.first == first and part.rows == after - first

    def translated(self) -> AbstractContextManager[None]:
        """Return a context manager that raises OutputError for a failed write of the block."""
        hint = "Finished parts are kept: free disk space, then continue with --resume."
        if isinstance(self.output, UrlPath):
            hint = "Finished parts are kept: continue with --resume."
        return writing(self.output, hint, (OSError, pa.ArrowException))


def done_facts(output: AnyPath) -> dict[str, Any]:
    """Return the content of a folder's `_DONE.json`; empty if the folder is not finished."""
    try:
        found = json.loads(content_of(output / DONE_FILE) or b"")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def part_files(output: AnyPath) -> list[AnyPath]:
    """Return the files of a folder's parts, sorted by first index."""
    found = [(PART_NAME.fullmatch(file.name), file) for file in listed(output)]
    return [file for match, file in sorted(found, key=_first) if match and not match[2]]


def _first(found: tuple[re.Match[str] | None, AnyPath]) -> int:
    return int(found[0][1]) if found[0] else -1


def part_source(file: AnyPath) -> Any:
    """Return a part as `pyarrow.parquet` reads it; a part in a bucket is read whole."""
    return file if isinstance(file, Path) else pa.BufferReader(file.read_bytes())


def read_part(file: AnyPath) -> Part | None:
    """Return the metadata of a part; None if the file is damaged or not a part.

    Raises StorageError for a part in a bucket that cannot be read.
    """
    try:
        metadata = footer(file)
        part = Part(**json.loads((metadata.metadata or {})[PART_KEY.encode()]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return part if metadata.num_rows == part.rows else None


def _is_file(output: AnyPath) -> bool:
    return output.exists() and not output.is_dir()


def check_folder(output: AnyPath) -> None:
    """Raise UsageError for an output that cannot be a folder of parts."""
    if not output.name:
        raise UsageError(f"{output}: the folder needs a name", hint=FOLDER_HINT)
    if isinstance(output, Path):
        check_parent(output, (JOURNAL_SUFFIX,))
    if output.suffix.lower() in SCORED_SUFFIXES:
        raise UsageError(
            f"{output}: the Ray engine writes a folder of parts, not a file", hint=FOLDER_HINT
        )
    if _is_file(output):
        raise UsageError(f"{output} is a file; expected a folder of parts", hint=FOLDER_HINT)
    marks = (DONE_FILE, UNFINISHED_FILE)
    ours = {*marks, *(mark + PARTIAL for mark in marks)}
    # A network file system keeps a deleted file that is still open as `.nfs...`.
    names = [file.name for file in listed(output) if not file.name.startswith(".nfs")]
    other = [name for name in names if name not in ours and not PART_NAME.fullmatch(name)]
    if other:
        raise UsageError(
            f"{output} holds {sorted(other)[0]}, which is not a part of scores",
            hint="Give a new or empty folder.",
        )
