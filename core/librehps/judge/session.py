"""The course of judging: which pair each rater is asked next, and what was answered."""

import logging
import secrets
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from librehps.choices import Side, Winner
from librehps.judge.beliefs import Answer, Beliefs, Codes
from librehps.judge.judgements import Choice, Judgement, Judgements
from librehps.judge.pool import PairKey, Pool, Rng
from librehps.media.named import Found

log = logging.getLogger("librehps")

OUTCOMES: dict[Winner, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}
# A pair is asked again after so many others, when its first answer is no longer in mind.
REPEAT_AFTER = 5
# Questions whose media are still served: the page may load those of the last one late.
MAX_OPEN = 64
# Pairs with missing media that are passed over before a question is given up.
MAX_UNREADABLE = 1000


class StaleQuestionError(Exception):
    """An answer to a question that is not the rater's current one."""


@dataclass(frozen=True)
class Plan:
    """Numbers of questions: `pairs` for each rater, a share `repeat` of them again.

    The share is asked a second time of the same rater, with the sides swapped, and the same share
    of pairs is one that another rater has judged. `random` draws pairs evenly.
    """

    pairs: int = 200
    repeat: float = 0.1
    random: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Question:
    """A pair on a rater's page; `a` and `b` are items, `left` the side shown on the left."""

    ticket: str
    rater: str
    a: int
    b: int
    left: Side
    choice: Choice

    @property
    def key(self) -> PairKey:
        return min(self.a, self.b), max(self.a, self.b)

    @property
    def sides(self) -> tuple[int, int]:
        """The items on the left and on the right."""
        return (self.a, self.b) if self.left == "a" else (self.b, self.a)


@dataclass
class _Asked:
    """A pair that was asked: its number, its items as a and b, and who has judged it."""

    index: int
    a: int
    b: int
    raters: list[str] = field(default_factory=list)


class Session:
    """The questions and answers of all raters; one thread at a time calls it.

    `problem` says why media cannot be shown, None if they can: pairs with such media are not asked.
    """

    def __init__(
        self,
        pool: Pool,
        judgements: Judgements,
        plan: Plan,
        problem: Callable[[Found], object | None] = lambda found: None,
    ) -> None:
        self.pool, self.judgements, self.plan = pool, judgements, plan
        self.lock = threading.RLock()
        self._problem = problem
        self._unusable: set[int] = set()
        self._current: dict[str, Question] = {}
        self._open: dict[str, Question] = {}
        self._replay()

    @property
    def is_active(self) -> bool:
        """True if the most telling pairs are asked."""
        return self.pool.can_choose and not self.plan.random

    def judged(self, rater: str) -> int:
        """Return the number of pairs that a rater has judged, repeats included."""
        return self._counts[rater, "judged"]

    def target(self, rater: str) -> int:
        """Return the number of pairs that a rater is asked to judge: fewer in a small pool."""
        repeats = self._counts[rater, "repeat"]
        return min(self.plan.pairs, max(self.pool.size + repeats, self.judged(rater)))

    def can_undo(self, rater: str) -> bool:
        """Return whether the rater has an answer to take back."""
        return self._counts[rater, "rows"] > 0

    def prompt(self, question: Question) -> str:
        """Return the prompt of a question."""
        return self.pool.prompts[int(self.pool.prompt[question.a])]

    def question(self, rater: str) -> Question | None:
        """Return the rater's current question; None if all are answered."""
        with self.lock:
            current = self._current.get(rater)
            if current is not None and not self._can_show(current.sides):
                # Its media have vanished since.
                del self._current[rater]
            if rater not in self._current and self.judged(rater) < self.plan.pairs:
                found = self._next(rater)
                if found is not None:
                    self._show(found)
            return self._current.get(rater)

    def opened(self, ticket: str) -> Question | None:
        """Return a question by its ticket, if it was asked lately."""
        return self._open.get(ticket)

    def answer(
        self,
        rater: str,
        ticket: str,
        sides: Mapping[str, str],
        seconds: float | None = None,
    ) -> None:
        """Record the winners by axis: left, right or tie; empty to skip. On return it is on disk.

        Raises StaleQuestionError if another question is the rater's current one.
        """
        with self.lock:
            question = self._current.get(rater)
            if question is None or question.ticket != ticket:
                raise StaleQuestionError
            asked = self._asked.get(question.key)
            axes = self.judgements.axes
            judgement = Judgement(
                index=self._free if asked is None else asked.index,
                prompt=self.prompt(question),
                media_a=self.pool.media[question.a],
                media_b=self.pool.media[question.b],
                rater=rater,
                left=question.left,
                choice=question.choice,
                answers={axis: _winner(sides[axis], question.left) for axis in axes if sides},
                seconds=seconds,
                seed=self.plan.seed,
                extra=self._extra(question),
            )
            self.judgements.add(judgement)
            del self._current[rater]
            self._count(judgement)
            self._learn([judgement])

    def undo(self, rater: str) -> bool:
        """Take back the rater's last answer, and ask its pair again; False if there is none.

        Answers on media that the pool lacks stay.
        """
        with self.lock:
            removed = self.judgements.remove_last(rater, lambda row: self._items(row) is not None)
            if removed is None:
                return False
            self._replay()
            items = self._items(removed)
            self._current.pop(rater, None)
            if items is not None:
                ticket = secrets.token_urlsafe(12)
                self._show(Question(ticket, rater, *items, removed.left, removed.choice))
            return True

    def _show(self, question: Question) -> None:
        self._current[question.rater] = self._open[question.ticket] = question
        while len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]

    def _extra(self, question: Question) -> dict[str, str | None]:
        if self.pool.generators is None:
            return {}
        sides = (("generator_a", question.a), ("generator_b", question.b))
        return {name: self.pool.generator(item) for name, item in sides}

    def _replay(self) -> None:
        """Learn all judgements of the file."""
        self._asked: dict[PairKey, _Asked] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._free = 0
        self.beliefs = Beliefs()
        for judgement in self.judgements.rows:
            self._count(judgement)
        self._learn(self.judgements.rows)

    def _count(self, judgement: Judgement) -> None:
        self._free = max(self._free, judgement.index + 1)
        items = self._items(judgement)
        if items is None:
            return
        rater, key = judgement.rater, (min(items), max(items))
        asked = self._asked.setdefault(key, _Asked(judgement.index, *items))
        self._counts[rater, "rows"] += 1
        self._counts[rater, "judged"] += not judgement.is_skipped
        self._counts[rater, judgement.choice] += 1
        self._counts[rater, "first"] += not judgement.is_skipped and not judgement.is_repeat
        asked.raters.append(rater)

    def _items(self, judgement: Judgement) -> tuple[int, int] | None:
        """Return the items of a judgement; None if the pool lacks them."""
        texts = (judgement.media_a, judgement.media_b)
        a, b = (self.pool.items.get((judgement.prompt, text)) for text in texts)
        return None if a is None or b is None else (a, b)

    def _learn(self, judgements: list[Judgement]) -> None:
        pool, axis, answers = self.pool, self.judgements.axes[0], []
        for one in judgements:
            items = self._items(one)
            if items is None or one.is_repeat or axis not in one.answers:
                continue
            a, b = items
            answers.append(
                Answer(
                    block=int(pool.block(np.array([a]))[0]),
                    a=int(pool.contestant[a]),
                    b=int(pool.contestant[b]),
                    mu_a=float(pool.prior[a]),
                    mu_b=float(pool.prior[b]),
                    outcome=OUTCOMES[one.answers[axis]],
                )
            )
        if answers:
            self.beliefs.learn(answers)

    def _next(self, rater: str) -> Question | None:
        """Choose a pair. The same answers always lead to the same pair, also after a restart."""
        counts = self._counts
        start = (self.plan.seed, zlib.crc32(rater.encode()), counts[rater, "rows"])
        rng = np.random.default_rng(start)
        due = int(self.plan.repeat * counts[rater, "first"])
        ways = (
            (counts[rater, "repeat"] < due, self._repeat),
            (counts[rater, "shared"] < due, self._shared),
            (True, self._fresh),
            # A small pool: rather the pairs of others than none.
            (True, self._shared),
        )
        for is_due, way in ways:
            found = way(rater, rng) if is_due else None
            if found is not None:
                return found
        return None

    def _repeat(self, rater: str, rng: Rng) -> Question | None:
        """Return a pair that the rater has judged once, with the sides swapped."""
        own = [row for row in self.judgements.rows if row.rater == rater]
        again = {row.index for row in own if row.is_repeat}
        old = [row for row in own[: len(own) - REPEAT_AFTER]
               if not row.is_skipped and row.index not in again]  # fmt: skip
        for at in rng.permutation(len(old)).tolist():
            items = self._items(old[at])
            if items is not None and self._can_show(items):
                left: Side = "b" if old[at].left == "a" else "a"
                return self._question(rater, items, left, "repeat")
        return None

    def _shared(self, rater: str, rng: Rng) -> Question | None:
        """Return a pair that another rater has judged, and this rater has not."""
        others = [one for one in self._asked.values() if rater not in one.raters]
        for at in rng.permutation(len(others)).tolist():
            items = (others[at].a, others[at].b)
            if self._can_show(items):
                left: Side = "a" if rng.random() < 0.5 else "b"
                return self._question(rater, items, left, "shared")
        return None

    def _fresh(self, rater: str, rng: Rng) -> Question | None:
        """Return a pair that nobody has judged: the most telling, or at random the first."""
        taken = [*self._asked, *(one.key for one in self._current.values())]
        a, b = self.pool.candidates(rng)
        size = len(self.pool.media)
        codes = np.array(taken, np.int64).reshape(-1, 2) @ np.array([size, 1])
        is_free = ~np.isin(a * size + b, codes)
        a, b = a[is_free], b[is_free]
        for at in self._order(a, b)[:MAX_UNREADABLE].tolist():
            items = (int(a[at]), int(b[at]))
            if self._can_show(items):
                # Which item is a is drawn too: a is on the left at first.
                shown = items if rng.random() < 0.5 else items[::-1]
                choice: Choice = "active" if self.is_active else "random"
                return self._question(rater, (shown[0], shown[1]), "a", choice)
        return None

    def _order(self, a: Codes, b: Codes) -> Codes:
        if not self.is_active:
            return np.arange(len(a))
        pool = self.pool
        told = self.beliefs.gain(
            pool.block(a), pool.contestant[a], pool.contestant[b], pool.prior[a], pool.prior[b]
        )
        return np.argsort(-told, kind="stable")

    def _question(self, rater: str, items: tuple[int, int], left: Side, choice: Choice) -> Question:
        return Question(secrets.token_urlsafe(12), rater, *items, left, choice)

    def _can_show(self, items: tuple[int, int]) -> bool:
        """Return whether both items can be read; each that cannot is named once."""
        for item in items:
            if item in self._unusable:
                return False
            problem = self._problem(self.pool.find(item))
            if problem is not None:
                self._unusable.add(item)
                log.warning("left out: %s", problem)
                return False
        return True


def _winner(side: str, left: Side) -> Winner:
    if side == "tie":
        return "tie"
    other: Side = "b" if left == "a" else "a"
    return left if side == "left" else other
