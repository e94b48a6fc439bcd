"""Perceptual hashes: those of near-duplicate pictures differ in few bits."""

import numpy as np
from PIL import Image
from torch import Tensor

# The library's phash of 16 x 16 frequencies, which come from 64 x 64 pixels of brightness.
HASH_SIDE = 16
# Larger frames are first averaged down to at least this side, which is three times as fast.
MIN_SIDE = 256


def perceptual_hash(frames: Tensor) -> str:
    """Return the hash of (T, 3, H, W) uint8 frames: 64 hexadecimal digits a frame, joined."""
    # Imported here: most runs need no hash.
    import imagehash

    def digits(frame: Tensor) -> str:
        picture = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
        factor = min(picture.size) // MIN_SIDE
        small = picture.reduce(factor) if factor > 1 else picture
        return np.packbits(imagehash.phash(small, HASH_SIDE).hash).tobytes().hex()

    return "".join(map(digits, frames.cpu()))
