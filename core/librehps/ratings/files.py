"""Files of ratings: read whole, and replaced atomically with their permissions."""

import os
import shutil
from pathlib import Path

from librehps.errors import MediaDeniedError, MediaError
from librehps.files import PARTIAL, growing


def read_file(file: Path) -> bytes | None:
    """Return the content of a file, None if it does not exist; raises MediaError."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _error(file, "read", error) from error


def replace_file(file: Path, content: bytes | None, is_new: bool) -> None:
    """Write a file complete or not at all, or delete the file for None; raises MediaError.

    A link stays a link to the changed file. A new file is not flushed to the disk, which would take
    most of the time; the next run writes a sidecar again that a power loss has emptied.
    """
    try:
        # Else the link would be replaced by a file.
        target = Path(os.path.realpath(file))
        if content is None:
            file.unlink()
        elif is_new:
            _write_new(target, content)
        else:
            with growing(target) as partial:
                partial.write_bytes(content)
                shutil.copymode(target, partial)
    except OSError as error:
        raise _error(file, "written", error) from error


def _write_new(file: Path, content: bytes) -> None:
    partial = file.with_name(file.name + PARTIAL)
    try:
        partial.write_bytes(content)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _error(file: Path, what: str, error: OSError) -> MediaError:
    kind = MediaDeniedError if isinstance(error, PermissionError) else MediaError
    return kind(f"{file} cannot be {what}: {error.strerror or error}")
