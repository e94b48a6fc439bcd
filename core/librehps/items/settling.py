"""The decision that a file is whole: nobody writes to the file any more."""

import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from librehps.media.ends import seems_cut

# A file is whole if two looks this far apart find it the same.
QUIET_S = 0.5
# The same for a file that lacks its end, or whose prompt has not arrived.
PATIENCE_S = 5.0
# A file that was changed this long ago needs no second look.
OLD_S = 60.0
# Looks that are kept before those at old files are dropped.
MIN_LOOKS = 10_000


class Stamp(NamedTuple):
    """The size, times and inode of a file, which differ after a change."""

    size: int
    written_ns: int
    changed_ns: int
    device: int
    inode: int

    @property
    def file(self) -> tuple[int, int]:
        """The identity of the file under any name."""
        return self.device, self.inode

    @property
    def came_whole(self) -> bool:
        """True if the file was renamed, or its times or rights were set, after it was written."""
        return self.changed_ns > self.written_ns


class Look(NamedTuple):
    """The stamp of a file, and when a look first found this stamp."""

    stamp: Stamp
    at: float


@dataclass
class Settling:
    """The files that changed lately, and whether each is whole.

    `lacks` says of a path that another file belongs to it that is not there yet. The clocks are
    those of `time`: `now` measures, `wall` is compared with the times of files.
    """

    lacks: Callable[[str], bool] = lambda path: False
    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    _looks: dict[tuple[int, int], Look] = field(default_factory=dict)
    _waiting: set[str] = field(default_factory=set)
    _limit: int = MIN_LOOKS

    def is_whole(self, path: str) -> bool:
        """Look at a file: return whether it is whole, or cannot be looked at, or is gone."""
        stamp = self._stamp(path)
        is_whole = stamp is None or self._is_settled(path, stamp)
        if is_whole:
            self._waiting.discard(path)
        else:
            self._waiting.add(path)
        return is_whole

    def waits(self, path: str) -> bool:
        """Return whether the last look found that the file was not whole."""
        return path in self._waiting

    def settled(self) -> Iterator[str]:
        """Look at the waiting files again; yield those that are whole by now."""
        self._forget()
        for path in sorted(self._waiting):
            if self.is_whole(path):
                yield path

    @property
    def waiting(self) -> int:
        """The number of files that are not whole yet."""
        return len(self._waiting)

    def _is_settled(self, path: str, stamp: Stamp) -> bool:
        look = self._looks.get(stamp.file)
        if look is None or look.stamp != stamp:
            look = self._looks[stamp.file] = Look(stamp, self.now())
        quiet = self.now() - look.at
        if quiet < QUIET_S and not stamp.came_whole:
            return False
        if quiet < PATIENCE_S and (seems_cut(path) or self.lacks(path)):
            return False
        self._looks[stamp.file] = Look(stamp, -math.inf)
        return True

    def _stamp(self, path: str) -> Stamp | None:
        """Return the stamp of a file that may still be written; None for any other."""
        try:
            found = os.stat(path)  # noqa: PTH116 - called for each file of the folder
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode) or self._is_old(max(found.st_mtime, found.st_ctime)):
            return None
        times = found.st_mtime_ns, found.st_ctime_ns
        return Stamp(found.st_size, *times, found.st_dev, found.st_ino)

    def _is_old(self, time_s: float) -> bool:
        # A time in the future is that of another clock, and not old.
        return self.wall() - time_s > OLD_S

    def _forget(self) -> None:
        """Drop the looks at files that have become old, where there are many."""
        if len(self._looks) > self._limit:
            times = ((file, look, max(look.stamp[1:3]) / 1e9) for file, look in self._looks.items())
            self._looks = {file: look for file, look, at in times if not self._is_old(at)}
            self._limit = 2 * len(self._looks) + MIN_LOOKS
