"""The files and folders that a source passes over: counts by reason and suffix, and names."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from librehps.files import counted, printable

# Reasons; UNKNOWN is the only one that a note does not name.
UNKNOWN, UNSUPPORTED, HIDDEN = "unknown type", "unsupported media", "hidden"
UNMATCHED, SPECIAL = "outside the pattern", "special members of tars"
# Pictures and videos that people have, in formats that are not read.
UNSUPPORTED_SUFFIXES = frozenset((
    ".psd", ".psb", ".xcf", ".kra", ".clip", ".tga", ".exr", ".hdr", ".svg", ".svgz",
    ".eps", ".ai", ".pdf", ".ico", ".icns", ".cur", ".jp2", ".j2k", ".jpx", ".pcx",
    ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".dds", ".qoi",
    ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf",
    ".rw2", ".raf", ".mpg", ".mpeg", ".m1v", ".m2v", ".ts", ".mts", ".m2ts", ".flv",
    ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".vob", ".mxf", ".rm", ".rmvb",
    ".y4m", ".h264", ".h265", ".hevc", ".m3u8",
))  # fmt: skip
# Longer suffixes, and those with other characters, are parts of names.
SUFFIX = re.compile(r"\.[a-z0-9_+-]{1,10}")
MAX_SUFFIXES, MAX_FOLDERS = 8, 5


@dataclass
class PassedOver:
    """Files and folders that a source passed over: `files` are counts by reason and suffix.

    `unreadable_folders` maps the path of each such folder to the reason.
    """

    files: dict[str, Counter[str]] = field(default_factory=dict)
    hidden_folders: int = 0
    linked_folders: list[str] = field(default_factory=list)
    unreadable_folders: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of files that were passed over."""
        return sum(counts.total() for counts in self.files.values())

    def add(self, name: str, reason: str | None = None, count: int = 1) -> None:
        """Count files of this name; without a reason their type is unsupported or unknown."""
        _, dot, end = name.rpartition(".")
        suffix = f"{dot}{end}".lower() if SUFFIX.fullmatch(f"{dot}{end}".lower()) else ""
        if reason is None:
            reason = UNSUPPORTED if suffix in UNSUPPORTED_SUFFIXES else UNKNOWN
        self.files.setdefault(reason, Counter())[suffix] += count

    def merge(self, other: "PassedOver") -> None:
        """Add everything that another source passed over."""
        for reason, counts in other.files.items():
            self.files.setdefault(reason, Counter()).update(counts)
        self.hidden_folders += other.hidden_folders
        self.linked_folders += other.linked_folders
        self.unreadable_folders |= other.unreadable_folders

    def record(self) -> dict[str, Any]:
        """Return the counts and names as JSON values, keyed like the fields."""
        return {**vars(self), "files": {name: dict(c) for name, c in self.files.items()}}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "PassedOver":
        """Return the object whose `record` this is."""
        files = {name: Counter(counts) for name, counts in record.get("files", {}).items()}
        return cls(**{**record, "files": files})

    def notes(self) -> Iterator[str]:
        """Yield a line on skipped files, and one for each kind of skipped folder, with names."""
        if self.count:
            yield f"skipped {counted(self.count, 'file')}: {_by_suffix(self.files)}"
        if self.hidden_folders:
            yield f"skipped {counted(self.hidden_folders, 'hidden folder')}"
        if self.linked_folders:
            number = counted(len(self.linked_folders), "linked folder")
            yield f"skipped {number}: {_named(self.linked_folders)}; to score one, give its path"

    def unreadable_note(self) -> str:
        """Return the line on folders that cannot be read, with their names and the reasons."""
        reasons = [f"{name} ({reason})" for name, reason in self.unreadable_folders.items()]
        number = counted(len(reasons), "folder")
        return f"{number} cannot be read: {_named(reasons)}"


def _by_suffix(files: Mapping[str, Mapping[str, int]]) -> str:
    """Return `9 .json, 3 .psd (unsupported media)`: the most frequent first."""
    counts = [
        (count, suffix or "without a suffix", "" if reason == UNKNOWN else f" ({reason})")
        for reason, found in files.items()
        for suffix, count in found.items()
    ]
    counts.sort(key=lambda one: (-one[0], one))
    shown = [f"{count} {suffix}{reason}" for count, suffix, reason in counts[:MAX_SUFFIXES]]
    if rest := sum(count for count, *_ in counts[MAX_SUFFIXES:]):
        shown.append(f"{rest} of {len(counts) - MAX_SUFFIXES} more kinds")
    return ", ".join(shown)


def _named(names: list[str]) -> str:
    shown = ", ".join(map(printable, names[:MAX_FOLDERS]))
    return shown if len(names) <= MAX_FOLDERS else f"{shown} and {len(names) - MAX_FOLDERS} more"
