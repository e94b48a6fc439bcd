"""Options of decoding: how media files become pixels."""

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from librehps.choices import Animated, Sample, check_choice
from librehps.errors import UsageError

if TYPE_CHECKING:
    from librehps.settings import Settings

KEEP, WHITE, BLACK = "keep", "white", "black"
_CODE = re.compile(r"#[0-9a-f]{6}")
_CODES = {WHITE: "#ffffff", BLACK: "#000000"}
_NAMES = {code: name for name, code in _CODES.items()}


@dataclass(frozen=True)
class MediaOptions:
    """How files become pixels; part of the settings, because scores depend on these options.

    background: the colour below transparent pixels, `white`, `black` or `#RRGGBB`; `keep` drops
    the alpha channel. color_management: convert embedded colour profiles to sRGB. animated: score
    an animated image as a `clip`, or its first frame as a `still`. sample: equal spans of a video
    by frame `index` or by `time`; animated images are always sampled by time. Raises UsageError
    for an invalid value.
    """

    background: str = WHITE
    color_management: bool = True
    animated: Animated = "clip"
    sample: Sample = "index"

    def __post_init__(self) -> None:
        check_choice(self.animated, Animated, "animated")
        check_choice(self.sample, Sample, "sample")
        color = str(self.background).lower()
        if color not in (KEEP, *_CODES) and not _CODE.fullmatch(color):
            raise UsageError(
                f"background: expected keep, white, black or #RRGGBB, got {self.background!r}"
            )
        # One spelling of one colour, since the digest of the settings covers it.
        object.__setattr__(self, "background", _NAMES.get(color, color))

    @classmethod
    def from_settings(cls, settings: "Settings") -> "MediaOptions":
        """Return the options that these settings record."""
        return cls(
            settings.background, settings.color_management, settings.animated, settings.sample
        )

    def record(self) -> dict[str, Any]:
        """Return the options by name."""
        return asdict(self)

    @property
    def color(self) -> tuple[int, int, int] | None:
        """The background as 8-bit RGB; None for `keep`."""
        if self.background == KEEP:
            return None
        code = _CODES.get(self.background, self.background)
        return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)
