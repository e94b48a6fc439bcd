"""Rows of pairs under other column names, as rows of our own layout."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from librehps.errors import PreferenceError
from librehps.preferences.column_names import (
    FLAGS_HINT,
    MediaColumns,
    PairColumns,
    find_media,
    find_prompt,
    find_winner,
    model_columns,
    named_media,
)
from librehps.preferences.context import Context, is_missing, merged_row
from librehps.preferences.own import MEDIA, RATINGS, VOTES, preference_columns
from librehps.preferences.sides import Sides
from librehps.rowfiles import Placed, Row

# Columns that `librehps compare` writes.
VERDICT_COLUMNS = ("win_probability", "p_a_wins")


@dataclass(frozen=True)
class Layout:
    """The columns of a file: of the media, the prompt and the preferred side, if any.

    `named` are pairs of columns whose values may name the preferred side: the media, and columns
    such as model_a and model_b.
    """

    media: MediaColumns
    prompt: str
    sides: Sides | None
    named: Sequence[tuple[str, str]] = ()

    def own_row(self, place: str, row: Row, context: Context) -> dict[str, Any]:
        """Return a row of our own layout; raises PreferenceError for an uncertain meaning."""
        taken = {self.media.a, self.media.b, self.prompt}
        for name in taken:
            if name not in row:
                raise PreferenceError(f"{place} lacks {name}")
        own = {name: value for name, value in row.items() if name not in taken}
        media = [row[name] for name in (self.media.a, self.media.b)]
        own |= dict(zip(MEDIA, (row[self.prompt], *media), strict=True))
        preference = self._preference(place, row)
        if preference is not None:
            own[_axis(place, row, context.axes)] = preference
        return own

    def _preference(self, place: str, row: Row) -> float | None:
        if self.sides is None:
            return 1.0 if self.media.is_verdict else None
        value = row.get(self.sides.column)
        for names in self.named:
            a, b = (row.get(name) for name in names)
            if isinstance(value, str) and value in (a, b) and a != b:
                return float(value == a)
        return self.sides.preference(place, value)


def own_rows(rows: Sequence[Placed], columns: PairColumns, context: Context) -> Iterator[Placed]:
    """Yield the rows in our own layout; raises PreferenceError if the columns are not certain."""
    layout = _layout(rows[0][0], merged_row(rows), columns, context)
    for where, row in rows:
        if layout is None:
            check_whole(where, row)
            yield where, row
            continue
        yield where, layout.own_row(where, row, context)


def _layout(place: str, row: Row, columns: PairColumns, context: Context) -> Layout | None:
    """Return the layout that a first row shows; None for our own."""
    names = [str(name) for name in row]
    media, prompt = media_columns(place, names, columns), prompt_column(place, names, columns)
    winner = _winner(place, row, columns, media, context) if context.judged else None
    if winner is None and not columns.is_named and set(MEDIA) <= row.keys():
        return None
    if winner is None and context.judged and not media.is_verdict:
        _check_preference(place, row, context)
    sides = None if winner is None else Sides(media, winner, columns.winner_values)
    return Layout(media, prompt, sides, ((media.a, media.b), *model_columns(names, media)))


def media_columns(place: str, names: Sequence[str], columns: PairColumns) -> MediaColumns:
    """Return the columns of the media, named or found; raises PreferenceError if there are none."""
    if columns.a is not None and columns.b is not None:
        check_there(place, names, (columns.a, columns.b))
        return named_media(columns.a, columns.b)
    found = find_media(names, place)
    if found is None:
        missing = [name for name in MEDIA if name not in names]
        raise PreferenceError(
            f"{place} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            hint=f"{FLAGS_HINT} Its columns: {', '.join(names)}.",
        )
    return found


def prompt_column(place: str, names: Sequence[str], columns: PairColumns) -> str:
    """Return the column of the prompt, named or found; raises PreferenceError without one."""
    if columns.prompt is not None:
        check_there(place, names, (columns.prompt,))
        return columns.prompt
    found = find_prompt(names)
    if found is None:
        raise PreferenceError(
            f"{place} lacks the column prompt",
            hint=f"Name it: --prompt-column COLUMN. Its columns: {', '.join(names)}.",
        )
    return found


def check_whole(place: str, row: Row) -> None:
    """Raise PreferenceError for a row of our own layout without media or prompt."""
    missing = sorted(set(MEDIA) - row.keys())
    if missing:
        raise PreferenceError(f"{place} lacks {', '.join(missing)}")


def check_there(place: str, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise PreferenceError for a named column that is not in the row."""
    absent = [name for name in wanted if name not in names]
    if absent:
        raise PreferenceError(
            f"{place} lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)}",
            hint=f"Its columns: {', '.join(names)}.",
        )


def _winner(
    place: str, row: Row, columns: PairColumns, media: MediaColumns, context: Context
) -> str | None:
    """Return the column that names the preferred side; None if other columns say it."""
    if columns.winner is not None:
        check_there(place, list(row), (columns.winner,))
        return columns.winner
    said = set(row) & (preference_columns(context.axes) - {*RATINGS, media.a, media.b})
    if said and set(MEDIA) <= row.keys():
        return None
    others = [str(name) for name in row if name not in (media.a, media.b)]
    found = find_winner(others, place)
    if found is not None and set(VERDICT_COLUMNS) & row.keys():
        raise PreferenceError(
            f"{place}: {found} holds verdicts of a model, not of people: the file was written by "
            "`librehps compare`",
            hint="Give the file of people's preferences.",
        )
    verdict = f"{media.a}, {media.b}" if media.is_verdict else found
    if verdict is not None and (shares := sorted(said & {"overall", *VOTES})):
        raise PreferenceError(
            f"{place}: both {', '.join(shares)} and {verdict} say which side is preferred",
            hint=f"Keep one: --rename {shares[0]}=my_{shares[0]}",
        )
    if found is None:
        return None
    if media.is_verdict:
        raise PreferenceError(
            f"{place}: both the columns {media.a}, {media.b} and the column {found} say which side "
            "is preferred",
            hint=f"Name the column: --winner-column {found}; or ignore it: --rename "
            f"{found}=my_{found}",
        )
    return found


def _check_preference(place: str, row: Row, context: Context) -> None:
    if not preference_columns(context.axes) & row.keys():
        raise PreferenceError(
            f"{place}: no column says which side is preferred",
            hint=f"Name it: --winner-column COLUMN. Its columns: {', '.join(map(str, row))}.",
        )


def _axis(place: str, row: Row, axes: Sequence[str]) -> str:
    """Return the axis that a judgement is on, from the column `axis`; overall without one."""
    axis = row.get("axis")
    if is_missing(axis):
        return "overall"
    if axis not in axes:
        raise PreferenceError(
            f"{place}: axis: expected {', '.join(axes)}, got {axis!r}",
            hint="If the column has another meaning: --rename axis=my_axis",
        )
    return str(axis)
