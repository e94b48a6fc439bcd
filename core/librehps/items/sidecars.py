"""Prompts in sidecar files: a.txt or a.json next to a.png."""

import codecs
import json
from pathlib import Path

from librehps.errors import PromptError
from librehps.items.rows import PROMPT_NAMES
from librehps.media.metadata.infotext import prompt_of_caption

_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def sidecar_prompt(media: Path) -> str | None:
    """Return the prompt in the .txt or .json file next to a media file; None without such a file.

    Of an infotext, as AUTOMATIC1111 writes it, only the prompt. Raises PromptError.
    """
    if not media.name:
        return None
    text = _read(media.with_suffix(".txt"))
    if text is not None:
        return prompt_of_caption(text).strip()
    file = media.with_suffix(".json")
    text = _read(file)
    if text is None:
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"prompt file {file}: invalid JSON: {error}") from error
    names = PROMPT_NAMES if isinstance(fields, dict) else ()
    return next((fields[name] for name in names if isinstance(fields.get(name), str)), None)


def _read(file: Path) -> str | None:
    try:
        content = file.read_bytes()
        if content.startswith(_BYTE_ORDER_MARKS):
            return content.decode("utf-16")
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PromptError(f"prompt file {file} cannot be read: {error}") from error
    if "\0" in text:
        encoding = _utf16_order(content)
        raise PromptError(
            f"prompt file {file}: {encoding} without a byte order mark; expected UTF-8 (convert "
            f"the file: iconv -f {encoding} -t UTF-8)"
        )
    return text


def _utf16_order(content: bytes) -> str:
    """Return the UTF-16 encoding in which most characters of a text are Latin."""
    return "UTF-16LE" if content[1::2].count(0) >= content[::2].count(0) else "UTF-16BE"
