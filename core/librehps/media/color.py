"""Colour management: images with an embedded colour profile as sRGB, the space that models see."""

import threading
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

# Colour space of a profile (ICC.1, section 7.2.6), and the image mode whose colours it explains.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
MAX_CACHED_TRANSFORMS = 16
# Profiles that change no colour by more than this count as sRGB.
MAX_ROUNDING_LEVELS = 1
GRID_STEPS = 17

Transform = ImageCms.ImageCmsTransform


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an L, RGB, CMYK or LAB image as sRGB, converted from its profile.

    Colours without a profile, or with a profile that is invalid or of another colour space, are
    taken as sRGB, as viewers do. The rendering intent is perceptual, the default of littleCMS.
    """
    transform = _cache.transform(profile, image.mode) if profile else None
    if transform is None and image.mode == "LAB":
        transform = _cache.transform(None, "LAB")
    if transform is not None:
        return transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _transform(profile: bytes | None, mode: str) -> Transform | None:
    """Return the transform of a profile to sRGB; None where pixels would stay as they are."""
    try:
        source = ImageCms.ImageCmsProfile(
            ImageCms.createProfile("LAB") if profile is None else BytesIO(profile)
        )
        if _MODES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None
    return None if mode in ("L", "RGB") and _is_identity(transform, mode) else transform


def _is_identity(transform: Transform, mode: str) -> bool:
    steps = np.linspace(0, 255, GRID_STEPS).round().astype(np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    grid = Image.fromarray(colors if mode == "RGB" else steps[None])
    before = np.asarray(grid.convert("RGB")).astype(int)
    after = np.asarray(transform.apply(grid)).astype(int)
    return bool(np.abs(after - before).max() <= MAX_ROUNDING_LEVELS)


class _Cache(threading.local):
    """The transforms of each thread, since littleCMS shares no transform between threads."""

    def __init__(self) -> None:
        self.transform = lru_cache(MAX_CACHED_TRANSFORMS)(_transform)


_cache = _Cache()
