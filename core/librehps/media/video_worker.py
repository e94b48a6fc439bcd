"""The video worker process: reads requests from stdin and writes frames to stdout.

A separate process, because a hostile file can crash or hang the C libraries that decode it.
A request is a line of JSON: path, container and num_frames, max_pixels, sample, backend; without
these the tags are wanted. A response is a line of JSON, {"error", "message"}, {"tags"} or
{"indices", "shape", "variable"}; after the last the frames as raw RGB bytes.
"""

import json
import os
import sys
from typing import Any

import numpy as np

from librehps.media.pyav_reader import Request, read_pyav
from librehps.media.refusal import RefusedError
from librehps.media.video_tags import read_tags


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        if "backend" not in request:
            return {"tags": read_tags(request["path"], request["container"])}, b""
        return _sampled(request.pop("backend"), Request(**request))
    except RefusedError as error:
        return {"error": error.args[0], "message": error.args[1]}, b""
    except MemoryError:
        return {"error": "DecoderCrashError", "message": "the decoder ran out of memory"}, b""


def _sampled(backend: str, request: Request) -> tuple[dict[str, Any], bytes]:
    if backend == "decord":
        # Only here, because it may not be installed.
        from librehps.media.decord_reader import read_decord

        reading = read_decord(request)
    else:
        reading = read_pyav(request)
    frames = np.ascontiguousarray(reading.frames)
    header = {
        "indices": reading.indices,
        "shape": frames.shape,
        "variable": reading.variable,
    }
    return header, frames.tobytes()


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:
        # Windows has no such limit.
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ValueError, OSError):
        # Some systems reject this limit; the time limit still applies.
        return


def main(memory_limit: int) -> None:
    # Decoders may print to stdout: keep the real stdout for responses only.
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit_memory(memory_limit)
    for line in sys.stdin.buffer:
        header, payload = _answer(json.loads(line))
        responses.write(json.dumps(header).encode() + b"\n")
        responses.write(payload)
        responses.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
