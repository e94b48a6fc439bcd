"""Pictures of explanations: the map over the picture, as PNG."""

from io import BytesIO
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from librehps.errors import UsageError
from librehps.explain.colors import overlay
from librehps.explain.explanation import Explanation

if TYPE_CHECKING:
    from PIL.Image import Image

# Side of the written picture, at least: small inputs are enlarged.
SIDE = 512


def picture_of(frame: Tensor) -> "Image":
    """Return (3, H, W) uint8 pixels as a picture."""
    from PIL import Image

    return Image.fromarray(frame.permute(1, 2, 0).contiguous().cpu().numpy())


def rgba_of(layer: Tensor) -> "Image":
    """Return (4, H, W) uint8 values as a transparent picture."""
    return picture_of(layer)


def no_map() -> UsageError:
    """Return the error for a .png of an explanation without a map of regions."""
    return UsageError(
        "a .png shows a map of regions, and none was asked for",
        hint="Add --by regions, or write an .html file.",
    )


def png_of(one: Explanation) -> bytes:
    """Return the map of the regions over the picture as PNG; raises UsageError without a map."""
    from PIL import Image, ImageDraw

    if one.regions is None:
        raise no_map()
    base = picture_of(one.pixels[0]).convert("RGBA")
    scale = max(1, -(-SIDE // min(base.size)))
    width, height = base.width * scale, base.height * scale
    layer = rgba_of(overlay(torch.tensor(one.regions.costs), height, width))
    whole = Image.alpha_composite(base.resize((width, height), Image.Resampling.BICUBIC), layer)
    if one.regions.has_costs:
        x, y = one.regions.peak[0] * width, one.regions.peak[1] * height
        pen, radius = ImageDraw.Draw(whole), min(width, height) / 40
        for grown, color in ((radius + 2, "black"), (radius, "white")):
            pen.ellipse((x - grown, y - grown, x + grown, y + grown), outline=color, width=3)
    buffer = BytesIO()
    whole.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
