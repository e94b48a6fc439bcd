"""Time to read 8 frames of a clip: the video worker's PyAV reader against decord, with seek.

    python benchmarks/video_readers.py [--rounds 5]

Writes 10 clips of H.264 (832 x 480, 81 and 320 frames) with ffmpeg and reads each by turns:
`pyav`, as `--video-backend auto`; `decord`, as `--video-backend decord`, in order;
`decord, seek`, `get_batch`, which shows other frames than asked for on some clips.
Expected: `pyav` costs no more than twice `decord, seek`. Seen on two busy cores, medians of CPU
time: 81 frames 431, 478, 480 ms; 320 frames 1663, 1788, 1526 ms. So no clip is read faster by
decord in a way that shows the right frames.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import decord

from librehps.media.containers import check_video_file
from librehps.media.decord_reader import read_decord
from librehps.media.pyav_reader import MAX_CODEC_THREADS, Request, read_pyav
from librehps.media.sampling import sample_indices

NUM_FRAMES, MAX_PIXELS = 8, 1 << 27


def by_seek(request: Request) -> None:
    reader = decord.VideoReader(request.path, num_threads=MAX_CODEC_THREADS)
    reader.get_batch(sample_indices(len(reader), NUM_FRAMES)).asnumpy()


READERS: dict[str, Callable[[Request], object]] = {
    "pyav": read_pyav,
    "decord": read_decord,
    "decord, seek": by_seek,
}


def write_clips(folder: Path) -> list[Path]:
    paths = []
    for frames in (81, 320):
        for number in range(5):
            path = folder / f"{frames}-{number}.mp4"
            # Noise stands for the detail of real pictures, which takes most of the decoder's time.
            source = f"testsrc2=s=832x480:r=24,noise=alls={5 * number}:allf=t"
            command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source]
            codec = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"]
            subprocess.run([*command, "-frames:v", str(frames), *codec, str(path)], check=True)
            paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        paths = write_clips(Path(folder))
        for frames in (81, 320):
            some = [path for path in paths if path.name.startswith(f"{frames}-")]
            seconds = times(some, rounds)
            for name, (wall, cpu) in seconds.items():
                print(f"{frames} frames  {name:13} {wall * 1e3:6.0f} ms, {cpu * 1e3:6.0f} ms CPU")


def times(paths: list[Path], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median wall and CPU time of a clip by reader, read by turns."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in READERS}
    for _ in range(rounds):
        for path in paths:
            request = Request(str(path), check_video_file(path), NUM_FRAMES, MAX_PIXELS)
            for name, read in READERS.items():
                wall, cpu = time.perf_counter(), time.process_time()
                read(request)
                seen[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (statistics.median(w for w, _ in pairs), statistics.median(c for _, c in pairs))
        for name, pairs in seen.items()
    }


if __name__ == "__main__":
    main()
