"""Score tables: scored rows and rows with errors, and the settings that scores depend on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.errors import ExtraNeededError
from librehps.scores.columns import PHASH, axes_among
from librehps.scores.media_folder import MediaFolder
from librehps.storage.url_path import AnyPath, as_path

if TYPE_CHECKING:
    from librehps.settings import Settings
    from librehps.types import ScoredRow

DEFAULT_ORIGIN = "the table"


class ScoreTable:
    """A table with one row per item: its scores, or its error.

    `table` is the `pyarrow.Table`; `to_pandas` returns a DataFrame. `settings` records everything
    that the scores depend on, empty if the files hold no settings. `origin` names the rows in
    messages. `folder` finds the files of the column media. `source` is the `pyarrow.Table`, or of
    large files a FileTable, which reads columns when they are needed; only `table` reads them all.
    """

    def __init__(
        self,
        table: Any,
        settings: Mapping[str, Any] | None = None,
        origin: str = DEFAULT_ORIGIN,
        folder: MediaFolder | None = None,
    ) -> None:
        self.source = table
        self.settings: Mapping[str, Any] = {} if settings is None else settings
        self.origin = origin
        self.folder = MediaFolder() if folder is None else folder

    def __repr__(self) -> str:
        return f"ScoreTable(settings={self.settings!r}, origin={self.origin!r})"

    @cached_property
    def table(self) -> Any:
        """The `pyarrow.Table` with all rows and columns."""
        return self.source.read() if hasattr(self.source, "read") else self.source

    @classmethod
    def from_rows(
        cls, rows: "Iterable[ScoredRow]", settings: "Settings", origin: str = "what was scored"
    ) -> "ScoreTable":
        """Return the table of scored rows, as from `LibreHPS.score_items`, with own columns."""
        from librehps.scores.row import to_record
        from librehps.scores.table import table_of

        records = [{**to_record(row, settings), **_hash(row), **row.item.extra} for row in rows]
        table = table_of(records, settings.axes)
        return cls(table, settings.record(), origin, MediaFolder.here())

    def __len__(self) -> int:
        return len(self.source)

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of the scores: each column that has a `<name>_mu` column too, in order."""
        return axes_among(self.source.column_names)

    @property
    def own_axes(self) -> tuple[str, ...]:
        """Axes of the table's own model, without those of files that `join_scores` added."""
        return tuple(axis for axis in self.axes if "." not in axis)

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        names: list[str] = self.source.column_names
        return names

    @property
    def digest(self) -> str | None:
        """Digest of the settings in the rows, None if no row has one."""
        if "settings" not in self.columns:
            return None
        from librehps.scores.select import distinct_texts

        return next((d for d in distinct_texts(self.source, "settings") if d), None)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dict of plain Python values."""
        for batch in self.source.to_batches():
            yield from batch.to_pylist()

    def errors(self) -> "ScoreTable":
        """Return the rows that could not be scored."""
        from librehps.scores.select import ok_rows

        return self.of(self.source.filter(~ok_rows(self.source)))

    def of(self, table: Any) -> "ScoreTable":
        """Return a score table of another Arrow table, with the same settings and origin."""
        return ScoreTable(table, self.settings, self.origin, self.folder)

    def to_arrow(self) -> Any:
        """Return the `pyarrow.Table`."""
        return self.table

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`; raises ExtraNeededError if pandas is not installed."""
        if find_spec("pandas") is None:
            raise ExtraNeededError("to_pandas needs pandas", hint="Run: pip install pandas")
        return self.table.to_pandas()

    def write(self, output: str | AnyPath, *, overwrite: bool = False) -> None:
        """Write X.parquet or X.jsonl with the settings, or X.csv or X.tsv; also at a URL.

        Raises UsageError if X exists.
        """
        from librehps.scores.table import write_table
        from librehps.scores.writer import check_table_output
        from librehps.storage.outputs import as_output

        file = as_output(output)
        check_table_output(file, overwrite)
        write_table(self.source, dict(self.settings), file, self.folder.record(file))


def _hash(row: "ScoredRow") -> dict[str, str]:
    return {} if row.phash is None else {PHASH: row.phash}


# Input of every decision: a table, or scored files.
Scores = ScoreTable | str | Path | Sequence[str | Path]


def read_scores(paths: str | Path | Sequence[str | Path]) -> ScoreTable:
    """Return the score table of X.parquet, X.jsonl, a folder of parts, several, or - for stdin.

    Rows of vanished items, and the column that tells them, are left out with a warning. Raises
    UsageError for a missing or unreadable file, for a folder that lacks a part, and for files with
    different settings.
    """
    from librehps.scores.read import open_table, origin_of
    from librehps.scores.select import without_vanished

    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    files = [as_path(path) for path in listed]
    table, settings, folder = open_table(files)
    origin = origin_of(files)
    return ScoreTable(without_vanished(table, origin), settings, origin, folder)


def as_score_table(scores: Scores) -> ScoreTable:
    """Return a ScoreTable of a ScoreTable, of an Arrow table, or of the paths of scored files."""
    if isinstance(scores, ScoreTable):
        return scores
    if hasattr(scores, "column_names"):
        return ScoreTable(scores)
    return read_scores(scores)
