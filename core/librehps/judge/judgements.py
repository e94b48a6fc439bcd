"""The file of judgements: one JSON line for each answer, on the disk before it is acknowledged."""

import errno
import json
import logging
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from librehps.choices import Side, Winner
from librehps.errors import LibreHPSError, OutputError, UsageError
from librehps.files import check_file, sync, sync_open, write_whole, writing
from librehps.locks import ProcessLock
from librehps.types import AXES

log = logging.getLogger("librehps")

LOCK_SUFFIX = ".lock"
# The first bytes of each line: an unfinished one with them is ours.
START = b'{"pair_id": "'
MAX_NAME_CHARS = 64
# Columns that tell a file of judgements from other files of pairs.
OURS = frozenset(("prompt", "media_a", "media_b", "index", "rater", "left", "choice"))
# active: the most telling pair; random: drawn; shared: another rater has judged the pair; repeat:
# the same rater has.
Choice = Literal["active", "random", "shared", "repeat"]


@dataclass(frozen=True)
class Judgement:
    """A rater's answers on a pair: for each axis the side that won, empty if skipped.

    `index` is the number of the pair in the file, the same for each rater; `left` is the side that
    was shown on the left; `extra` holds columns for `evaluate --by`.
    """

    index: int
    prompt: str
    media_a: str
    media_b: str
    rater: str
    left: Side
    choice: Choice
    answers: Mapping[str, Winner]
    seconds: float | None = None
    seed: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_skipped(self) -> bool:
        return not self.answers

    @property
    def is_repeat(self) -> bool:
        return self.choice == "repeat"

    def record(self, axes: Sequence[str], number: int) -> dict[str, Any]:
        """Return the row, the rater's `number`-th.

        The answers of a repeat stand in columns of their own, which preference files do not have:
        a pair that one rater judged twice counts once.
        """
        prefix = "repeat_" if self.is_repeat else ""
        return {
            "pair_id": f"{self.index}/{self.rater}/{number}",
            "index": self.index,
            "prompt": self.prompt,
            "media_a": self.media_a,
            "media_b": self.media_b,
            **{prefix + axis: self.answers.get(axis) for axis in axes},
            "rater": self.rater,
            "left": self.left,
            "choice": self.choice,
            "repeat": self.is_repeat,
            "skipped": self.is_skipped,
            "seconds": self.seconds,
            "seed": self.seed,
            **self.extra,
        }


def plain_name(text: str) -> str | None:
    """Return a rater's name in one spelling, None for an invalid one."""
    name = unicodedata.normalize("NFC", " ".join(text.split()))
    return name if name and name.isprintable() and len(name) <= MAX_NAME_CHARS else None


class Judgements:
    """All judgements of a file, which other processes cannot write meanwhile.

    `rows` are the judgements in the order of the file. Raises UsageError for a file that holds
    something else or asks about other axes, and OutputError where the file cannot be written.
    """

    def __init__(self, output: Path, axes: Sequence[str]) -> None:
        check_file(output, (".jsonl",), "judgements are JSON Lines: name a .jsonl file",
                   (LOCK_SUFFIX,))  # fmt: skip
        self.output, self.axes = output, tuple(axes)
        self._lock = ProcessLock(output.with_name(output.name + LOCK_SUFFIX))
        with writing(output):
            self._lock.acquire(str(output))
        try:
            self.rows = self._read() if output.exists() else []
        except LibreHPSError:
            self.close()
            raise

    def close(self) -> None:
        """Let other processes write the file."""
        # Deleted while it is held: another process may take the lock right after.
        self._lock.path.unlink(missing_ok=True)
        self._lock.release()

    def add(self, judgement: Judgement) -> None:
        """Append a judgement and flush it to the disk."""
        line = self._line(judgement)
        is_new = not self.output.exists()
        with writing(self.output), self.output.open("ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                sync_open(file.fileno(), self.output)
            except OSError:
                # A part of a line, of a full disk, must not stand before the next answer.
                file.truncate(end)
                raise
        if is_new:
            sync(self.output.absolute().parent)
        self.rows.append(judgement)

    def remove_last(self, rater: str, is_shown: Callable[[Judgement], bool]) -> Judgement | None:
        """Remove the rater's last judgement of those shown; return it, None if there is none."""
        found = (i for i in reversed(range(len(self.rows)))
                 if self.rows[i].rater == rater and is_shown(self.rows[i]))  # fmt: skip
        at = next(found, None)
        if at is None:
            return None
        lines = self.output.read_bytes().splitlines(keepends=True)
        with writing(self.output):
            write_whole(self.output, b"".join(lines[:at] + lines[at + 1 :]))
        return self.rows.pop(at)

    def _line(self, judgement: Judgement) -> bytes:
        number = 1 + sum(row.rater == judgement.rater for row in self.rows)
        record = judgement.record(self.axes, number)
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"

    def _read(self) -> list[Judgement]:
        try:
            content = self.output.read_bytes()
        except OSError as error:
            raise OutputError(f"{self.output} cannot be read: {error.strerror}") from error
        end = content.rfind(b"\n") + 1
        lines, rest = content[:end].splitlines(), content[end:]
        is_torn = rest.startswith(START) and not _is_json(rest)
        if rest and not is_torn:
            # An editor removed the end of the line.
            lines.append(rest)
        rows = [self._judgement(f"{self.output}, line {number}", line)
                for number, line in enumerate(lines, start=1)]  # fmt: skip
        if rest:
            with writing(self.output):
                write_whole(self.output, content[:end] if is_torn else content + b"\n")
        if is_torn:
            # The answer was not acknowledged: its rater is asked again.
            log.warning("%s: an unfinished last line is removed", self.output)
        return rows

    def _judgement(self, place: str, line: bytes) -> Judgement:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not row.keys() >= OURS or not _is_valid(row):
            raise UsageError(
                f"{place}: not a judgement of `librehps judge`", hint="Give another --out FILE."
            )
        asked = self._axes_of(row)
        if asked != list(self.axes):
            raise UsageError(
                f"{self.output} asks about {', '.join(asked)}, not {', '.join(self.axes)}",
                hint="Use the same --axis flags, or another --out FILE.",
            )
        prefix = "repeat_" if row["choice"] == "repeat" else ""
        given = {axis: row.get(prefix + axis) for axis in asked}
        if not {None, "a", "b", "tie"}.issuperset(given.values()):
            raise UsageError(f"{place}: expected a, b, tie or null, got {given}")
        return Judgement(
            index=row["index"],
            prompt=row["prompt"],
            media_a=row["media_a"],
            media_b=row["media_b"],
            rater=row["rater"],
            left=row["left"],
            choice=row["choice"],
            answers={axis: side for axis, side in given.items() if side is not None},
            seconds=row.get("seconds"),
            seed=row.get("seed", 0),
        )

    def _axes_of(self, row: Mapping[str, Any]) -> list[str]:
        known = dict.fromkeys((*self.axes, *AXES))
        return [axis for axis in known if axis in row or f"repeat_{axis}" in row]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _is_valid(row: Mapping[str, Any]) -> bool:
    """Return whether the columns that all judgements have hold what they should."""
    texts = (row["prompt"], row["media_a"], row["media_b"], row["rater"])
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(row["index"], int)
        and row["left"] in get_args(Side)
        and row["choice"] in get_args(Choice)
    )
