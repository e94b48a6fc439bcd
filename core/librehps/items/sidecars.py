"""Prompts in sidecar files: a.txt or a.json next to a.png."""

import json

from librehps.errors import PromptError, StorageError, StorageNotFoundError
from librehps.media.faults import media_error
from librehps.media.metadata.infotext import prompt_of_caption
from librehps.media.named import PROMPT_NAMES
from librehps.rowfiles.text import decode_text
from librehps.storage.url_path import AnyPath, UrlPath


def sidecar_prompt(media: AnyPath) -> str | None:
    """Return the prompt in the .txt or .json file next to a media file; None without such a file.

    Of an infotext, as AUTOMATIC1111 writes it, only the prompt. Raises PromptError, and
    MediaError for a URL that cannot be read.
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
    found = (fields[name] for name in names if isinstance(fields.get(name), str))
    return next(map(prompt_of_caption, found), None)


def _read(file: AnyPath) -> str | None:
    try:
        if isinstance(file, UrlPath):
            # One request: a question whether the file exists would be another.
            return decode_text(file.read_bytes())
        # Checked before opening: opening a pipe or a device may block for ever.
        if file.is_file():
            return decode_text(file.read_bytes())
        if not file.exists():
            return None
    except (FileNotFoundError, StorageNotFoundError):
        return None
    except StorageError as error:
        raise media_error(error) from error
    except OSError as error:
        raise PromptError(f"prompt file {file} cannot be read: {error}") from error
    except ValueError as error:
        raise PromptError(f"prompt file {file}: {error}") from error
    raise PromptError(f"prompt file {file} is not a regular file")
