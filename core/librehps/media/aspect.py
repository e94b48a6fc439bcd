"""The largest aspect ratio that can be scored."""

from librehps.errors import AspectRatioError

MAX_ASPECT_RATIO = 200


def check_aspect_ratio(height: int, width: int) -> None:
    """Raise AspectRatioError if one side is more than 200 times the other."""
    ratio = max(height, width) / min(height, width)
    if ratio > MAX_ASPECT_RATIO:
        raise AspectRatioError(
            f"{width} x {height}: unsupported aspect ratio ({ratio:.0f}:1; "
            f"at most {MAX_ASPECT_RATIO}:1)"
        )
