"""A look at the first line of standard input that leaves the input unread."""

import io
import sys
from codecs import BOM_UTF8
from typing import BinaryIO


class _Chained(io.RawIOBase):
    """A stream of bytes that were read already, followed by the rest of another stream."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first, self._rest = first, rest

    def readable(self) -> bool:
        return True

    def readinto(self, room: memoryview) -> int:  # type: ignore[override]
        block, self._first = self._first[: len(room)], self._first[len(room) :]
        if not block:
            rest = self._rest
            block = rest.read1(len(room)) if hasattr(rest, "read1") else rest.read(len(room))
        room[: len(block)] = block
        return len(block)


def first_json_line() -> bytes | None:
    """Return the first non-blank line of stdin, if it begins with `{`; None for blank input.

    Any other first line is returned as empty. `sys.stdin` is replaced, so that the next reader
    gets the whole input.
    """
    stream = sys.stdin.buffer
    seen = b""
    while block := stream.readline(1):
        seen += block
        text = seen.removeprefix(BOM_UTF8).lstrip()
        if text and not BOM_UTF8.startswith(seen):
            break
    is_json = seen.removeprefix(BOM_UTF8).lstrip().startswith(b"{")
    if is_json:
        seen += stream.readline()
    sys.stdin = io.TextIOWrapper(io.BufferedReader(_Chained(seen, stream)), encoding="utf-8-sig")
    if not seen.removeprefix(BOM_UTF8).strip():
        return None
    return seen.removeprefix(BOM_UTF8) if is_json else b""
