"""Names that a score table leaves on disk: metadata keys, marker files and suffixes.

Files of older versions carry the same names, so none may change.
"""

from pathlib import Path

# Keys of the metadata of a Parquet file: settings and request of the run as JSON, and what a part
# of a folder says of itself alone.
SETTINGS_KEY, REQUEST_KEY = "librehps.settings", "librehps.request"
PART_KEY = "librehps.part"
SCORED_SUFFIXES = (".parquet", ".jsonl")
# Files beside an output: settings of a .jsonl, and the journal of a run that has not finished.
SETTINGS_SUFFIX, JOURNAL_SUFFIX = ".settings.json", ".journal"
JOURNAL_SUFFIXES = tuple(suffix + JOURNAL_SUFFIX for suffix in SCORED_SUFFIXES)
# Files in a folder of parts: the first while parts may be missing, the second once all are there.
UNFINISHED_FILE, DONE_FILE = "_UNFINISHED", "_DONE.json"
# Files of a folder whose names begin so are not parts.
IGNORED_PREFIXES = (".", "_")


def settings_file(output: Path) -> Path:
    """Return the file that holds the settings of a .jsonl output."""
    return output.with_name(output.name + SETTINGS_SUFFIX)


def journal_folder(output: Path) -> Path:
    """Return the folder that keeps the rows of an unfinished run."""
    return output.with_name(output.name + JOURNAL_SUFFIX)
