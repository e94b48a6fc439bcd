"""The header of a JPEG XL image: whether its pixels are one still in sRGB (ISO/IEC 18181-1)."""

CODESTREAM = b"\xff\x0a"
HEADER_BYTES = 256
# Values of the header's enumerations.
RGB, GRAY, D65, SRGB_PRIMARIES, SRGB_CURVE, ALPHA = 0, 1, 1, 1, 13, 0
# A gamma of 1 / 2.2 in units of 1e-7, which PNGs without a profile have.
NEARLY_SRGB = range(4_540_000, 4_560_000)
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))


def is_plain(content: bytes) -> bool:
    """Return whether the image is one still in sRGB, RGB or gray, with straight alpha if any.

    The reader does not say in which colours it decodes other images.
    """
    return _Header(_codestream(content)[:HEADER_BYTES]).is_plain()


def _codestream(content: bytes) -> bytes:
    """Return the codestream, or its first part, without the boxes around it."""
    at = 0
    while not content.startswith(CODESTREAM) and at + 16 <= len(content):
        size, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        start = at + 8
        if size == 1:
            size, start = int.from_bytes(content[start : start + 8], "big"), start + 8
        if name in (b"jxlc", b"jxlp"):
            return content[start + 4 * (name == b"jxlp") :]
        if size < 8:
            break
        at += size
    return content


class _Header:
    """Reads fields of bits, least significant first, from the start of a codestream."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data[len(CODESTREAM) :], "little")

    def is_plain(self) -> bool:
        self._skip_size()
        if self._read(1):
            return True
        if self._read(1):
            self._read(3)
            if self._read(1):
                self._skip_size()
            if self._read(1) or self._read(1):
                # A preview, or an animation.
                return False
        self._skip_depth()
        self._read(1)
        channels = self._choose((0, 0), (1, 0), (2, 4), (1, 12))
        if not all(self._is_straight_alpha() for _ in range(channels)):
            return False
        self._read(1)
        return bool(self._read(1)) or self._is_srgb()

    def _is_srgb(self) -> bool:
        has_profile, space = self._read(1), self._choose(*_ENUM)
        if has_profile or space not in (RGB, GRAY) or self._choose(*_ENUM) != D65:
            return False
        if space == RGB and self._choose(*_ENUM) != SRGB_PRIMARIES:
            return False
        if self._read(1):
            return self._read(24) in NEARLY_SRGB
        return self._choose(*_ENUM) == SRGB_CURVE

    def _is_straight_alpha(self) -> bool:
        if self._read(1):
            return True
        kind = self._choose(*_ENUM)
        self._skip_depth()
        self._choose((0, 0), (3, 0), (4, 0), (1, 3))
        self._read(8 * self._choose((0, 0), (0, 4), (16, 5), (48, 10)))
        return kind == ALPHA and not self._read(1)

    def _skip_size(self) -> None:
        is_small = self._read(1)
        for is_height in (True, False):
            _ = self._read(5) if is_small else self._choose(*_SIDE)
            # A ratio of width to height stands for the width.
            if is_height and self._read(3):
                return

    def _skip_depth(self) -> None:
        if self._read(1):
            self._choose((32, 0), (16, 0), (24, 0), (1, 6))
            self._read(4)
        else:
            self._choose((8, 0), (10, 0), (12, 0), (1, 6))

    def _choose(self, *ways: tuple[int, int]) -> int:
        """Return a number that is written in one of four ways: base, bits to add."""
        base, bits = ways[self._read(2)]
        return base + self._read(bits)

    def _read(self, count: int) -> int:
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value
