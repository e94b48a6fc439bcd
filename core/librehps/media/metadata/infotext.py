"""Infotexts, which AUTOMATIC1111 and Forge write: prompt, negative prompt and settings."""

import re

# Lines that end the prompt; the first may also begin the text.
_NEGATIVE = re.compile(r"^Negative prompt:", re.MULTILINE)
_STEPS = re.compile(r"^Steps: \d", re.MULTILINE)
# Stricter, for a caption file: a caption may have a line that begins with "Steps: 3".
_SETTINGS = re.compile(r"^Steps: \d+, [A-Z][\w ]*: ", re.MULTILINE)


def prompt_of_infotext(text: str) -> str | None:
    """Return the lines above negative prompt or settings; None for a text that has neither."""
    text = text.replace("\r\n", "\n")
    end = _NEGATIVE.search(text)
    if end is None:
        # The last match, because the prompt itself may contain such a line.
        for end in _STEPS.finditer(text):  # noqa: B007 - the last match is used
            pass
    return None if end is None else text[: end.start()]


def prompt_of_caption(text: str) -> str:
    """Return the text of a caption file, or only the prompt if the file holds an infotext."""
    if _NEGATIVE.search(text) or _SETTINGS.search(text.replace("\r\n", "\n")):
        return (prompt_of_infotext(text) or "").strip()
    return text
