"""The conclusion of a report, as plain sentences that claim no more than the intervals do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from librehps.decide.distinct import Looks
from librehps.decide.leaderboard import SIGNIFICANT
from librehps.decide.standings import Board, Interval, Leaderboard
from librehps.report.data import Rows
from librehps.report.figures import Agreement

# Of few prompts, a tenth of a percent says nothing.
MIN_PROMPTS_OF_TENTHS = 1000
MAX_NAMED = 3
# Groups that are common nouns, not names of the user's own columns.
GROUPS = ("prompt", "folder", "group")
COIN = 0.5


@dataclass(frozen=True)
class Named:
    """A text of the user within a sentence; `opens` is the row of the page to open, if any."""

    text: str
    opens: int | None = None


Sentence = tuple[str | Named, ...]


def conclusion_of(
    rows: Rows,
    board: Leaderboard | None,
    agreement: Agreement | None,
    looks: Looks | None = None,
    no_board: str | None = None,
) -> list[Sentence]:
    """Return the sentences: of generators if there is a board, else of the scores.

    `no_board` says why the generators are not compared, if that was asked for.
    """
    found: list[Sentence] = []
    if board is None or not board.boards:
        if no_board is not None:
            found.append((f"The generators are not compared: {no_board}.",))
        found += [_distribution(rows.columns), *_ends(rows.columns)]
    else:
        first, *others = [one for one in board.boards if one.category is None]
        found += [*_verdict(first), *_other_axes(others)]
    group = rows.columns["group"]
    found += [*_agreement(agreement), *_looks(looks, group and group["name"])]
    return [*found, _errors(rows.columns["whole"])]


def text_of(sentences: Sequence[Sentence]) -> str:
    """Return sentences as one line of text."""
    return " ".join(
        "".join(part if isinstance(part, str) else part.text for part in one) for one in sentences
    )


def is_clear(board: Board, other: int) -> bool:
    """Return True if the first generator of a board is significantly better than another."""
    return board.p_values[0][other] <= SIGNIFICANT and board.leads[other].low > COIN


def _verdict(board: Board) -> list[Sentence]:
    names = [Named(standing.generator) for standing in board.standings]
    rivals = range(1, len(names))
    close = [j for j in rivals if not is_clear(board, j)]
    clear = [j for j in rivals if is_clear(board, j)]
    leader, prompts = names[0], _count(board.prompts, "shared prompt")
    if board.prompts < 2:
        return [("One shared prompt is too few to compare ", *_listed(names), ".")]
    if not close:
        told: Sentence = (leader, " has better ", board.axis, " scores than ", names[1], " on ")
        if len(names) > 2:
            told = (leader, f" has the best {board.axis} scores of {len(names)} generators. "
                    "Against ", names[1], ", the next, it wins ")  # fmt: skip
        return [(*told, _share(board, 1), f" of {prompts}{_certainty(board, 1)}.")]
    told = (*_doubt(board, names, close), ": against ", names[close[0]], ", ", leader, " wins ",
            _share(board, close[0]), f" of {prompts}{_certainty(board, close[0])}.")  # fmt: skip
    if not clear:
        return [told]
    better = (leader, " has better scores than ", *_listed([names[j] for j in clear]),
              ": against ", names[clear[0]], ", it wins ", _share(board, clear[0]),
              f"{_certainty(board, clear[0])}.")  # fmt: skip
    return [told, better]


def _doubt(board: Board, names: Sequence[Named], close: Sequence[int]) -> Sentence:
    """Return the doubt about a lead; a lead with a small p-value also has a better rank."""
    leader, rivals = names[0], [names[j] for j in close]
    if all(board.p_values[0][j] > SIGNIFICANT for j in close):
        return (*_listed([leader, *rivals]), f" cannot be told apart by {board.axis}")
    better = f" may have better {board.axis} scores than "
    return (leader, better, *_listed(rivals), ", but this is not certain")


def _share(board: Board, other: int) -> str:
    return _percent(board.leads[other].value, board.prompts)


def _certainty(board: Board, other: int) -> str:
    """Return the interval and the p-value in brackets."""
    p = board.p_values[0][other]
    said = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f" ({_interval(board.leads[other], board.prompts)}, {said})"


def _interval(span: Interval, count: int) -> str:
    return f"95 % interval {_percent(span.low, count)} to {_percent(span.high, count)}"


def _percent(value: float, count: int) -> str:
    return f"{100 * value:.{1 if count >= MIN_PROMPTS_OF_TENTHS else 0}f} %"


def _other_axes(boards: Sequence[Board]) -> list[Sentence]:
    """Return the clear leader of each other axis, and the axes without one."""
    clear = [one for one in boards if all(is_clear(one, j) for j in range(1, len(one.standings)))]
    open_axes = _axes([one.axis for one in boards if one not in clear])
    led: dict[str, list[str]] = {}
    for board in clear:
        led.setdefault(board.standings[0].generator, []).append(board.axis)
    parts: list[str | Named] = []
    for name, axes in led.items():
        parts += ["; " if parts else "Clear leaders on other axes: ", Named(name),
                  f" on {_axes(axes)}"]  # fmt: skip
    if open_axes:
        parts.append(f"; none on {open_axes}" if parts else f"No clear leader on {open_axes}")
    return [(*parts, ".")] if parts else []


def _axes(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _listed(names: Sequence[Named]) -> list[str | Named]:
    """Return names with commas, and the number of those that are not named."""
    shown = names[:MAX_NAMED] if len(names) > MAX_NAMED + 1 else names
    parts: list[str | Named] = []
    for at, name in enumerate(shown):
        is_last = at == len(names) - 1
        parts += ["" if not at else " and " if is_last else ", ", name]
    return parts if shown is names else [*parts, f" and {len(names) - len(shown)} more"]


def _distribution(columns: dict[str, Any]) -> Sentence:
    of = columns["whole"]["spread"]["overall"]
    if of["count"] == 1:
        return (f"One row has an overall score: {of['median']:.2f}.",)
    (low, high), (least, most) = of["quartiles"], of["ends"]
    if least == most:
        return (f"All {of['count']:,} overall scores are equal: {most:.2f}.",)
    told = f"The overall scores of {of['count']:,} rows go from {least:.2f} to {most:.2f}; half of "
    told += f"them lie between {low:.2f} and {high:.2f}, the median is {of['median']:.2f}."
    return (told,)


def _ends(columns: dict[str, Any]) -> list[Sentence]:
    known = [
        (mu, -row) for row, mu in enumerate(columns["axes"]["overall"]["mu"]) if mu is not None
    ]
    if not known or min(known)[0] == max(known)[0]:
        return []
    # Of equal scores the first row; the extremes of all rows are among the rows shown.
    best, worst = -max(known)[1], -min(known, key=lambda one: (one[0], -one[1]))[1]
    ids = columns["id"]
    return [("Best: ", _row(ids, best), ". Worst: ", _row(ids, worst), ".")]


def _row(ids: Sequence[str | None], row: int) -> Named:
    return Named(ids[row] or "a row without an id", opens=row)


def _agreement(agreement: Agreement | None) -> list[Sentence]:
    if agreement is None or agreement.accuracy is None:
        return []
    span = None if agreement.interval is None else Interval(agreement.accuracy, *agreement.interval)
    between = "" if span is None else f" ({_interval(span, 0)})"
    doubt = " That cannot be told from chance." if span is not None and span.low <= COIN else ""
    told = f"People preferred the item with the higher score in {_percent(agreement.accuracy, 0)}"
    return [(f"{told} of {agreement.pairs:,} pairs{between}.{doubt}",)]


def _looks(looks: Looks | None, per: str | None) -> list[Sentence]:
    """Return the number of rows that look like another row of their group."""
    if looks is None or looks.rows < 2:
        return []
    within: Sentence = (" within a ", per if per in GROUPS else Named(per)) if per else ()
    if looks.rows == looks.looks:
        return [("There are no near-duplicates", *within, ".")]
    same = looks.rows - looks.looks
    what = "near-duplicate" if same == 1 else "near-duplicates"
    return [(f"{same:,} {what} (same look)", *within, f": {looks.looks:,} different looks.")]


def _errors(whole: dict[str, Any]) -> Sentence:
    failed, rows = whole["failed"], whole["rows"]
    if not failed:
        return (f"All {rows:,} rows were scored." if rows > 1 else "No row has an error.",)
    rate = f"{100 * failed / rows:.1f}" if failed / rows >= 0.001 else "< 0.1"
    return (f"{failed:,} of {_count(rows, 'row')} could not be scored ({rate} %).",)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
