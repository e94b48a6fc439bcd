"""Standard input, whose beginning may be looked at before someone reads it."""

import io
import sys
from codecs import BOM_UTF8
from typing import BinaryIO


class _Chained(io.RawIOBase):
    """Bytes that were read already, and then the rest of the stream."""

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
    """The first line of stdin that holds anything, if it begins with `{`; None where all is blank.

    Another first line is given as empty, however long; nothing is lost to whoever reads on.
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
