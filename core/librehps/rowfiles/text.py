"""Text of row files: compression, byte order marks, and errors that name the encoding."""

import codecs
import gzip
import io
import shlex
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from librehps.rowfiles.base import RowError
from librehps.storage.url_path import AnyPath

GZIP = ".gz"
HEAD_BYTES = 64
GZIP_MAGIC = b"\x1f\x8b"
# UTF-32 first: its mark begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def is_packed(file: AnyPath) -> bool:
    """Return whether the file's name ends with .gz."""
    return file.suffix.lower() == GZIP


def open_text(file: AnyPath) -> IO[str]:
    """Open a text file, also a .gz, as UTF-8, or in the encoding of its byte order mark.

    Raises RowError for bytes that are no text, such as UTF-16 without a mark.
    """
    raw = _open_bytes(file)
    try:
        return io.TextIOWrapper(raw, _encoding(raw.peek(HEAD_BYTES)[:HEAD_BYTES], file), newline="")
    except BaseException:
        raw.close()
        raise


def _open_bytes(file: AnyPath) -> io.BufferedReader:
    if not is_packed(file):
        return cast("io.BufferedReader", file.open("rb"))
    packed = file if isinstance(file, Path) else file.open("rb")
    return cast("io.BufferedReader", gzip.open(packed))


def _encoding(head: bytes, file: AnyPath) -> str:
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding
    if head.startswith(GZIP_MAGIC):
        name = shlex.quote(str(file))
        raise RowError(f"{file}: compressed with gzip (expected text)", f"mv {name} {name}{GZIP}")
    if b"\0" in head:
        raise nul_error(str(file), file, _utf16_order(head))
    return "utf-8"


def nul_error(place: str, file: AnyPath, encoding: str = "UTF-16LE") -> RowError:
    """Return the error for a zero byte in text, which UTF-16 without a mark is full of."""
    return RowError(
        f"{place}: zero bytes in the text (expected UTF-8; {encoding} needs a byte order mark)",
        hint=f"Convert the file: iconv -f {encoding} -t UTF-8 {shlex.quote(str(file))} > NEW",
    )


@contextmanager
def reading(file: AnyPath) -> Iterator[None]:
    """Raise RowError, with the file's name, for an error of a decoder or of the disk."""
    try:
        yield
    except EOFError as error:
        raise RowError(
            f"{file} is cut short: {error}", hint="Copy or download the file again."
        ) from error
    except UnicodeDecodeError as error:
        raise _encoding_error(file, error) from error
    except (OSError, zlib.error) as error:
        raise RowError(f"{file} cannot be read: {error}") from error


def _encoding_error(file: AnyPath, error: UnicodeDecodeError) -> RowError:
    if error.encoding != "utf-8":
        return RowError(f"{file}: invalid {error.encoding}: {error.reason}")
    name = shlex.quote(str(file))
    line = _invalid_line(file)
    return RowError(
        f"{file}{line}: not valid UTF-8 (byte {error.object[error.start]:#x}: {error.reason})",
        hint=f"Convert the file: iconv -f WINDOWS-1252 -t UTF-8 {name} > NEW",
    )


def _invalid_line(file: AnyPath) -> str:
    """Return ", line N" of the first line that is not UTF-8; empty if the line is not found.

    The decoder reads blocks, so its own position says nothing of the line.
    """
    with cast("BinaryIO", _open_bytes(file)) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f", line {number}"
    return ""


def decode_text(content: bytes) -> str:
    """Return bytes as text: UTF-8, or the encoding of their byte order mark.

    Raises ValueError, with the reason, for other bytes.
    """
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(f"not valid {encoding.upper()}: byte {byte:#x}: {error.reason}") from error
    if "\0" in text:
        # Of Latin text in UTF-16, half of the bytes are zero.
        if len(content) % 2 or 3 * content.count(0) < len(content):
            raise ValueError("zero bytes in the text; expected UTF-8")
        order = _utf16_order(content)
        raise ValueError(
            f"{order} without a byte order mark; expected UTF-8 (convert the file: "
            f"iconv -f {order} -t UTF-8)"
        )
    return text


def _utf16_order(content: bytes) -> str:
    """Return the UTF-16 encoding in which most characters of a text are Latin."""
    return "UTF-16LE" if content[1::2].count(0) >= content[::2].count(0) else "UTF-16BE"
