"""Names of manifest columns: which one is read, and messages that name the columns."""

import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from librehps.errors import UsageError
from librehps.media.named import MEDIA_NAMES, PROMPT_NAMES

# Default column names, used if no flag names the column; the first that exists is taken.
ID_NAMES, GROUP_NAMES = ("id",), ("group",)
DEFAULT_NAMES = {"media": MEDIA_NAMES, "prompt": PROMPT_NAMES, "id": ID_NAMES, "group": GROUP_NAMES}
# Columns that an item needs: without their exact names, names in another case are taken.
NEEDED = ("media", "prompt")
# A column that may hold the prompts, though its name is not a default one.
LIKELY_PROMPT = re.compile("prompt|caption", re.IGNORECASE)
# A name with one of these may be the names of several columns.
SEPARATORS = re.compile("[,;\\t|]")


def find_column(names: Sequence[str], what: str, asked: str | None, place: str) -> str | None:
    """Return the column that a flag asks for, else the default one; None if it is not found.

    Raises UsageError for an absent column that was asked for.
    """
    if asked is not None and asked not in names:
        raise UsageError(
            f"{place}: no column {asked!r} (--{what}-column); columns: {shown_names(names)}"
        )
    default = next((name for name in DEFAULT_NAMES[what] if name in names), None)
    return asked or default or (_alike(names, what) if what in NEEDED else None)


def _alike(names: Sequence[str], what: str) -> str | None:
    """Return the column with a default name but for case and outer blanks, if no other has it."""
    for known in DEFAULT_NAMES[what]:
        alike = [name for name in names if name.strip().lower() == known]
        if alike:
            return alike[0] if len(alike) == 1 else None
    return None


def check_renamed(names: Iterable[str], place: str) -> None:
    """Raise UsageError for two own columns with the same name, after all were renamed."""
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"{place}: --rename gives two columns the name {doubled[0]!r}")


def later_name(what: str, taken: Collection[str]) -> str | None:
    """Return the name of a column that only later rows may have; None if it has other use."""
    name = DEFAULT_NAMES[what][0]
    return None if name in taken else name


def shown_names(names: Iterable[str]) -> str:
    """Return names for a message, in quotation marks where blanks would be overlooked."""
    return ", ".join(name if name and name == name.strip() else repr(name) for name in names)


def media_hint(names: Sequence[str], binary: Sequence[str]) -> str:
    """Return the next step for a manifest without a media column."""
    way = f"ame the column: --media-column {next(iter(binary), 'NAME')}"
    if not any(map(SEPARATORS.search, names)):
        return f"N{way}"
    return (
        f"Separate the names by one of , ; | or tab, with no other of them in the line; or n{way}"
    )


def no_prompt(place: str = "", columns: Sequence[str] = ()) -> UsageError:
    """Return the error for items without a prompt; `columns` are those of the rows at `place`."""
    told, way = "", "Use"
    if columns:
        likely = [n for n in columns if LIKELY_PROMPT.search(n) and "neg" not in n.lower()]
        name = shlex.quote(likely[0]) if len(likely) == 1 else "NAME"
        told = f": {place} has no column {', '.join(PROMPT_NAMES)}; columns: {shown_names(columns)}"
        way = f"Name the column: --prompt-column {name}; or use"
    return UsageError(
        f"no prompt was given{told}",
        hint=f'{way} --prompt "..." for all items, or --prompt-from sidecar (a.txt for a.png), '
        "metadata (the prompt in the file), folder (the folder's name), or auto.",
    )
