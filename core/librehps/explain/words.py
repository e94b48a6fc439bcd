"""Effects of the words and phrases of a prompt on a score."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from librehps.explain.prompt_parts import Part, distinct, phrases_of, swapped, without, words_of
from librehps.explain.rivals import rivals_of
from librehps.explain.subject import Subject
from librehps.files import counted

# Shares of the two effects in the blame of a word, chosen on rendered scenes (docs/explain.md).
LEFT_OUT_SHARE = 0.5
# Rendered scenes that match their prompt have a word above this in one case of ten.
BLAME_MU = 0.5
# Variants of a prompt: a long one has its first parts explained, and fewer words replaced.
MAX_VARIANTS = 512


@dataclass(frozen=True)
class WordEffect:
    """The effect of a word or phrase, in mu of the explained axis.

    left_out: the score without the part minus the score. swapped: the same for each word that could
    stand in its place. blame: above 0 if the picture would score more without this part.
    """

    text: str
    start: int
    end: int
    left_out: float
    swapped: Mapping[str, float] = field(default_factory=dict)

    @property
    def blame(self) -> float:
        """Points of mu that the part costs; below 0 for a part that the picture earns."""
        if not self.swapped:
            return self.left_out
        return max(self.swapped.values()) + LEFT_OUT_SHARE * self.left_out

    @property
    def better(self) -> str | None:
        """The word that would score most in its place; None if none would score more."""
        best = max(self.swapped, key=lambda word: self.swapped[word], default=None)
        return best if best is not None and self.swapped[best] > 0 else None

    def record(self) -> dict[str, Any]:
        """Return the effect as a flat dict with a nested dict of swapped words."""
        return {**asdict(self), "blame": self.blame, "better": self.better}


@dataclass(frozen=True)
class WordEffects:
    """Effects of the words and phrases of a prompt on `axis`, whose score is `mu`.

    remark: what is left out of a long prompt's explanation; None if nothing is.
    """

    axis: str
    mu: float
    words: tuple[WordEffect, ...]
    phrases: tuple[WordEffect, ...]
    remark: str | None = None

    @property
    def blamed(self) -> tuple[WordEffect, ...]:
        """Words whose blame is above BLAME_MU, the first the most."""
        found = [word for word in self.words if word.blame > BLAME_MU]
        return tuple(sorted(found, key=lambda word: -word.blame))

    def record(self) -> dict[str, Any]:
        """Return the effects as a dict with stable names."""
        return {
            "axis": self.axis,
            "mu": self.mu,
            "threshold": BLAME_MU,
            "remark": self.remark,
            "blamed": [word.text for word in self.blamed],
            "words": [word.record() for word in self.words],
            "phrases": [phrase.record() for phrase in self.phrases],
        }


def explain_words(subject: Subject, axis: str) -> WordEffects:
    """Return the effects of the words and phrases of the subject's prompt on an axis."""
    prompt, at = subject.prompt, subject.axis(axis)
    every = words_of(prompt)
    words = every[:MAX_VARIANTS]
    phrases = phrases_of(prompt)[: MAX_VARIANTS - len(words)]
    rivals = _rivals(words, MAX_VARIANTS - len(words) - len(phrases))
    variants = [without(prompt, part) for part in (*words, *phrases)]
    variants += [swapped(prompt, part, word) for part in words for word in rivals[part]]
    texts = distinct([prompt, *variants])
    scores = subject.with_prompts(texts)
    gain = {text: row.mu[at] - scores[0].mu[at] for text, row in zip(texts, scores, strict=True)}
    return WordEffects(
        axis,
        scores[0].mu[at],
        tuple(_effect(prompt, part, gain, rivals[part]) for part in words),
        tuple(_effect(prompt, part, gain) for part in phrases),
        _remark(every, rivals),
    )


def _rivals(words: Sequence[Part], room: int) -> dict[Part, list[str]]:
    """Return the words to put in each word's place, for the first words at most `room` in all."""
    found = {}
    for part in words:
        rivals = rivals_of(part.key)
        room -= len(rivals)
        found[part] = rivals if room >= 0 else []
    return found


def _remark(words: Sequence[Part], rivals: Mapping[Part, Sequence[str]]) -> str | None:
    """Return what is left out of the explanation of a long prompt; None if nothing is."""
    if len(words) > len(rivals):
        return f"long prompt: only the first {len(rivals)} of {len(words)} words are explained"
    lost = sum(not found and bool(rivals_of(part.key)) for part, found in rivals.items())
    verb = "is" if lost == 1 else "are"
    return f"long prompt: {counted(lost, 'word')} {verb} only left out" if lost else None


def _effect(
    prompt: str, part: Part, gain: Mapping[str, float], rivals: Sequence[str] = ()
) -> WordEffect:
    """Return the effect of a part; a prompt of nothing else has no effect without it."""
    return WordEffect(
        part.text,
        part.start,
        part.end,
        gain.get(without(prompt, part), 0.0),
        {word: gain[swapped(prompt, part, word)] for word in rivals},
    )
