"""Reading of scored files: one file, several, a folder of parts, or JSON Lines on stdin."""

import json
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.errors import StorageError, UsageError
from librehps.files import PARTIAL
from librehps.paths import glob_start, is_glob
from librehps.rowfiles.parquet_file import footer
from librehps.scores.markers import (
    IGNORED_PREFIXES,
    JOURNAL_SUFFIXES,
    PART_KEY,
    PLACE,
    PLACE_KEY,
    REQUEST_KEY,
    SCORED_SUFFIXES,
    SETTINGS_KEY,
    SETTINGS_SUFFIX,
    UNFINISHED_FILE,
    settings_file,
)
from librehps.scores.media_folder import MediaFolder, Origin, unite
from librehps.scores.shards import AS_FILES, check_shards, listed
from librehps.scores.stdin_peek import first_json_line
from librehps.settings import comparable, differing, united
from librehps.storage.at_once import at_once
from librehps.storage.url_path import AnyPath, UrlPath, as_path
from librehps.types import AXES

if TYPE_CHECKING:
    from librehps.scores.scored_file import ScoredFile

STDIN = Path("-")
SPREADSHEETS = {".csv": ",", ".tsv": "\t"}
MAX_HEADER_BYTES = 1 << 16
# Columns that distinguish a scored file from a manifest.
SCORED_COLUMNS = {"status", "overall_mu"}
# Smaller files are read whole: then a file may change while its table is in use.
MAX_BYTES_IN_MEMORY = 16 << 20
SETTINGS_HINT = (
    "Scores of different settings cannot be compared: score all items with the same settings."
)


def read_table(paths: Sequence[AnyPath]) -> tuple[Any, dict[str, Any]]:
    """Return one Arrow table of all files, and the settings record, empty if no file has one.

    `-` is JSON Lines on stdin. Raises UsageError for a missing or unreadable file, a folder with a
    missing part, and files with different settings.
    """
    table, record, _ = open_table(paths)
    return table.read() if hasattr(table, "read") else table, record


def open_table(paths: Sequence[AnyPath]) -> tuple[Any, dict[str, Any], MediaFolder]:
    """Return the table and settings of `read_table`, and the folders of the media.

    The table of large files is a FileTable, which has the methods of `pyarrow.Table` that decisions
    use, and reads columns when they are needed. Relative paths of files from different folders
    become absolute.
    """
    import pyarrow as pa

    from librehps.scores.file_table import FileTable, reading
    from librehps.scores.key_codes import warn_of_duplicates
    from librehps.scores.scored_file import AbsoluteMedia, ScoredFile

    files = [file for path in paths for file in _files(path)]
    _ask_at_once(files)
    opened, records, origins = list[ScoredFile](), [], []
    for file in files:
        with reading(file):
            opened.append(_rows(file))
            record, request, place = _records(file, opened[-1].schema.metadata or {})
            origins.append(Origin() if file == STDIN else Origin.of(place, request, file))
        if record:
            records.append((file, record))
    _check_same([(file, record) for file, record in records if comparable(record)])
    folder, starts = unite(origins)
    if starts is not None:
        opened = [AbsoluteMedia(*pair) for pair in zip(opened, starts, strict=True)]
    try:
        schema = pa.unify_schemas([rows.schema for rows in opened], promote_options="permissive")
    except pa.ArrowException as error:
        names = ", ".join(map(str, files))
        raise UsageError(f"{names} have columns that differ in type: {error}") from error
    schema = schema.with_metadata(_joined_metadata(opened))
    table: Any = FileTable(list(zip(map(str, files), opened, strict=True)), schema)
    if sum(rows.nbytes for rows in opened) <= MAX_BYTES_IN_MEMORY:
        table = table.read()
    _check_one_settings(table, files)
    if len(files) > 1:
        warn_of_duplicates(table, opened)
    return table, united([record for _, record in records]), folder


def _check_same(records: Sequence[tuple[AnyPath, dict[str, Any]]]) -> None:
    """Raise UsageError if two files have different settings."""
    for file, record in records[1:]:
        differ = differing(records[0][1], record)
        if differ:
            raise UsageError(
                f"{file} and {records[0][0]} differ in settings: {', '.join(differ)}",
                hint=SETTINGS_HINT,
            )


def _joined_metadata(opened: Sequence[Any]) -> dict[bytes, bytes]:
    """Return the metadata of the first file, without what describes that file alone."""
    metadata = dict(opened[0].schema.metadata or {})
    metadata.pop(PART_KEY.encode(), None)
    for name in (REQUEST_KEY, PLACE_KEY) if len(opened) > 1 else ():
        metadata.pop(name.encode(), None)
    return metadata


def are_scored(paths: Sequence[str]) -> bool:
    """Return whether the paths are scored files, not media or manifests to score.

    Raises UsageError for a mix of both.
    """
    scored = [path for path in paths if _is_scored(as_path(path))]
    if scored and len(scored) < len(paths):
        other = next(path for path in paths if path not in scored)
        raise UsageError(
            f"cannot mix scored files with media: {scored[0]} is a scored file, {other} is not"
        )
    return bool(scored)


def check_no_spreadsheet(paths: Sequence[str]) -> None:
    """Raise UsageError for scores that were written as CSV: they are no manifest to score."""
    for path in map(as_path, paths):
        delimiter = SPREADSHEETS.get(path.suffix.lower())
        if delimiter is None or isinstance(path, UrlPath) or not path.is_file():
            continue
        with path.open("rb") as lines:
            header = lines.readline(MAX_HEADER_BYTES).removeprefix(BOM_UTF8).strip()
        names = {name.strip('"') for name in header.decode(errors="replace").split(delimiter)}
        if names >= SCORED_COLUMNS:
            raise _unsupported(path)


def _unsupported(path: AnyPath) -> UsageError:
    hint = "CSV is for spreadsheets, and keeps no settings: give the file it was made from."
    return UsageError(
        f"{path}: unsupported scored file; expected .parquet or .jsonl",
        hint=hint if path.suffix.lower() in SPREADSHEETS else None,
    )


def origin_of(paths: Sequence[AnyPath]) -> str:
    """Return the name of the paths for messages: the first path, "and others" for more."""
    first = "stdin" if paths[0] == STDIN else str(paths[0])
    return first if len(paths) == 1 else f"{first} and others"


def _matching(pattern: AnyPath) -> list[AnyPath]:
    """Return the files and folders that match a pattern, sorted by name."""
    if isinstance(pattern, UrlPath):
        return [*pattern.glob()]
    start = glob_start(pattern)
    rest = str(pattern.relative_to(start))
    return sorted(start / name for name in glob(rest, root_dir=start, recursive=True))  # noqa: PTH207


def _is_scored(path: AnyPath) -> bool:
    if _is_pattern(path):
        found = _matching(path)
        return bool(found) and all(_is_scored(file) for file in found)
    if path.is_dir():
        inside: Iterable[AnyPath] = path.iterdir()
        parts = [p for p in inside if not p.name.startswith(IGNORED_PREFIXES)]
        beside = (SETTINGS_SUFFIX, PARTIAL, *JOURNAL_SUFFIXES)
        kept = [p for p in parts if not p.name.lower().endswith(beside)]
        are_tables = all(p.suffix.lower() in SCORED_SUFFIXES and p.is_file() for p in kept)
        is_running = any(p.name.lower().endswith(JOURNAL_SUFFIXES) for p in parts)
        _ask_at_once(kept if are_tables else [])
        return (bool(kept) or is_running) and are_tables and all(_is_scored(p) for p in kept)
    try:
        return _names(path) >= SCORED_COLUMNS
    except (OSError, ValueError, StorageError):
        # The reader reports the error when it opens the file.
        return False


def _names(path: AnyPath) -> set[str]:
    """Return the column names of a table (JSON Lines: of the first row); empty for other files."""
    if path == STDIN:
        return _keys(first_json_line())
    if _is_parquet(path):
        return set(footer(path).schema.to_arrow_schema().names)
    if path.suffix.lower() == ".jsonl":
        with path.open("rb") as lines:
            found = (line.removeprefix(BOM_UTF8) for line in lines)
            return _keys(next((line for line in found if line.strip()), None))
    return set()


def _keys(line: bytes | None) -> set[str]:
    """Return the keys of a JSON line; an empty input counts as a scored file."""
    if line is None:
        return SCORED_COLUMNS
    row = json.loads(line or b"0")
    return set(row) if isinstance(row, dict) else set()


def _check_one_settings(table: Any, files: Sequence[AnyPath]) -> None:
    """Raise UsageError if rows have digests of different settings."""
    if "settings" not in table.column_names:
        return
    from librehps.scores.select import distinct_texts

    digests = sorted(digest for digest in distinct_texts(table, "settings") if digest)
    if len(digests) > 1:
        raise UsageError(
            f"{', '.join(map(str, files))}: rows of {len(digests)} different settings: "
            f"{', '.join(digests)}",
            hint=SETTINGS_HINT,
        )


def _is_pattern(path: AnyPath) -> bool:
    return path.is_pattern() if isinstance(path, UrlPath) else is_glob(path)


def _ask_at_once(files: Sequence[AnyPath]) -> None:
    """Read the footers of Parquet files at URLs, which are then kept, several at once."""
    at_once(footer, [file for file in files if isinstance(file, UrlPath) and _is_parquet(file)])


def _is_parquet(file: AnyPath) -> bool:
    return file.suffix.lower() == ".parquet"


def _files(path: AnyPath) -> list[AnyPath]:
    if path == STDIN:
        return [path]
    if _is_pattern(path) and (found := _matching(path)):
        return [file for match in found for file in _files(match)]
    if path.is_dir():
        return _parts(path)
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    if path.suffix.lower() not in SCORED_SUFFIXES:
        raise _unsupported(path)
    return [path]


def _parts(folder: AnyPath) -> list[AnyPath]:
    """Return the scored files of a folder; raises UsageError if some are missing."""
    if (folder / UNFINISHED_FILE).exists():
        raise UsageError(
            f"{folder} is unfinished: parts of it are missing",
            hint="Finish the run with --resume, or give single parts as files.",
        )
    found: Iterable[AnyPath] = folder.iterdir()
    named = sorted((p for p in found if not p.name.startswith(IGNORED_PREFIXES)), key=_name)
    journals = [p for p in named if p.name.lower().endswith(JOURNAL_SUFFIXES)]
    if journals:
        raise UsageError(
            f"{folder} is unfinished: it holds {listed('journal', [p.name for p in journals])}",
            hint=f"Finish {journals[0].stem}: repeat its command with --resume. " + AS_FILES,
        )
    parts = [p for p in named if p.suffix.lower() in SCORED_SUFFIXES]
    if not parts:
        raise UsageError(f"no .parquet or .jsonl file in {folder}")
    _ask_at_once(parts)
    check_shards(folder, {part: _asked(part) for part in parts})
    return parts


def _name(path: AnyPath) -> str:
    return path.name


def _asked(file: AnyPath) -> dict[str, Any]:
    """Return the request of a file that is a whole output; empty for a part of a folder."""
    import pyarrow as pa

    try:
        metadata = _metadata(file)
        return {} if PART_KEY.encode() in metadata else _settings(file, metadata)[1]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error


def _rows(file: AnyPath) -> "ScoredFile":
    from librehps.scores.json_table import JsonRows
    from librehps.scores.scored_file import ParquetRows

    if file == STDIN:
        return JsonRows(sys.stdin.buffer, AXES)
    if _is_parquet(file):
        return ParquetRows(file)
    record, _, _ = _records(file, {})
    with file.open("rb") as lines:
        return JsonRows(lines, record.get("axes", AXES))


def read_origin(file: AnyPath) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (settings, request) of one scored file; each is empty if not stored."""
    try:
        return _settings(file, _metadata(file))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error


def _metadata(file: AnyPath) -> dict[bytes, bytes]:
    if not _is_parquet(file):
        return {}
    return footer(file).schema.to_arrow_schema().metadata or {}


def _settings(file: AnyPath, metadata: dict[bytes, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (settings, request) from the file's metadata, or from its .settings.json file."""
    settings, request, _ = _records(file, metadata)
    return settings, request


def _records(
    file: AnyPath, metadata: dict[bytes, bytes]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return (settings, request, place), each empty if not stored."""
    names = (SETTINGS_KEY, REQUEST_KEY, PLACE_KEY)
    beside = settings_file(file)
    if any(name.encode() in metadata for name in names) or not beside.exists():
        found = (json.loads(metadata.get(name.encode(), b"{}")) for name in names)
        settings, request, place = found
        return settings, request, place
    record: dict[str, Any] = json.loads(beside.read_bytes())
    return record, record.pop("request", {}), record.pop(PLACE, {})
