"""Names on disk of score tables: metadata keys, marker files and suffixes.

Files of older versions use the same names, so they must not change.
"""

from typing import TypeVar, cast

from librehps.storage.url_path import AnyPath

P = TypeVar("P", bound=AnyPath)

# Keys of a Parquet file's metadata: settings and request of the run and the folders of its media as
# JSON, and the facts of one part of a folder.
SETTINGS_KEY, REQUEST_KEY = "librehps.settings", "librehps.request"
PLACE_KEY = "librehps.place"
PART_KEY = "librehps.part"
SCORED_SUFFIXES = (".parquet", ".jsonl")
# Key of the folders of the media, in a .settings.json file.
PLACE = "place"
# Next to an output: the settings of a .jsonl, and the journal of an unfinished run.
SETTINGS_SUFFIX, JOURNAL_SUFFIX = ".settings.json", ".journal"
JOURNAL_SUFFIXES = tuple(suffix + JOURNAL_SUFFIX for suffix in SCORED_SUFFIXES)
# In a folder of parts: the first file while parts are missing, the second once all parts exist.
UNFINISHED_FILE, DONE_FILE = "_UNFINISHED", "_DONE.json"
# The column of an update that tells rows of items which the source no longer has.
VANISHED = "vanished"
# Files with these prefixes are not parts.
IGNORED_PREFIXES = (".", "_")


def settings_file(output: P) -> P:
    """Return the file that holds the settings of a .jsonl output."""
    return cast(P, output.with_name(output.name + SETTINGS_SUFFIX))


def journal_folder(output: P) -> P:
    """Return the folder that keeps the rows of an unfinished run."""
    return cast(P, output.with_name(output.name + JOURNAL_SUFFIX))
