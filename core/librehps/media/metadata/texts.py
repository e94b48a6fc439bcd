"""Texts of metadata: the prompt that a reader found, checks on prompts, and JSON in metadata."""

import json
import re
from typing import Any, NamedTuple

from librehps.errors import EmptyPromptError, PromptError

# JSON takes about twenty times as much memory when parsed.
MAX_TEXT_CHARS = 1 << 22
# One byte more than is allowed, so that a longer text can be told from one that fits.
LIMIT_BYTES = 4 * MAX_TEXT_CHARS + 1
# Words that a program writes where the user gave no prompt.
PLACEHOLDERS = frozenset(("unknown", "undefined", "null", "none", "n/a"))
_SPACE = " \t\r\n\0"
# `__color__` and `{red|blue}` are filled by wildcard nodes, `"0": "..."` is a schedule of frames.
_TEMPLATE = re.compile(r"__[\w*][\w .*/~-]*?__|\{[^{}|]*\|[^{}]*\}")
_SCHEDULE = re.compile(
    r"^[ \t]*(?:[{,][ \t]*)?[\"']?\d{1,9}[\"']?[ \t]*:[ \t]*[\"'(]", re.MULTILINE
)


class Found(NamedTuple):
    """A prompt, and the name of its source: a tool such as `a1111`, `column`, `sidecar`, ..."""

    text: str
    source: str


class Embedded(NamedTuple):
    """A text in a file: its place in lower case, such as `parameters` or `user comment`."""

    place: str
    text: str


class Origin(NamedTuple):
    """The file that holds a text: its name without suffix, and its format (`png`, `video`, ...)."""

    stem: str = ""
    format: str = ""


def missing(prompt: str) -> PromptError | None:
    """Return the error for an empty text or a placeholder; None for any other text."""
    prompt = prompt.strip(_SPACE)
    if not prompt:
        return EmptyPromptError("the prompt in the file's metadata is empty")
    if prompt.lower() in PLACEHOLDERS:
        return PromptError(
            f"the file's metadata have no prompt: {prompt!r} is a placeholder of the program that "
            "saved the file"
        )
    return None


def checked(prompt: str) -> str:
    """Return a prompt of a file without surrounding space; raises PromptError if invalid."""
    if problem := missing(prompt):
        raise problem
    prompt = prompt.strip(_SPACE)
    if any("\ud800" <= character <= "\udfff" or character == "\ufffd" for character in prompt):
        raise PromptError("the prompt in the file's metadata is not valid Unicode")
    template = _TEMPLATE.search(prompt) or _SCHEDULE.search(prompt)
    if template:
        raise PromptError(
            "the prompt cannot be told: the file's metadata have a template, which was filled at "
            f"run time ({template.group().strip()[:40]!r})"
        )
    return prompt


def too_long(text: Embedded) -> PromptError:
    """Return the error for a text of more than MAX_TEXT_CHARS."""
    return PromptError(
        f"the file's `{text.place}` is too long (more than {MAX_TEXT_CHARS} characters)"
    )


def parsed(text: str, place: str) -> dict[str, Any]:
    """Return the JSON object in a text; raises PromptError for other texts."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"the file's `{place}` is invalid JSON: {error}") from error
    if not isinstance(record, dict):
        raise PromptError(f"the file's `{place}` is not a JSON object")
    return record


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in a text; None for a text that is no JSON object."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return parsed(text, "")
    except PromptError:
        return None
