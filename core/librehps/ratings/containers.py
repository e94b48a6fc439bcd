"""XMP packets inside PNG, JPEG and WebP files: read, replaced and taken out, byte by byte.

No pixel is decoded: all other parts of a file keep their bytes.
"""

import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

from librehps.errors import BrokenMediaError, UnsupportedMediaError
from librehps.media import webp
from librehps.media.metadata.image_texts import format_of
from librehps.media.png import chunks
from librehps.media.webp import CUT
from librehps.ratings.packet_scan import MAX_BYTES

SIGNED = "it holds a C2PA signature, which a rating inside would break"
HEAD_BYTES = 64


class Slot(NamedTuple):
    """The place of a packet in a file; without a packet, the place where one may be inserted."""

    start: int
    end: int
    packet: bytes | None


class Container(ABC):
    """A format of files that hold an XMP packet."""

    @abstractmethod
    def slot(self, content: bytes) -> Slot:
        """Return the place of the packet; raises a MediaError for files that must not change."""

    @abstractmethod
    def wrapped(self, packet: bytes) -> bytes:
        """Return the part of a file that holds the packet."""

    def with_packet(self, content: bytes, packet: bytes | None) -> bytes:
        """Return the file with another packet, or without one."""
        slot = self.slot(content)
        part = b"" if packet is None else self.wrapped(packet)
        # Views, since a copy of each half would double the memory.
        whole = memoryview(content)
        return b"".join((whole[: slot.start], part, whole[slot.end :]))


class Png(Container):
    """PNG: an iTXt chunk."""

    KEYWORD = b"XML:com.adobe.xmp\0"

    def slot(self, content: bytes) -> Slot:
        pixels, found, is_whole = 0, list[Slot](), False
        for name, start, end in chunks(content):
            if name == b"caBX":
                raise UnsupportedMediaError(SIGNED)
            if name == b"IDAT":
                pixels = pixels or start
            if name == b"iTXt" and content.startswith(self.KEYWORD, start + 8):
                packet = self._packet(content[start + 8 + len(self.KEYWORD) : end - 4])
                found.append(Slot(start, end, packet))
            is_whole = is_whole or name == b"IEND"
        if not is_whole or not pixels:
            raise BrokenMediaError(CUT)
        return _only(found, Slot(pixels, pixels, None))

    def wrapped(self, packet: bytes) -> bytes:
        # Not compressed, without a language and a translated keyword.
        body = b"iTXt" + self.KEYWORD + bytes(4) + packet
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    @staticmethod
    def _packet(rest: bytes) -> bytes:
        is_compressed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        if len(parts) < 3:
            raise BrokenMediaError(CUT)
        if not is_compressed:
            return parts[2]
        try:
            return zlib.decompressobj().decompress(parts[2], MAX_BYTES)
        except zlib.error as error:
            raise BrokenMediaError(CUT) from error


class Jpeg(Container):
    """JPEG: an APP1 segment."""

    HEAD = b"http://ns.adobe.com/xap/1.0/\0"
    MAX_PACKET_BYTES = 0xFFFF - 2 - len(HEAD)
    APP0, APP1, APP2, APP11 = 0xE0, 0xE1, 0xE2, 0xEB
    START_OF_SCAN = 0xDA
    END_OF_IMAGE = b"\xff\xd9"

    def slot(self, content: bytes) -> Slot:
        # Behind JFIF and EXIF, where readers expect these first.
        first, found, in_front = 2, list[Slot](), True
        for marker, start, end in self._segments(content):
            body = content[start + 4 : end]
            if marker == self.APP11 and body.startswith(b"JP"):
                raise UnsupportedMediaError(SIGNED)
            if marker == self.APP2 and body.startswith(b"MPF\0"):
                raise UnsupportedMediaError("it holds several pictures, whose places would change")
            if marker == self.APP1 and body.startswith(self.HEAD):
                found.append(Slot(start, end, body[len(self.HEAD) :]))
            in_front = in_front and marker in (self.APP0, self.APP1)
            first = end if in_front else first
        return _only(found, Slot(first, first, None))

    def wrapped(self, packet: bytes) -> bytes:
        if len(packet) > self.MAX_PACKET_BYTES:
            raise UnsupportedMediaError("its XMP has no room for a rating (at most 65,504 bytes)")
        body = self.HEAD + packet
        return bytes((0xFF, self.APP1)) + struct.pack(">H", len(body) + 2) + body

    def _segments(self, content: bytes) -> Iterator[tuple[int, int, int]]:
        """Yield (marker, start, end) of each segment before the pixels."""
        at = 2
        while at + 4 <= len(content) and content[at] == 0xFF:
            marker = content[at + 1]
            if marker == 0xFF:
                # A fill byte.
                at += 1
                continue
            end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            if marker == self.START_OF_SCAN:
                if content.rfind(self.END_OF_IMAGE, at) < 0:
                    # Perhaps another program is still writing the pixels.
                    break
                return
            if end > len(content):
                break
            yield marker, at, end
            at = end
        raise BrokenMediaError(CUT)


class Webp(Container):
    """WebP: a chunk `XMP `, which the chunk `VP8X` announces."""

    ALPHA_FLAG = 0x10

    def slot(self, content: bytes) -> Slot:
        found, end = list[Slot](), 12
        for name, start, end in webp.chunks(content):
            if name == b"C2PA":
                raise UnsupportedMediaError(SIGNED)
            if name == b"XMP ":
                size = int.from_bytes(content[start + 4 : start + 8], "little")
                found.append(Slot(start, end, content[start + 8 : start + 8 + size]))
        return _only(found, Slot(end, end, None))

    def wrapped(self, packet: bytes) -> bytes:
        return _riff(b"XMP ", packet)

    def with_packet(self, content: bytes, packet: bytes | None) -> bytes:
        changed = bytearray(super().with_packet(content, packet))
        before = webp.end_of(content)
        size = before + len(changed) - len(content)
        if changed[12:16] == b"VP8X":
            changed[20] = changed[20] & ~webp.XMP_FLAG | (0 if packet is None else webp.XMP_FLAG)
        elif packet is not None:
            header = self._header(bytes(changed))
            changed[12:12] = header
            size += len(header)
        changed[4:8] = struct.pack("<I", size - 8)
        return bytes(changed)

    def is_simple(self, content: bytes) -> bool:
        """Return whether the file has no chunk VP8X, so that a packet needs one."""
        return content[12:16] != b"VP8X"

    def simplified(self, content: bytes) -> bytes:
        """Return a file without the chunk VP8X that `with_packet` had to add."""
        names = [name for name, _, _ in webp.chunks(content)]
        if len(names) != 2 or names[0] != b"VP8X":
            return content
        return content[:4] + struct.pack("<I", webp.end_of(content) - 26) + b"WEBP" + content[30:]

    def _header(self, content: bytes) -> bytes:
        name, data = content[12:16], content[20:30]
        if name == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
            width, height = (n & 0x3FFF for n in struct.unpack("<HH", data[6:10]))
            flags = webp.XMP_FLAG
        elif name == b"VP8L" and data[:1] == b"\x2f":
            bits = int.from_bytes(data[1:5], "little")
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            flags = webp.XMP_FLAG | (self.ALPHA_FLAG if bits >> 28 & 1 else 0)
        else:
            raise BrokenMediaError(CUT)
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        return _riff(b"VP8X", bytes((flags, 0, 0, 0)) + sides)


CONTAINERS: dict[str, Container] = {"png": Png(), "jpeg": Jpeg(), "webp": Webp()}


def container_of(head: bytes) -> Container:
    """Return the container of a picture; raises UnsupportedMediaError for another format.

    `head` is the first HEAD_BYTES of the file.
    """
    found = CONTAINERS.get(format_of(BytesIO(head)))
    if found is None:
        raise UnsupportedMediaError("a rating can be inside PNG, JPEG and WebP files only")
    return found


def _only(found: list[Slot], otherwise: Slot) -> Slot:
    if len(found) > 1:
        raise UnsupportedMediaError("it holds several XMP packets")
    return found[0] if found else otherwise


def _riff(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
