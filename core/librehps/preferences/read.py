"""Read preference files, in our own layout or the layout of a benchmark or tool."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from librehps.choices import PairsFormat, check_choice
from librehps.errors import PreferenceError, UsageError
from librehps.markup import without_tags
from librehps.preferences.column_names import PairColumns, find_winner
from librehps.preferences.context import Context, merged_row
from librehps.preferences.formats import FORMATS, Format
from librehps.preferences.pairs import Pair, Preferences, check_ids, checked
from librehps.rowfiles import Placed, Row, RowFile
from librehps.storage.url_path import AnyPath, as_path, origins
from librehps.types import AXES

# Layouts whose columns may have any name.
FREE = ("pairs", "labelstudio", "argilla")


def read_preferences(
    path: str | Path,
    format: PairsFormat = "auto",
    root: str | Path | None = None,
    skip_missing: bool = False,
    axes: Sequence[str] = AXES,
    keep_markup: bool = False,
    columns: PairColumns | None = None,
) -> Preferences:
    """Return the pairs of a file; `format` auto detects the layout from all columns.

    Media paths are relative to `root`, by default the file's folder; `axes` may have columns of
    preferences. Tags such as `<lora:name:0.8>` are removed from prompts, as `score` does, unless
    `keep_markup`. `columns` names the columns of a file that is in no known layout. Raises
    PreferenceError, which names file, row and cause.
    """
    file, rows, chosen = _opened(path, format, columns)
    context = Context(_root(file, root), Counter(), axes=axes, homes=_homes(file, root))
    pairs = _pairs(chosen, rows, context, keep_markup, columns)
    return checked(file, pairs, context.left_out, skip_missing)


def read_unjudged(
    path: str | Path,
    format: PairsFormat = "auto",
    root: str | Path | None = None,
    keep_markup: bool = False,
    columns: PairColumns | None = None,
) -> list[Pair]:
    """Return the pairs of a file like `read_preferences`; preferences and media are optional.

    A pair without a preference, or with a missing media file, is returned too.
    """
    file, rows, chosen = _opened(path, format, columns, judged=False)
    homes = _homes(file, root)
    context = Context(_root(file, root), Counter(), judged=False, homes=homes)
    pairs = list(_pairs(chosen, rows, context, keep_markup, columns))
    check_ids(file, pairs)
    return pairs


def _opened(
    path: str | Path, format: PairsFormat, columns: PairColumns | None, judged: bool = True
) -> tuple[AnyPath, list[Placed], Format]:
    """Return the file, its rows under their new names, and its layout."""
    check_choice(format, PairsFormat, "format")
    named = columns or PairColumns()
    if named.is_named and format not in ("auto", *FREE):
        raise UsageError(
            f"names of columns: unsupported with --format {format}, which has fixed columns",
            hint="Leave out --format, or the names.",
        )
    file = as_path(path)
    rows = list(RowFile(file, PreferenceError).rows())
    if not rows:
        raise PreferenceError(f"{file} holds no rows; expected at least 2 pairs")
    rows = _renamed(file, rows, named)
    chosen = _detect(file, merged_row(rows), named, judged) if format == "auto" else FORMATS[format]
    return file, rows, chosen


def _renamed(file: AnyPath, rows: list[Placed], columns: PairColumns) -> list[Placed]:
    """Return the rows with their columns renamed; raises UsageError for an unknown column."""
    new = columns.rename
    if not new:
        return rows
    names = list(merged_row(rows))
    absent = [old for old in new if old not in names]
    if absent:
        raise UsageError(
            f"{file}: --rename: column not found: {', '.join(absent)}",
            hint=f"Its columns: {', '.join(map(str, names))}.",
        )
    renamed = [new.get(name, name) for name in names]
    if len(set(renamed)) < len(renamed):
        raise UsageError(f"{file}: --rename gives two columns the same name")
    return [(place, {new.get(k, k): v for k, v in row.items()}) for place, row in rows]


def _root(path: AnyPath, root: str | Path | None) -> AnyPath:
    return path.parent if root is None else as_path(root)


def _homes(path: AnyPath, root: str | Path | None) -> frozenset[str]:
    """Return the hosts and buckets that the user named."""
    return origins([path, _root(path, root)])


def _detect(path: AnyPath, row: Row, columns: PairColumns, judged: bool) -> Format:
    """Return the layout of a row with all columns; raises PreferenceError if not certain."""
    own = FORMATS["pairs"]
    if columns.a is not None and not any(FORMATS[n].matches(row) for n in FREE[1:]):
        return own
    found = {name: known for name, known in FORMATS.items() if known.matches(row)}
    if len(found) > 1:
        raise PreferenceError(
            f"{path}: the columns fit several layouts: {', '.join(found)}",
            hint=f"Name one: --format {next(iter(found))}",
        )
    name, chosen = next(iter(found.items()), ("pairs", own))
    if chosen.places and judged and not columns.is_named:
        winner = find_winner([str(column) for column in row], str(path))
        if winner is not None:
            raise PreferenceError(
                f"{path}: the columns fit {name}, but {winner} may say which side is preferred",
                hint=f"Name the column: --format pairs --winner-column {winner}; or ignore it: "
                f"--format {name}",
            )
    if columns.is_named and name not in FREE:
        return own
    return chosen


def _pairs(
    chosen: Format,
    rows: Sequence[Placed],
    context: Context,
    keep_markup: bool,
    columns: PairColumns | None,
) -> Iterator[Pair]:
    given = columns or PairColumns()
    adapted = rows if chosen.adapt is None else chosen.adapt(rows, given, context)
    for place, row in adapted:
        missing = chosen.columns - row.keys() if chosen.adapt is None else ()
        if missing:
            raise PreferenceError(f"{place} lacks {', '.join(sorted(missing))}")
        for pair in chosen.read(place, row, context):
            yield pair if keep_markup else replace(pair, prompt=without_tags(pair.prompt))
