"""Find the columns of a pair by their names: image_1 and image_2, chosen and rejected, ..."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from librehps.errors import PreferenceError, UsageError
from librehps.preferences.context import value_text

OWN_MEDIA = ("media_a", "media_b")
PROMPTS = ("prompt", "caption", "text")
# Names of the first and the second side.
SIDE_NAMES = (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"))
# Names that say which side is preferred.
VERDICT_NAMES = (
    ("chosen", "rejected"),
    ("better", "worse"),
    ("preferred", "rejected"),
    ("preferred", "dispreferred"),
    ("winner", "loser"),
    ("win", "lose"),
)
# Pairs of names that are columns of media without a word such as image.
BARE = {"left", "first", "chosen", "better"}
MEDIA_WORDS = "image|img|picture|pic|photo|video|clip|media|file|filename|path|url|uri|jpg|png"
MODEL_WORDS = ("model", "generator", "method", "system")
# Columns that name the preferred side, and columns whose numbers may have another meaning.
WINNERS = ("winner", "preferred", "preferredside", "choice", "chosen", "better", "best",
           "selected")  # fmt: skip
LABELS = ("label", "preference", "humanpreference", "humanlabel", "vote", "verdict", "judgement",
          "judgment", "annotation", "answer")  # fmt: skip
FLAGS_HINT = (
    "Name the columns: --a-column COLUMN --b-column COLUMN --winner-column COLUMN "
    "--prompt-column COLUMN."
)


@dataclass(frozen=True)
class PairColumns:
    """The columns of a file of pairs that is in no known layout; None: found by their names.

    `a` and `b` hold the media, `winner` the preferred side, `prompt` the prompt. `winner_values`
    are the values of `winner` for a, for b and, optionally, for a tie. `rename` maps names in the
    file to new names, and is applied first.
    """

    a: str | None = None
    b: str | None = None
    winner: str | None = None
    prompt: str | None = None
    winner_values: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.a is None) != (self.b is None):
            raise UsageError(
                "expected both or neither of --a-column and --b-column", hint="Name both columns."
            )
        if self.a is not None and self.a == self.b:
            raise UsageError(f"--a-column and --b-column are the same column: {self.a}")
        values = set(map(value_text, self.winner_values)) - {""}
        if len(self.winner_values) not in (0, 2, 3) or len(values) < len(self.winner_values):
            raise UsageError(
                "--winner-values: expected A,B or A,B,TIE, all different, got "
                f"{','.join(self.winner_values)!r}"
            )

    def facts(self) -> dict[str, Any]:
        """Return the names as JSON values."""
        return {**asdict(self), "winner_values": list(self.winner_values)}

    @property
    def is_named(self) -> bool:
        """True if any column is named."""
        return any((self.a, self.winner, self.prompt, self.winner_values))


@dataclass(frozen=True)
class MediaColumns:
    """Two columns of media, and the parts of their names that differ.

    `is_named` if the user said which column is a, `is_ordered` if a was shown on the left.
    """

    a: str
    b: str
    mark_a: str
    mark_b: str
    is_named: bool = False
    is_ordered: bool = False

    @property
    def is_verdict(self) -> bool:
        """True if the names say that a is preferred: chosen and rejected."""
        return (self.mark_a, self.mark_b) in VERDICT_NAMES


def find_media(names: Iterable[str], place: str) -> MediaColumns | None:
    """Return the two columns of media, None if no two have such names.

    Raises PreferenceError if several pairs of columns have such names.
    """
    plain = {normal(name): name for name in names}
    found = []
    for first, second in (*SIDE_NAMES, *VERDICT_NAMES):
        count = "*" if first in BARE else "+"
        word = f"(?:{MEDIA_WORDS})"
        pattern = re.compile(f"({word}*){first}({word}*)")
        for name in plain:
            parts = pattern.fullmatch(name)
            if parts is None or (count == "+" and not any(parts.groups())):
                continue
            other = f"{parts[1]}{second}{parts[2]}"
            if other in plain:
                found.append(MediaColumns(plain[name], plain[other], first, second))
    own = [pair for pair in found if (pair.a, pair.b) == OWN_MEDIA]
    if len(found) > 1 and not own:
        several = "; ".join(f"{pair.a} and {pair.b}" for pair in found)
        raise PreferenceError(
            f"{place}: several columns may hold the pair: {several}",
            hint=f"Name them: --a-column {found[0].a} --b-column {found[0].b}",
        )
    return next(iter(own or found), None)


def named_media(a: str, b: str) -> MediaColumns:
    """Return two columns of any name; the marks are what their names do not share."""
    one, two = normal(a), normal(b)
    start = 0
    while start < min(len(one), len(two)) and one[start] == two[start]:
        start += 1
    # A number is not cut: the 0 of img10 is no mark.
    start = len(one[:start].rstrip("0123456789"))
    end = 0
    while end < min(len(one), len(two)) - start and one[-1 - end] == two[-1 - end]:
        end += 1
    return MediaColumns(a, b, one[start : len(one) - end], two[start : len(two) - end], True)


def model_columns(names: Iterable[str], media: MediaColumns) -> list[tuple[str, str]]:
    """Return the pairs of columns with the names of both sides' models: model_a and model_b."""
    plain = {normal(name): name for name in names}
    spelled = [
        (before + media.mark_a + after, before + media.mark_b + after)
        for word in MODEL_WORDS
        for before, after in ((word, ""), ("", word), (word, "name"), ("", f"{word}name"))
    ]
    return [(plain[a], plain[b]) for a, b in spelled if a in plain and b in plain]


def find_prompt(names: Iterable[str]) -> str | None:
    """Return the first column with a usual name of prompts."""
    plain = {normal(name): name for name in reversed(list(names))}
    return next((plain[name] for name in PROMPTS if name in plain), None)


def find_winner(names: Sequence[str], place: str) -> str | None:
    """Return the column that says which side is preferred; raises PreferenceError if several."""
    found = [name for name in names if normal(name) in (*WINNERS, *LABELS)]
    if len(found) > 1:
        raise PreferenceError(
            f"{place}: several columns may name the preferred side: {', '.join(found)}",
            hint=f"Name it: --winner-column {found[0]}",
        )
    return found[0] if found else None


def normal(name: object) -> str:
    """Return a name in lower case, of letters and digits only."""
    return re.sub(r"[\W_]", "", str(name).lower())
