"""Questions of annotation tools whose answers name a side of a pair."""

from collections.abc import Mapping, Sequence
from typing import Any

from librehps.errors import PreferenceError
from librehps.preferences.column_names import MediaColumns, PairColumns, normal
from librehps.preferences.context import Context, is_missing
from librehps.preferences.other_columns import check_there
from librehps.preferences.own import MEDIA, own_columns
from librehps.preferences.sides import Sides
from librehps.rowfiles import Row


def own_row(
    place: str, name: str, data: Row, media: MediaColumns, prompt: str, context: Context
) -> dict[str, Any]:
    """Return a row of our own layout without a preference; its other columns are of `data`."""
    taken = (prompt, media.a, media.b)
    check_there(place, list(data), taken)
    # Data of a task, such as a column `overall`, is nobody's judgement.
    dropped = {*taken, *own_columns(context.axes)}
    row = {column: value for column, value in data.items() if column not in dropped}
    own = zip(MEDIA, (data[prompt], data[media.a], data[media.b]), strict=True)
    return {**row, "pair_id": name, **dict(own)}


def judging(
    place: str,
    values: Mapping[str, Sequence[Any]],
    media: MediaColumns,
    columns: PairColumns,
    context: Context,
) -> dict[str, tuple[str, Sides]]:
    """Return the axis and the sides of each question whose answers name a side of the pair.

    A question named like an axis is on this axis, another on overall. `columns.winner` names the
    question on overall. Raises PreferenceError for no or several questions on overall.
    """
    sides = {name: Sides(media, name, columns.winner_values) for name in values}
    if columns.winner is not None:
        if columns.winner not in sides:
            raise PreferenceError(
                f"{place}: no answer to {columns.winner}",
                hint=f"Questions with answers: {', '.join(values) or 'none'}.",
            )
        return {columns.winner: ("overall", sides[columns.winner])}
    understood = {
        name: sides[name]
        for name, given in values.items()
        if all(map(sides[name].understands, given)) and not all(map(is_missing, given))
    }
    found = {n: (normal(n), s) for n, s in understood.items() if normal(n) in context.axes}
    others = [name for name in understood if name not in found]
    if len(others) > 1 or (others and any(axis == "overall" for axis, _ in found.values())):
        raise PreferenceError(
            f"{place}: several questions may say which side is better: {', '.join(understood)}",
            hint=f"Name it: --winner-column {others[0]}; or name the questions like axes: "
            f"{', '.join(context.axes)}.",
        )
    found |= {name: ("overall", understood[name]) for name in others}
    if not found:
        asked = "; ".join(f"{name}: {_some(given)}" for name, given in values.items()) or "none"
        raise PreferenceError(
            f"{place}: no question whose answers name a side of the pair (answers: {asked})",
            hint="Name it, and what its values mean: --winner-column QUESTION --winner-values "
            "A,B,TIE",
        )
    return found


def _some(values: Sequence[Any]) -> str:
    return ", ".join(list(dict.fromkeys(map(str, values)))[:3])
