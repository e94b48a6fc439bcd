"""Read preference files, in our own layout or the layout of a known benchmark."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from librehps.choices import PairsFormat, check_choice
from librehps.errors import PreferenceError
from librehps.markup import without_tags
from librehps.preferences.formats import FORMATS, Context, Format
from librehps.preferences.pairs import Pair, Preferences, check_ids, checked
from librehps.rowfiles import Row, RowFile
from librehps.storage.url_path import AnyPath, as_path, origins
from librehps.types import AXES


def read_preferences(
    path: str | Path,
    format: PairsFormat = "auto",
    root: str | Path | None = None,
    skip_missing: bool = False,
    axes: Sequence[str] = AXES,
    keep_markup: bool = False,
) -> Preferences:
    """Return the pairs of a file; `format` auto detects the layout from the columns.

    Media paths are relative to `root`, by default the file's folder; `axes` may have columns of
    preferences. Tags such as `<lora:name:0.8>` are removed from prompts, as `score` does, unless
    `keep_markup`. Raises PreferenceError, which names file, row and cause.
    """
    check_choice(format, PairsFormat, "format")
    file = as_path(path)
    rows = list(RowFile(file, PreferenceError).rows())
    if not rows:
        raise PreferenceError(f"{file} holds no rows; expected at least 2 pairs")
    chosen = _detect(file, rows[0][1]) if format == "auto" else FORMATS[format]
    context = Context(_root(file, root), Counter(), axes=axes, homes=_homes(file, root))
    pairs = _pairs(chosen, rows, context, keep_markup)
    return checked(file, pairs, context.left_out, skip_missing)


def read_unjudged(
    path: str | Path,
    format: PairsFormat = "auto",
    root: str | Path | None = None,
    keep_markup: bool = False,
) -> list[Pair]:
    """Return the pairs of a file like `read_preferences`; preferences and media are optional.

    A pair without a preference, or with a missing media file, is returned too.
    """
    check_choice(format, PairsFormat, "format")
    file = as_path(path)
    rows = list(RowFile(file, PreferenceError).rows())
    if not rows:
        raise PreferenceError(f"{file} holds no rows")
    chosen = _detect(file, rows[0][1]) if format == "auto" else FORMATS[format]
    homes = _homes(file, root)
    context = Context(_root(file, root), Counter(), judged=False, homes=homes)
    pairs = list(_pairs(chosen, rows, context, keep_markup))
    check_ids(file, pairs)
    return pairs


def _root(path: AnyPath, root: str | Path | None) -> AnyPath:
    return path.parent if root is None else as_path(root)


def _homes(path: AnyPath, root: str | Path | None) -> frozenset[str]:
    """Return the hosts and buckets that the user named."""
    return origins([path, _root(path, root)])


def _detect(path: AnyPath, row: Row) -> Format:
    """Return the first format whose columns are all in the row; raises PreferenceError."""
    for known in FORMATS.values():
        if known.columns <= row.keys():
            return known
    own = next(iter(FORMATS.values()))
    missing = sorted(own.columns - row.keys())
    raise PreferenceError(
        f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
        hint=f"Its columns: {', '.join(map(str, row))}. Supported layouts: {', '.join(FORMATS)}.",
    )


def _pairs(
    chosen: Format, rows: list[tuple[str, Row]], context: Context, keep_markup: bool
) -> Iterator[Pair]:
    for place, row in rows:
        missing = chosen.columns - row.keys()
        if missing:
            raise PreferenceError(f"{place} lacks {', '.join(sorted(missing))}")
        for pair in chosen.read(place, row, context):
            yield pair if keep_markup else replace(pair, prompt=without_tags(pair.prompt))
