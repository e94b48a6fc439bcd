"""The greatest ratio of sides that a picture may have."""

from librehps.errors import AspectRatioError

MAX_ASPECT_RATIO = 200


def check_aspect_ratio(height: int, width: int) -> None:
    """Raise AspectRatioError where one side is over 200 times the other."""
    ratio = max(height, width) / min(height, width)
    if ratio > MAX_ASPECT_RATIO:
        raise AspectRatioError(
            f"{width} x {height} is {ratio:.0f}:1; sides of more than {MAX_ASPECT_RATIO}:1 "
            "cannot be scored"
        )
