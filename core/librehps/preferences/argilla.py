"""Judgements of pairs that Argilla exports, as rows of our own layout.

`to_datasets` writes flat columns: `QUESTION.responses`, `.responses.users`, `.responses.status`.
`to_json` nests `fields` and `responses`, and leaves out the status.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from librehps.errors import PreferenceError
from librehps.preferences.column_names import MediaColumns, PairColumns, find_media, normal
from librehps.preferences.context import NO_PREFERENCE, Context, as_number
from librehps.preferences.other_columns import media_columns, prompt_column
from librehps.preferences.own import RATER
from librehps.preferences.questions import judging, own_row
from librehps.preferences.sides import Sides
from librehps.rowfiles import Placed, Row

RESPONSES, USERS, STATUS = ".responses", ".responses.users", ".responses.status"
SUGGESTION = ".suggestion"
OTHER_COLUMNS = frozenset(("id", "_server_id", "status"))
RATING_WORDS = re.compile("ratings?|scores?|stars?|quality|for")
SUBMITTED = "submitted"
NOT_SUBMITTED = "response discarded, or a draft"
NOT_ANSWERED = "record without a response"

log = logging.getLogger(__name__)

# The answers of each user: question -> value.
Answers = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Record:
    """A record: its fields, and the submitted answers by user."""

    place: str
    name: str
    fields: Row
    answers: Answers


def is_record(row: Row) -> bool:
    """Return True for a row of either export."""
    is_nested = isinstance(row.get("fields"), dict) and isinstance(row.get("responses"), dict)
    return is_nested or any(str(name).endswith(USERS) for name in row)


def argilla_rows(
    rows: Sequence[Placed], columns: PairColumns, context: Context
) -> Iterator[Placed]:
    """Yield a row of our own layout for each user's answers, with the user as `rater`."""
    records = [_record(place, row, context) for place, row in rows]
    first = records[0]
    names = [str(name) for name in first.fields]
    media = media_columns(first.place, names, columns)
    prompt = prompt_column(first.place, names, columns)
    if context.judged and not any(name.endswith(STATUS) for name in rows[0][1]):
        log.warning(
            "%s does not say which responses are drafts or discarded: all are read; "
            "`dataset.records.to_datasets()` keeps the status",
            first.place,
        )
    questions = _questions(records, media, columns, context) if context.judged else {}
    for record in records:
        row = own_row(record.place, record.name, record.fields, media, prompt, context)
        if not context.judged:
            yield record.place, row
            continue
        for user, answers in record.answers.items():
            found = _preferences(record.place, answers, questions)
            if not found:
                context.left_out[NO_PREFERENCE] += 1
            else:
                yield record.place, {**row, **found, RATER: user}


def _record(place: str, row: Row, context: Context) -> Record:
    answers: Answers = {}
    name = str(row.get("id") or place)
    responses = list(_responses(place, row))
    if not responses:
        context.left_out[NOT_ANSWERED] += 1
    dropped = {user for _, user, _, status in responses if status not in (SUBMITTED, None)}
    if dropped:
        context.left_out[NOT_SUBMITTED] += len(dropped)
    for question, user, value, _ in responses:
        if user not in dropped and value is not None:
            answers.setdefault(user, {})[question] = value
    return Record(place, name, _fields(row), answers)


def _responses(place: str, row: Row) -> Iterator[tuple[str, str, Any, str | None]]:
    """Yield (question, user, value, status) of each response."""
    if isinstance(row.get("responses"), dict):
        for question, given in row["responses"].items():
            for response in given or ():
                if not isinstance(response, dict):
                    raise PreferenceError(
                        f"{place}: {question}: expected responses with value and user_id, got "
                        f"{response!r}"
                    )
                yield question, str(response.get("user_id")), response.get("value"), None
        return
    for column in row:
        if str(column).endswith(USERS):
            question = str(column).removesuffix(USERS)
            users = row[column] or []
            values = row.get(question + RESPONSES) or [None] * len(users)
            status = row.get(question + STATUS) or [None] * len(users)
            if not isinstance(users, list):
                raise PreferenceError(
                    f"{place}: {column}: expected a list of users, got {users!r}",
                    hint="Export the records as Parquet or JSON: a CSV file holds no lists.",
                )
            if not len(users) == len(values) == len(status):
                raise PreferenceError(
                    f"{place}: {question}: expected a response and a status for each of "
                    f"{len(users)} users, got {len(values)} and {len(status)}"
                )
            for user, value, state in zip(users, values, status, strict=True):
                yield question, str(user), value, state


def _fields(row: Row) -> Row:
    if isinstance(row.get("fields"), dict):
        return {**(row.get("metadata") or {}), **row["fields"]}
    return {
        name: value
        for name, value in row.items()
        if name not in OTHER_COLUMNS
        and not name.endswith((RESPONSES, USERS, STATUS))
        and SUGGESTION not in name
    }


@dataclass(frozen=True)
class Ratings:
    """Two questions that rate a and b, compared."""

    a: str
    b: str

    def preference(self, place: str, answers: Mapping[str, Any]) -> float | None:
        """Return 1 if a has the higher rating, 0.5 for equal ratings, None if one is missing."""
        a, b = (as_number(answers.get(name)) for name in (self.a, self.b))
        return None if a is None or b is None else 0.5 if a == b else float(a > b)


@dataclass(frozen=True)
class Choice:
    """A label question, or a ranking whose first option is the best.

    `is_multi_label`: an answer is a list of labels without an order.
    """

    sides: Sides
    is_multi_label: bool = False

    def preference(self, place: str, answers: Mapping[str, Any]) -> float | None:
        """Return the preference that an answer says, None without an answer."""
        value = answers.get(self.sides.column)
        if value is None:
            return None
        return self.sides.preference(place, value if self.is_multi_label else _first(value))


Question = Choice | Ratings


def _questions(
    records: Sequence[Record], media: MediaColumns, columns: PairColumns, context: Context
) -> dict[str, Question]:
    """Return the question, or the two ratings, of each axis."""
    values: dict[str, list[Any]] = {}
    for record in records:
        for answers in record.answers.values():
            for name, value in answers.items():
                values.setdefault(name, []).append(value)
    place = records[0].place
    if columns.winner is None:
        rated = [n for n, given in values.items() if all(as_number(v) is not None for v in given)]
        plain = {f"image{RATING_WORDS.sub('', normal(name))}": name for name in rated}
        two = find_media(plain, place)
        if two is not None:
            return {"overall": Ratings(plain[two.a], plain[two.b])}
        _refuse_one_rating(place, values, rated)
    several = {name for name, given in values.items() if _is_multi_label(given)}
    firsts = {
        name: given if name in several else [_first(value) for value in given]
        for name, given in values.items()
    }
    found = judging(place, firsts, media, columns, context)
    return {axis: Choice(sides, name in several) for name, (axis, sides) in found.items()}


def _refuse_one_rating(place: str, values: Mapping[str, Any], rated: Sequence[str]) -> None:
    if rated and len(rated) == len(values):
        raise PreferenceError(
            f"{place}: a rating of {rated[0]} does not name a side of the pair",
            hint="Expected two rating questions, one for each image (rating_a and rating_b), or a "
            f"label question; or say what its values mean: --winner-column {rated[0]} "
            "--winner-values A,B,TIE",
        )


def _is_multi_label(values: Sequence[Any]) -> bool:
    """Return True for lists of different lengths: a ranking holds all options."""
    return len({len(value) for value in values if isinstance(value, list)}) > 1


def _first(value: Any) -> Any:
    """Return the best option of a ranking, `tie` if the best two share a rank; else the value."""
    if not isinstance(value, list) or not value:
        return value
    if isinstance(value[0], dict):
        ranks = sorted(value, key=lambda option: option.get("rank") or 0)
        shared = len(ranks) > 1 and ranks[0].get("rank") == ranks[1].get("rank") is not None
        return "tie" if shared else ranks[0].get("value")
    return value[0]


def _preferences(
    place: str, answers: Mapping[str, Any], questions: Mapping[str, Question]
) -> dict[str, float]:
    found = {axis: question.preference(place, answers) for axis, question in questions.items()}
    return {axis: share for axis, share in found.items() if share is not None}
