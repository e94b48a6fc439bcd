"""Writing clips."""

from pathlib import Path

import av
import numpy as np
from PIL import Image

RATE = 4


def write_clip(path: Path, frames: list[Image.Image]) -> None:
    """H.264, nearly without loss."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "12", "threads": "1"})
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(np.array(frame), format="rgb24")
            ):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
