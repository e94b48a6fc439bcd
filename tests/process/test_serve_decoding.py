"""Decoding in a server: huge pictures are bounded in memory, and hold nobody up."""

import os
import signal
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image, TiffImagePlugin

from conftest import MEDIA
from librehps import Item, LibreHPS
from librehps.engine.isolated_decode import IsolatedDecoder
from librehps.errors import BrokenMediaError, DecoderCrashError, DecompressionBombError
from librehps.media import image_formats
from librehps.media.decoder_deadline import Deadline
from librehps.media.headers import read_header
from librehps.media.images import load_pixels
from librehps.media.media import Media
from librehps.media.videos import VideoReader
from librehps.serve.decode_cost import MAX_THREAD_PIXELS, cost_of
from librehps.serve.decoding import DecodeMemory, Decoding, Pending, Task
from make_media import picture
from processes import children
from serve_client import Server, encoded

MEGABYTE = 1 << 20
LARGE_SIDES = (2600, 2000)
HEIC = Path(__file__).parents[1] / "data" / "formats" / "picture.heic"


def content_of(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


SMALL = content_of(picture(64, 48))
LARGE = content_of(Image.new("RGB", LARGE_SIDES, (1, 2, 3)), "JPEG")


class Loads:
    """Items for a queue; each `load` is recorded, and waits for its gate if there is one."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.started, self.gate = threading.Event(), threading.Event()

    def item(self, name: str, content: bytes | list[bytes] = SMALL) -> Pending:
        def load() -> Item:
            self.names.append(name)
            return Item(name, content, "x")

        return Pending(name, name, load)

    def held(self, name: str, content: bytes = SMALL, after: int = 0) -> Pending:
        """An item whose load number `after` waits for the gate."""
        pending = self.item(name, content)

        def load() -> Item:
            if self.names.count(name) == after:
                self.started.set()
                assert self.gate.wait(120)
            return pending.load()

        return replace(pending, load=load)


Start = Callable[..., Decoding]


@pytest.fixture
def start(tiny: LibreHPS) -> Iterator[Start]:
    running: list[Decoding] = []

    def make(max_ready: int = 100, megabytes: int = 1024) -> Decoding:
        engine = replace(tiny.engine(max_pixels=64_000_000), workers=1)
        memory = DecodeMemory.of(megabytes * MEGABYTE, MEGABYTE)
        running.append(Decoding(engine, memory, max_ready))
        return running[-1]

    yield make
    for each in running:
        each.close()


def done(*tasks: Task) -> None:
    for task in tasks:
        over = threading.Event()
        task.done.add_done_callback(lambda _, over=over: over.set())
        assert over.wait(120)


def test_requests_take_turns(start: Start) -> None:
    decoding, loads = start(), Loads()
    first = decoding.submit(loads.held("first"), "a")
    assert loads.started.wait(120)
    tasks = [decoding.submit(loads.item(f"a{at}"), "a") for at in range(3)]
    other = decoding.submit(loads.item("b"), "b")
    loads.gate.set()
    done(first, *tasks, other)
    assert loads.names == ["first", "a0", "b", "a1", "a2"]


def test_a_small_picture_passes_a_large_one(start: Start) -> None:
    decoding, loads = start(), Loads()
    # The first load reads the header; the second comes before the decoding, in another worker.
    large = decoding.submit(loads.held("large", LARGE, after=1), "a")
    assert loads.started.wait(120)
    small = decoding.submit(loads.item("small"), "a")
    done(small)
    assert small.done.result().error is None and not large.done.done()
    loads.gate.set()
    done(large)
    decoded = large.done.result().decoded
    assert decoded is not None and (decoded.width, decoded.height) == LARGE_SIDES


def test_items_wait_undecoded_for_a_slow_device(start: Start) -> None:
    decoding, loads = start(max_ready=1), Loads()
    tasks = [decoding.submit(loads.item(str(at)), "a") for at in range(3)]
    for at, task in enumerate(tasks):
        done(task)
        assert loads.names == [str(each) for each in range(at + 1)]
        ready = task.done.result()
        assert ready.item.media is None
        decoding.taken(ready)


def test_a_cancelled_item_gives_its_place_back(start: Start) -> None:
    decoding, loads = start(), Loads()
    first = decoding.submit(loads.held("first"), "a")
    assert loads.started.wait(120)
    waiting = decoding.submit(loads.item("waiting"), "a")
    decoding.cancel(waiting)
    assert waiting.done.cancelled()
    loads.gate.set()
    done(first)
    assert loads.names == ["first"]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal")
def test_a_cancelled_decode_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    decoding, loads, asked = start(), Loads(), threading.Event()
    done(decoding.submit(loads.item("before", LARGE), "a"))
    [worker] = children("librehps.media.video_worker", recursive=True, nice=10)
    # From here on the request is that of this process, which a kill ends.
    begin = Deadline.start
    monkeypatch.setattr(Deadline, "start", lambda self: (asked.set(), begin(self))[1])
    # It would never answer.
    os.kill(worker.pid, signal.SIGSTOP)
    stuck = decoding.submit(loads.item("stuck", LARGE), "a")
    assert asked.wait(120)
    decoding.cancel(stuck)
    done(stuck)
    assert isinstance(stuck.done.result().error, DecoderCrashError)
    after = decoding.submit(loads.item("after", LARGE), "a")
    done(after)
    assert after.done.result().error is None


def test_formats_that_libraries_parse_are_never_opened_here(
    start: Start, tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    pylibjxl = pytest.importorskip("pylibjxl")
    images = [picture(64, 48, seed) for seed in range(2)]
    still = content_of(images[0], "AVIF")
    animated = content_of(images[0], "AVIF", save_all=True, append_images=images[1:])
    jxl = pylibjxl.encode(np.asarray(images[0]))
    large = content_of(Image.new("L", (2600, 2000)), "TIFF", compression="tiff_lzw")
    media = [still, animated, HEIC.read_bytes(), jxl, large, [still, still], still[:200]]
    expected = [tiny.engine().decoder.decode(Item("x", each, "x")) for each in media[:-1]]

    def opened(*_: object) -> None:
        raise AssertionError("opened in the process of the server")

    monkeypatch.setattr(image_formats, "_opened", opened)
    decoding, loads = start(), Loads()
    tasks = [decoding.submit(loads.item(str(at), each), "a") for at, each in enumerate(media)]
    done(*tasks)
    *found, damaged = (task.done.result() for task in tasks)
    for one, other in zip(found, expected, strict=True):
        assert one.decoded is not None, one.error
        assert torch.equal(one.decoded.prepared.pixels, other.prepared.pixels)
        assert one.decoded.frames == other.frames
    assert isinstance(damaged.error, BrokenMediaError)


def test_a_picture_larger_than_the_budget_is_refused(start: Start) -> None:
    decoding, loads = start(megabytes=64), Loads()
    task = decoding.submit(loads.item("large", LARGE), "a")
    done(task)
    error = task.done.result().error
    assert isinstance(error, DecompressionBombError)
    assert "about 58 MB (at most 33 MB: a share of the server's --decode-memory-mb)" in str(error)


FORMS = [
    ("PNG", "RGB", {}), ("PNG", "RGBA", {}), ("PNG", "I;16", {}), ("PNG", "P", {}),
    ("JPEG", "L", {}),
    ("JPEG", "CMYK", {"progressive": True}), ("WEBP", "RGBA", {}), ("TIFF", "F", {}),
    ("GIF", "P", {}), ("BMP", "RGB", {}), ("AVIF", "RGB", {}),
]  # fmt: skip


@pytest.mark.parametrize(("form", "mode", "options"), FORMS)
def test_headers_tell_what_is_decoded(form: str, mode: str, options: dict[str, object]) -> None:
    content = content_of(Image.new(mode, (96, 64)), form, **options)
    header = read_header(content, "x")
    assert header is not None
    assert load_pixels(content).shape == (3, header.height, header.width)
    assert 7 <= header.pixel_bytes <= 40


def test_a_tile_larger_than_its_image_counts(tiny: LibreHPS) -> None:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.update({256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 4096, 323: 4096})
    directory.update({324: 8, 325: 8})
    file = BytesIO(b"II*\0\x08\0\0\0")
    file.seek(8)
    directory.save(file)
    header = read_header(file.getvalue(), "x")
    assert header is not None and (header.width, header.height) == (4096, 4096)


def test_a_progressive_jpeg_of_many_scans_is_long(tiny: LibreHPS) -> None:
    whole = content_of(picture(64, 48), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    decoder = tiny.engine().decoder
    costs = [
        cost_of(decoder, "image", Media(whole[:-2] + last * more + whole[-2:]), None)
        for more in (0, 200)
    ]
    assert [cost.is_long for cost in costs] == [False, True]


def test_more_pixels_than_pillow_opens(tiny: LibreHPS) -> None:
    declared = bytearray(SMALL)
    declared[16:24] = (20_000).to_bytes(4, "big") * 2
    declared[29:33] = zlib.crc32(declared[12:29]).to_bytes(4, "big")
    with pytest.raises(DecompressionBombError, match=r"more than 178956970; .*--max-megapixels\)"):
        cost_of(tiny.engine().decoder, "image", Media(bytes(declared)), None)


def test_headers_of_damaged_files() -> None:
    assert read_header(SMALL[:20], "x") is None


def test_a_process_decodes_the_same_pixels(tiny: LibreHPS) -> None:
    decoder = tiny.engine().decoder
    frames = [picture(64, 48, seed) for seed in range(3)]
    animation = content_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    clear = content_of(Image.new("RGBA", (64, 48), (9, 8, 7, 6)))
    reader = VideoReader()
    try:
        isolated = IsolatedDecoder.of(decoder, reader)
        for media in (SMALL, clear, animation, [SMALL, clear], MEDIA / "clip8.mp4"):
            here, there = (d.decode(Item("x", media, "x")) for d in (decoder, isolated))
            assert torch.equal(here.prepared.pixels, there.prepared.pixels)
            assert (here.remarks, here.frames) == (there.remarks, there.frames)
        clip = Media((MEDIA / "clip8.mp4").read_bytes(), reader)
        assert cost_of(decoder, "video", clip, reader).is_long
    finally:
        reader.close()


def test_pixels_in_memory_count(tiny: LibreHPS) -> None:
    decoder = tiny.engine(max_pixels=MAX_THREAD_PIXELS).decoder
    array = np.zeros((8, 64, 48, 3), np.uint8)
    cost = cost_of(decoder, "video", Media(array), None)
    assert array.nbytes <= cost.total and not cost.is_long
    with pytest.raises(DecompressionBombError, match=r"\(2049 x 2048; .*--max-megapixels\)"):
        cost_of(decoder, "image", Media(np.zeros((2048, 2049, 3), np.uint8)), None)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads peaks of memory in /proc")
def test_memory_is_bounded_by_the_flags() -> None:
    sides, megabytes = (4000, 3000), 512
    bomb = {"prompt": "x", "image_b64": encoded(Image.new("RGB", sides, (9, 9, 9)), "WEBP")}
    server = Server.start("--max-megapixels", 12, "--decode-memory-mb", megabytes)
    try:
        before = peak(server.pid())
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: server.post("/score", {"items": [bomb]}), range(2)))
        assert [answer.json["items"][0]["status"] for answer in answers] == ["ok"] * 2
        workers = psutil.Process(server.pid()).children(recursive=True)
        grown = peak(server.pid()) - before + sum(peak(worker.pid) for worker in workers)
    finally:
        assert server.stop() == 0
    # Something was measured, and less than the half of the memory that large pictures share.
    assert sides[0] * sides[1] * 8 < grown < (megabytes // 2 + 100) * MEGABYTE


def peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
