"""Output files: checked before the work, whole on the disk or absent; names of files as text."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from librehps.errors import OutputError, UsageError

# Ends the name of a file that is still being written.
PARTIAL = ".partial"


def check_file(output: Path, suffixes: Collection[str] = (), expected: str = "") -> None:
    """Raise UsageError for an unknown suffix, a folder, or a file whose folder does not exist.

    `expected` says which suffixes there are; without `suffixes` any will do.
    """
    if suffixes and output.suffix.lower() not in suffixes:
        raise UsageError(f"{output}: {expected}")
    if output.is_dir():
        raise UsageError(f"{output} is a folder")
    check_parent(output)


def check_parent(output: Path) -> None:
    """Raise UsageError where the folder that the output goes into does not exist."""
    if not output.absolute().parent.is_dir():
        raise UsageError(f"the folder of {output} does not exist")


def check_free(output: Path, overwrite: bool) -> None:
    """Raise UsageError for an output that exists, unless it may be overwritten."""
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists", hint="Give another name, or --overwrite.")


@contextmanager
def growing(output: Path) -> Iterator[Path]:
    """Path to write a new file to; after the block the file is synced and gets the output's name.

    After an error the new file is removed, and an output that was there stays as it was.
    """
    partial = partial_of(output)
    try:
        yield partial
        publish(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(output: Path, content: str | bytes) -> None:
    """Write a file by way of `growing`; raises OSError."""
    data = content.encode() if isinstance(content, str) else content
    with growing(output) as partial:
        partial.write_bytes(data)


@contextmanager
def writing(
    output: Path, hint: str | None = None, errors: tuple[type[Exception], ...] = (OSError,)
) -> Iterator[None]:
    """Turn errors of the block into an OutputError with the reason; `hint` says what is left."""
    try:
        yield
    except errors as error:
        reason = getattr(error, "strerror", None) or error
        if hint is None and output.is_file():
            hint = f"{output} is as it was."
        raise OutputError(f"{output} cannot be written: {reason}", hint) from error


def partial_of(output: Path) -> Path:
    """Where a file lies while it is being written."""
    return output.with_name(output.name + PARTIAL)


def publish(partial: Path, output: Path) -> None:
    """Sync a whole file to the disk, and then give it the output's name."""
    sync(partial)
    partial.replace(output)
    sync(output.absolute().parent)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk itself."""
    if path.is_dir() and os.name == "nt":
        # Windows opens no folders.
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def printable(text: object) -> str:
    """Undecodable bytes of a file's name as %XX, so that every output is valid UTF-8.

    What is no text, as a prompt or a group may be that is an error, is shown as Python shows it.
    """
    return (
        "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in str(text))
        .encode(errors="replace")
        .decode()
    )
