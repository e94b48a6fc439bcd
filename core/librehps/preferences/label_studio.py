"""Pairwise judgements that Label Studio exports as JSON, JSON-MIN or CSV, as rows of our layout.

JSON: a task with its `data` and `annotations`, each with the `result` of every control tag.
JSON-MIN and CSV: a row for each annotation, with the task's data and a column for each control.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from librehps.errors import PreferenceError
from librehps.preferences.column_names import (
    MediaColumns,
    PairColumns,
    find_media,
    named_media,
)
from librehps.preferences.context import NO_PREFERENCE, Context
from librehps.preferences.other_columns import media_columns, prompt_column
from librehps.preferences.own import RATER
from librehps.preferences.questions import judging, own_row
from librehps.preferences.sides import Sides
from librehps.rowfiles import Placed, Row

SKIPPED = "annotation skipped by its annotator"
NOT_ANNOTATED = "task without an annotation"
# Columns of JSON-MIN and CSV that are not the task's data.
MIN_COLUMNS = frozenset(
    ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")
)
LOCAL_FILES, UPLOADS = "/data/local-files/", "/data/upload/"


@dataclass(frozen=True)
class Annotation:
    """The answers of an annotator to a task: the values of the tags that compare or choose.

    `order` are the names of the two compared objects, left first, where the export has them.
    """

    rater: Any
    answers: Mapping[str, Any]
    order: Sequence[str] = ()


@dataclass(frozen=True)
class Task:
    """A task: its number, its data, and the annotations that were not skipped."""

    place: str
    name: str
    data: Row
    annotations: list[Annotation] = field(default_factory=list)


def is_task(row: Row) -> bool:
    """Return True for a task of a JSON export, or an annotation of a JSON-MIN or CSV export."""
    has_list = any(isinstance(row.get(name), list) for name in ("annotations", "completions"))
    is_json = isinstance(row.get("data"), dict) and has_list
    return is_json or {"annotator", "annotation_id", "lead_time"} <= row.keys()


def label_studio_rows(
    rows: Sequence[Placed], columns: PairColumns, context: Context
) -> Iterator[Placed]:
    """Yield a row of our own layout for each annotation, with its annotator as `rater`."""
    tasks = [_task(place, row, context) for place, row in rows]
    media = _media(tasks, columns)
    prompt = prompt_column(tasks[0].place, list(tasks[0].data), columns)
    if not context.judged:
        # JSON-MIN has a row for each annotation of a task.
        for task in {task.name: task for task in tasks}.values():
            yield task.place, own_row(task.place, task.name, task.data, media, prompt, context)
        return
    controls = _controls(tasks, media, columns, context)
    for task in tasks:
        row = own_row(task.place, task.name, task.data, media, prompt, context)
        for annotation in task.annotations:
            found = _preferences(task.place, annotation, controls)
            if not found:
                context.left_out[NO_PREFERENCE] += 1
            else:
                yield task.place, {**row, **found, RATER: annotation.rater}


def _task(place: str, row: Row, context: Context) -> Task:
    """Return the task of a row; counts skipped annotations and tasks without an annotation."""
    if not isinstance(row.get("data"), dict):
        return _min_task(place, row)
    task = Task(place, str(row.get("id", place)), _with_paths(row["data"]))
    given = row.get("annotations") or row.get("completions") or []
    if not given:
        context.left_out[NOT_ANNOTATED] += 1
    for annotation in given:
        if not isinstance(annotation, dict):
            raise PreferenceError(
                f"{place}: expected annotations with their results, got {annotation!r}",
                hint="Export the tasks as JSON, with their annotations.",
            )
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            context.left_out[SKIPPED] += 1
        else:
            task.annotations.append(_annotation(annotation))
    return task


def _annotation(record: Mapping[str, Any]) -> Annotation:
    answers: dict[str, Any] = {}
    order: Sequence[str] = ()
    for result in record.get("result") or []:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            continue
        if "selected" in value:
            answers[result["from_name"]] = value["selected"]
            order = str(result.get("to_name", "")).split(",")
        elif "choices" in value:
            answers[result["from_name"]] = _one(value["choices"])
    return Annotation(_rater(record.get("completed_by")), answers, order)


def _min_task(place: str, row: Row) -> Task:
    """Return the task of a row of JSON-MIN or CSV, which holds one annotation."""
    answers, data = {}, {}
    for name, value in row.items():
        answer = _answer(value)
        if answer is not None:
            answers[name] = answer
        elif name not in MIN_COLUMNS:
            data[name] = value
    # A choice is a plain text here, like the task's data.
    answers = {**{k: v for k, v in data.items() if isinstance(v, str)}, **answers}
    annotation = Annotation(_rater(row.get("annotator")), answers)
    return Task(place, str(row.get("id", place)), _with_paths(data), [annotation])


def _answer(value: Any) -> Any:
    """Return the side of `[{"selected": "left"}]`, also written as text; None for other values."""
    if isinstance(value, str) and value.startswith("[{") and '"selected"' in value:
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return None
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value[0].get("selected")
    return None


def _media(tasks: Sequence[Task], columns: PairColumns) -> MediaColumns:
    """Return the data of the left and the right side; raises PreferenceError if not certain."""
    first, given = tasks[0], (a.order for task in tasks for a in task.annotations)
    orders = sorted({tuple(order) for order in given if len(order) == 2}) or [()]
    found = [_media_in(first, order, columns) for order in orders]
    for order, media in zip(orders, found, strict=True):
        if (media.a, media.b) != (found[0].a, found[0].b):
            raise PreferenceError(
                f"{first.place}: the compared objects are in different orders: "
                f"{','.join(orders[0])} and {','.join(order)}",
                hint="Export the tasks of each labelling configuration into a file of its own.",
            )
    return found[0]


def _media_in(task: Task, order: Sequence[str], columns: PairColumns) -> MediaColumns:
    """Return the data of the left and the right side where the tags are in this order."""
    names = [str(name) for name in task.data]
    if columns.a is None and order and set(order) <= set(names):
        ordered = named_media(order[0], order[1])
        return replace(ordered, is_named=False, is_ordered=True)
    found = media_columns(task.place, names, columns)
    if columns.a is None and order and _is_reversed(order, found, task.place):
        raise PreferenceError(
            f"{task.place}: it is not certain which of {found.a} and {found.b} is on the left",
            hint=f"Name the left one first: --a-column {found.a} --b-column {found.b}",
        )
    return replace(found, is_ordered=True)


def _is_reversed(order: Sequence[str], media: MediaColumns, place: str) -> bool:
    """Return True if the names of the compared objects say that media b is on the left."""
    known, named = find_media(order, place), named_media(order[0], order[1])
    return (known is not None and known.a != order[0]) or (
        (named.mark_a, named.mark_b) == (media.mark_b, media.mark_a)
    )


def _controls(
    tasks: Sequence[Task], media: MediaColumns, columns: PairColumns, context: Context
) -> dict[str, tuple[str, Sides]]:
    """Return the axis, and the meaning of the values, of each control that says a preference."""
    values: dict[str, list[Any]] = {}
    for task in tasks:
        for annotation in task.annotations:
            for name, value in annotation.answers.items():
                values.setdefault(name, []).append(value)
    return judging(tasks[0].place, values, media, columns, context)


def _preferences(
    place: str, annotation: Annotation, controls: Mapping[str, tuple[str, Sides]]
) -> dict[str, float]:
    found = {}
    for name, (axis, sides) in controls.items():
        preference = sides.preference(place, annotation.answers.get(name))
        if preference is not None:
            found[axis] = preference
    return found


def _one(choices: Any) -> Any:
    return choices[0] if isinstance(choices, list) and len(choices) == 1 else choices


def _rater(value: Any) -> Any:
    """Return the annotator's number or address; JSON exports may hold the whole user."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return "unknown" if value is None or value == "" else value


def _with_paths(data: Row) -> dict[str, Any]:
    return {name: _path(value) for name, value in data.items()}


def _path(value: Any) -> Any:
    """Return the path of a file that Label Studio serves from its own folders."""
    if not isinstance(value, str) or not value.startswith((LOCAL_FILES, UPLOADS)):
        return value
    parts = urlsplit(value)
    if value.startswith(LOCAL_FILES):
        return parse_qs(parts.query).get("d", [parts.path])[0]
    return value.removeprefix("/data/")
