"""Frames of a video from which decoding can start and be right from there on."""

from typing import Any

# NAL unit types: ITU-T H.264 table 7-1 (IDR), H.265 table 7-1 (BLA, IDR, CRA).
_H264_IDR, _H265_IRAP = (5,), range(16, 22)
# Frames shown after a key frame of these never refer to frames before it.
_SELF_CONTAINED = ("vp8", "vp9", "mjpeg", "prores", "ffv1", "png",
                   "mpeg1video", "mpeg2video", "mpeg4")  # fmt: skip


def starts_here(codec: str, extradata: bytes | None, packet: Any) -> bool:
    """Return whether every frame shown after this packet's own decodes without earlier packets.

    A container also flags frames of H.264 that need some frames to recover; this reads the NAL
    units. False where it is unknown.
    """
    if not packet.is_keyframe:
        return False
    if codec in _SELF_CONTAINED:
        return True
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or not extradata or extradata[0] != 1 or len(extradata) <= at:
        return False
    types = _nal_types(bytes(packet), (extradata[at] & 3) + 1, codec)
    return any(kind in (_H264_IDR if codec == "h264" else _H265_IRAP) for kind in types)


def _nal_types(data: bytes, prefix: int, codec: str) -> list[int]:
    """Return the types of the NAL units in a packet with length prefixes, as in MP4."""
    found, at = [], 0
    while at + prefix < len(data):
        length = int.from_bytes(data[at : at + prefix], "big")
        header = data[at + prefix]
        found.append(header & 31 if codec == "h264" else header >> 1 & 63)
        at += prefix + length
    return found
