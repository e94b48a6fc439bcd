"""The meaning of a value that names the preferred side of a pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from librehps.errors import PreferenceError
from librehps.preferences.column_names import LABELS, MEDIA_WORDS, MediaColumns, normal
from librehps.preferences.context import as_number, is_missing, value_text

TIES = frozenset(
    ("tie", "tied", "ties", "draw", "same", "equal", "equals", "both", "neither", "bothgood",
     "bothbad", "tiebothbad", "nopreference", "aboutthesame", "nodifference", "indifferent",
     "equallygood", "equallybad")
)  # fmt: skip
# Pairs that were seen and not judged.
SKIPPED = frozenset(("skip", "skipped", "unsure", "cantchoose", "cannotchoose", "notsure"))
# Words that may stand next to the name of a side: "Image A is better".
SIDE_WORDS = (*MEDIA_WORDS.split("|"), "model", "option", "response", "side", "candidate")
# Marks that a list or a quoted value begins with.
BRACKETS = ("[", "(", "'", '"')
ENDINGS = ("", "isbetter", "better", "wins", "won")


@dataclass(frozen=True)
class Sides:
    """The values of a column that mean a, b and a tie.

    `media` are the columns of the pair, `column` the column of the values. `named` are the values
    that the user gave for a, b and a tie; then no other value is understood.
    """

    media: MediaColumns
    column: str
    named: Sequence[str] = ()

    def preference(self, place: str, value: Any) -> float | None:
        """Return 1 for a, 0 for b, 0.5 for a tie, None for a skipped pair.

        Raises PreferenceError for a value whose meaning is not certain.
        """
        if is_missing(value):
            return None
        if self.named:
            known = dict(zip(map(value_text, self.named), (1.0, 0.0, 0.5), strict=False))
            if value_text(value) not in known:
                raise PreferenceError(
                    f"{place}: {self.column}: expected {', '.join(self.named)}, got {value!r}",
                    hint="Name the values for a, b and a tie: --winner-values A,B,TIE",
                )
            return known[value_text(value)]
        word = _word(value)
        found = self._known.get(word)
        if found is not None or word in SKIPPED:
            return found
        raise PreferenceError(
            f"{place}: {self.column}: it is not certain what {value!r} means "
            f"(a is {self.media.a}, b is {self.media.b})",
            hint=f"Name the values, for example --winner-values {self._example(value)}, the first "
            f"for {self.media.a}, the second for {self.media.b}, the third, if any, for a tie."
            f"{self._share_hint(value)}",
        )

    def understands(self, value: Any) -> bool:
        """Return True if the meaning of a value is certain."""
        try:
            self.preference("", value)
        except PreferenceError:
            return False
        return True

    @cached_property
    def _known(self) -> dict[str, float]:
        """The words with a certain meaning, and the preference that each means."""
        a, b = self._words("a"), self._words("b")
        return dict.fromkeys(a - b, 1.0) | dict.fromkeys(b - a, 0.0) | dict.fromkeys(TIES, 0.5)

    def _words(self, side: str) -> set[str]:
        """Return the words that mean a side."""
        both = (self.media.mark_a, self.media.mark_b)
        mark = both[side == "b"]
        column = normal(self.media.a if side == "a" else self.media.b)
        marks = {mark} - {""}
        is_plain = mark in ("0", "1", "2", "left", "right", "first", "second")
        # With --a-column image_b --b-column image_a, the value a is image_a.
        if (self.media.is_named or not is_plain) and side not in both:
            marks.add(side)
        if self.media.is_ordered:
            marks.add("left" if side == "a" else "right")
        words = {column}
        for name in marks:
            # A bare 0 or 1 of a column `label` may also mean that a lost or won.
            is_flag = name in ("0", "1") and "0" in both
            if not (is_flag and normal(self.column) in LABELS):
                words.add(name)
            words |= {f"{word}{name}" for word in SIDE_WORDS}
        return {f"{word}{ending}" for word in words for ending in ENDINGS}

    def _share_hint(self, value: Any) -> str:
        share = as_number(value)
        if share is None or not 0 <= share <= 1:
            return ""
        return f" If it is the share of people who prefer a: --rename {self.column}=overall"

    def _example(self, value: Any) -> str:
        text = value_text(value)
        return {"0": "0,1", "1": "1,0"}.get(text, f"{text},OTHER")


def _word(value: Any) -> str:
    """Return a value as a word to look up, empty for one with a sign before it, such as -1."""
    text = value_text(value)
    return normal(text) if text[:1].isalnum() or text[:1] in BRACKETS else ""
