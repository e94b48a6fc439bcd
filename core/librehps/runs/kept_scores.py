"""Scores kept in the folder that media are moved to, so that a killed move of them can go on."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from librehps.errors import UsageError
from librehps.files import counted, writing
from librehps.scores.score_table import ScoreTable, read_scores

log = logging.getLogger("librehps")

# A name with `_` is not read as a manifest.
PREFIX = "_moving-"


@dataclass(frozen=True)
class KeptScores:
    """The scores of a command that scores media and then moves the best of them to a folder.

    A move that is killed has taken some of the media away: scoring what is left would choose other
    media. `arguments` holds everything that the scores depend on, and names the file.
    """

    folder: Path
    arguments: Sequence[object]

    @cached_property
    def file(self) -> Path:
        """Path of the file, which exists while media are moved."""
        text = json.dumps([os.getcwd(), *self.arguments], default=str, sort_keys=True)  # noqa: PTH109
        return self.folder / f"{PREFIX}{sha256(text.encode()).hexdigest()[:16]}.parquet"

    def read(self) -> ScoreTable | None:
        """Return the scores of a move that was interrupted, None if there are none.

        Raises UsageError if another command's move to this folder was interrupted.
        """
        if self.file.is_file():
            scores = read_scores(self.file)
            log.warning(
                "%s: going on with an interrupted move, by the scores of %s before it",
                self.file, counted(len(scores), "item"),
            )  # fmt: skip
            return scores
        others = sorted(self.folder.glob(f"{PREFIX}*.parquet")) if self.folder.is_dir() else []
        if others:
            raise UsageError(
                f"{self.folder}: the move of another command to this folder was interrupted",
                hint=f"Run that command again to end its move, or delete {others[0]}.",
            )
        return None

    @contextmanager
    def held(self, scores: ScoreTable) -> Iterator[None]:
        """Write the scores before the block, and delete the file after the block has succeeded.

        Also after a UsageError, which says that nothing was moved. Raises OutputError.
        """
        was_there, had_folder = self.file.is_file(), self.folder.is_dir()
        if not was_there:
            with writing(self.file, "Nothing has been moved."):
                self.folder.mkdir(parents=True, exist_ok=True)
                scores.write(self.file)
        try:
            yield
        except UsageError:
            if not was_there:
                self.file.unlink(missing_ok=True)
                if not had_folder and not any(self.folder.iterdir()):
                    self.folder.rmdir()
            raise
        self.file.unlink(missing_ok=True)
