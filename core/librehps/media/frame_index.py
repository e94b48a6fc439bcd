"""The index of a video's frames: when each is shown, made from its packets without decoding."""

from dataclasses import dataclass, replace
from typing import Any

from librehps.media.random_access import starts_here
from librehps.media.refusal import RefusedError

# A placeholder in MPEG-4 for a frame that repeats the one before has no picture.
PLACEHOLDER_BYTES = 32


@dataclass(frozen=True)
class FrameIndex:
    """The frames that a player shows, in order.

    `times` are in units of the stream's time base, None if the container does not say when frames
    are shown. `starts` are indices from which decoding can start. `placeholders` are the times of
    packets so small that they may have no picture.
    `hidden` counts frames that an edit list removes.
    """

    count: int
    times: tuple[int, ...] | None
    starts: tuple[int, ...] = ()
    placeholders: frozenset[int] = frozenset()
    hidden: int = 0


def codec_name(stream: Any) -> str:
    """Return the name of the stream's codec, whichever library decodes it."""
    return str(stream.codec_context.codec.canonical_name)


def index_frames(file: Any, stream: Any, container: str) -> FrameIndex:
    """Return the index of an open file's first video stream; raises RefusedError if damaged."""
    codec, extradata = codec_name(stream), stream.codec_context.extradata
    shown: list[tuple[int | None, bool, bool]] = []
    seen, hidden, begins = 0, 0, None
    for packet in file.demux(stream):
        if packet.buffer_ptr == 0 and not packet.size and packet.pts is None:
            # The last packet only tells the decoder to finish.
            continue
        seen += 1
        if packet.is_corrupt:
            raise RefusedError("BrokenMediaError", f"packet {seen - 1} is cut short or damaged")
        if not packet.size:
            continue
        begins = packet.is_keyframe if begins is None else begins
        # Packets that an edit list removes are in the file, but not shown.
        if packet.is_discard:
            hidden += 1
        else:
            start = starts_here(codec, extradata, packet)
            shown.append((packet.pts, start, packet.size <= PLACEHOLDER_BYTES))
    declared = len(stream.index_entries) if container != "matroska" else 0
    if seen < declared:
        reason = f"the file holds {seen} of {declared} declared frames"
        raise RefusedError("BrokenMediaError", reason)
    if begins is False:
        raise RefusedError("BrokenMediaError", "the stream does not begin with a key frame")
    return replace(_index(shown, container), hidden=hidden)


def _index(shown: list[tuple[int | None, bool, bool]], container: str) -> FrameIndex:
    times = [time for time, _, _ in shown if time is not None]
    # AVI has no times: those that FFmpeg gives are in the order of decoding.
    if container == "avi" or len(set(times)) != len(shown):
        return FrameIndex(len(shown), None)
    ordered = sorted((time or 0, start, small) for time, start, small in shown)
    return FrameIndex(
        len(ordered),
        tuple(time for time, _, _ in ordered),
        tuple(index for index, (_, start, _) in enumerate(ordered) if start),
        frozenset(time for time, _, small in ordered if small),
    )
