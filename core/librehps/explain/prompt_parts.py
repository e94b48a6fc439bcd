"""Parts of a prompt: its words and phrases, as spans of its text."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from librehps.explain.rivals import ARTICLES, COMPOUNDS

# Scripts that put no space between words: each character is a word.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff"
_COMPOUND = "|".join(rf"\b{name}\b" for name in COMPOUNDS).replace(" ", r"\s+")
_LETTER = rf"[^\W{_UNSPACED}]"
_WORD = re.compile(
    rf"{_COMPOUND}|\d+(?:\.\d+)+|[{_UNSPACED}]|{_LETTER}+(?:['’\-]{_LETTER}+)*", re.IGNORECASE
)
# A phrase ends at punctuation, and before and after a word that relates two things.
_LINKS = {
    *COMPOUNDS, "above", "below", "under", "over", "behind", "beside", "between", "inside",
    "outside", "with", "without", "in", "on", "at", "and", "near", "from", "by", "of", "into",
}  # fmt: skip
_SEPARATORS = " ,;:"


@dataclass(frozen=True)
class Part:
    """A word or phrase of a prompt: its text, and the characters [start, end) that it covers."""

    text: str
    start: int
    end: int

    @property
    def key(self) -> str:
        """The text in lower case, with single spaces."""
        return " ".join(self.text.lower().split())


def words_of(prompt: str) -> list[Part]:
    """Return the words of the prompt; "left of" and its like are one word, articles none."""
    found = (Part(m[0], m.start(), m.end()) for m in _WORD.finditer(prompt))
    return [part for part in found if part.key not in ARTICLES]


def phrases_of(prompt: str) -> list[Part]:
    """Return the phrases of two or more words, of which the prompt has more than one."""
    every = [Part(m[0], m.start(), m.end()) for m in _WORD.finditer(prompt)]
    groups: list[list[Part]] = [[]]
    for word in every:
        last = groups[-1][-1:]
        cut = bool(last) and bool(re.search(r"[^\s\w]", prompt[last[0].end : word.start]))
        is_new = bool(last) and word.key in ARTICLES
        if word.key in _LINKS or cut or is_new:
            groups.append([])
        if word.key not in _LINKS:
            groups[-1].append(word)
        else:
            groups.append([])
    spans = [(group[0].start, group[-1].end) for group in groups if len(group) > 1]
    parts = [Part(prompt[start:end], start, end) for start, end in spans]
    return [part for part in parts if part.text.strip() != prompt.strip()]


def without(prompt: str, part: Part) -> str:
    """Return the prompt without a part; only spaces and punctuation next to the part change.

    Another change, as of spaces elsewhere, would have an effect of its own on a score.
    """
    after = prompt[part.end :]
    before = _agreeing(prompt[: part.start], after.lstrip())
    left, right = before.rstrip(), after.lstrip()
    if not left or not right:
        return (left or right).strip(_SEPARATORS)
    if right[0] in _SEPARATORS and left[-1] in _SEPARATORS:
        return left + right[1:]
    if right[0] in ".,;:!?":
        return left + right
    return left + (before[len(left) :] or after[: len(after) - len(right)]) + right


def swapped(prompt: str, part: Part, other: str) -> str:
    """Return the prompt with other words in a part's place."""
    return _agreeing(prompt[: part.start], other) + other + prompt[part.end :]


def _agreeing(before: str, word: str) -> str:
    """Return the text before a word; an English article at its end agrees with the word."""
    found = re.search(r"\b(a)n?(\s+)$", before, re.IGNORECASE)
    if found is None or not word[:1].isalpha():
        return before
    letter = "n" if word[0].lower() in "aeiou" else ""
    return f"{before[: found.start()]}{found[1]}{letter}{found[2]}"


def distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts in order, each once, without empty ones."""
    return [text for text in dict.fromkeys(texts) if text.strip()]
