"""The server scores binary bodies and lists of frames as Python scores them, and refuses others."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.numpy

from librehps import LibreHPS
from librehps.serve.app import make_app
from librehps.serve.options import Access, Limits
from librehps.serve.tensors import InvalidTensorsError, read_tensors
from make_media import picture
from serve_client import Server, encoded, png_b64

BINARY = {"Content-Type": "application/x-safetensors"}
AXES = ("overall", "alignment", "coherence", "style", "temporal")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server.start("--max-body-mb", "4", "--max-megapixels", "1")
    yield running
    assert running.get("/health").json["status"] == "ready"
    assert running.stop() == 0


def body_of(request: Any, **tensors: np.ndarray) -> bytes:
    return safetensors.numpy.save(tensors, {"request": json.dumps(request)})


def pixels(seed: int = 0, width: int = 64, height: int = 48) -> np.ndarray:
    return np.asarray(picture(width, height, seed).convert("RGB"))


def png(seed: int = 0) -> bytes:
    file = BytesIO()
    picture(64, 48, seed).save(file, "PNG")
    return file.getvalue()


def send(server: Server, path: str, body: bytes) -> Any:
    return server.ask("POST", path, body, **BINARY)


def means(row: dict[str, Any]) -> list[float | None]:
    assert row["error"] is None, row
    return [row.get(axis) for axis in AXES]


def test_a_picture_and_a_file_score_as_in_json(server: Server) -> None:
    tensors = {"raw": pixels(), "file": np.frombuffer(png(), np.uint8)}
    items = [{"prompt": "x", "tensor": name, "id": name} for name in ("raw", "file", "raw")]
    found = send(server, "/score", body_of({"items": items}, **tensors)).json["items"]
    plain = {"items": [{"prompt": "x", "image_b64": png_b64()}]}
    [wanted] = server.post("/score", plain).json["items"]
    assert [row["id"] for row in found] == ["raw", "file", "raw"]
    for row in found:
        assert means(row) == pytest.approx(means(wanted), abs=1e-4)
        assert row.get("temporal") is None


def test_a_clip_scores_as_in_python(server: Server, tiny: LibreHPS) -> None:
    frames = [picture(64, 48, seed).convert("RGB") for seed in range(11)]
    score = tiny.score_video(frames, "x")
    wanted = [getattr(score, axis).mean for axis in AXES]
    raw = np.stack([np.asarray(frame) for frame in frames])
    item = {"prompt": "x", "tensor": "clip"}
    history = [{"text": "x", "tensor": "clip"}]
    in_json = {"prompt": "x", "frames_b64": [encoded(frame) for frame in frames]}
    rows = send(server, "/score", body_of({"items": [item]}, clip=raw)).json["items"]
    rows += server.post("/score", {"items": [in_json]}).json["items"]
    for row in rows:
        assert means(row) == pytest.approx(wanted, abs=1e-4)
    sample = body_of({"requests": [{"history": history}]}, clip=raw)
    [reward] = send(server, "/score", sample).json["results"]
    assert reward["librehps"]["temporal"] == pytest.approx(wanted[-1], abs=1e-4)
    turn = {"text": "x", "frames_b64": in_json["frames_b64"]}
    [reward] = server.post("/score", {"requests": [{"history": [turn]}]}).json["results"]
    assert reward["librehps"]["temporal"] == pytest.approx(wanted[-1], abs=1e-4)


def test_pairs(server: Server) -> None:
    pair = {"prompt": "x", "a": {"tensor": "a"}, "b": {"tensor": "b"}}
    found = send(server, "/compare", body_of(pair, a=pixels(1), b=pixels(2))).json
    sides = {"a": {"image_b64": png_b64(1)}, "b": {"image_b64": png_b64(2)}}
    wanted = server.post("/compare", {"prompt": "x", **sides}).json
    assert found["p_a_wins"] == pytest.approx(wanted["p_a_wins"], abs=1e-4)
    pair = {"prompt": "x", "a": {"frames_b64": [png_b64(1)]}, "b": {"frames_b64": [png_b64(2)]}}
    assert server.post("/compare", pair).status == 200


@pytest.mark.parametrize("tensor, reason", [
    (np.zeros((3, 8, 8), np.uint8), "expected the shape"),
    (np.zeros((8, 8), np.uint8), "expected the shape"),
    (np.zeros((0, 8, 3), np.uint8), "expected the shape"),
    (np.zeros((0,), np.uint8), "empty file"),
    (np.zeros((9,), np.uint8), "not"),
    (np.zeros((1001, 1000, 3), np.uint8), "tensor bad: too many pixels"),
    (np.zeros((1, 1001, 1000, 3), np.uint8), "tensor bad[0]: too many pixels"),
    (np.zeros((1, 2000, 3), np.uint8), "aspect"),
])  # fmt: skip
def test_one_bad_tensor_costs_one_item(server: Server, tensor: np.ndarray, reason: str) -> None:
    items = [{"prompt": "x", "tensor": name} for name in ("bad", "good", "absent")]
    bad, good, absent = send(
        server, "/score", body_of({"items": items}, bad=tensor, good=pixels())
    ).json["items"]
    assert reason in bad["error"] and good["error"] is None
    assert absent["error"] == "tensor absent: not found in the request's body"


def test_bad_frames(server: Server) -> None:
    sizes = [encoded(picture(64, 48)), encoded(picture(48, 64))]
    items = [{"prompt": "x", "frames_b64": frames} for frames in (sizes, [], ["%"], ["aGVsbG8="])]
    items.append({"prompt": "x", "frames_b64": [png_b64(), "aGVsbG8="]})
    items += [{"prompt": "x", "tensor": "a"}, {"prompt": "x", "frames_b64": "aGVsbG8="}]
    found = server.post("/score", {"items": items}).json["items"]
    assert "differ in size" in found[0]["error"] and "frames_b64[0]" in found[2]["error"]
    assert "frames_b64[0]" in found[3]["error"] and "frames_b64[1]" in found[4]["error"]
    assert found[5]["error"] == "tensor a: not found in the request's body"
    assert [row["status"] for row in found] == ["error"] * len(items)


def file_of(header: Any, content: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    return size.to_bytes(8, "little") + text + content


ITEM = json.dumps({"items": [{"prompt": "x", "tensor": "t"}]})
META = {"__metadata__": {"request": ITEM}}


def entry(dtype: Any = "U8", shape: Any = (4,), offsets: Any = (0, 4), **more: Any) -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


INVALID = {
    "no length": (b"\1\0", "8 bytes with the length"),
    "nothing": (b"", "8 bytes with the length"),
    "long header": (file_of(b"", length=1 << 62), "header too long"),
    "header past the end": (file_of(b"{}", length=100), "in a body of"),
    "no JSON": (file_of(b"{,"), "invalid JSON"),
    "not UTF-8": (file_of(b'{"\xff": 1}'), "invalid JSON"),
    "NaN": (file_of(b'{"a": NaN}'), "invalid JSON"),
    "deep": (file_of(b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}"), "invalid JSON"),
    "a list": (file_of([]), "expected an object"),
    "no metadata": (file_of({"t": entry()}, b"abcd"), "__metadata__.request"),
    "metadata is no object": (file_of({"__metadata__": 1}), "__metadata__.request"),
    "request is no text": (file_of({"__metadata__": {"request": {}}}), "__metadata__.request"),
    "request is no JSON": (file_of({"__metadata__": {"request": "{"}}), "invalid JSON"),
    "unused": (file_of({**META, "t": entry(), "u": entry(offsets=(4, 8))}, b"x" * 8), "'u'"),
    "float": (file_of({**META, "t": entry("F32")}, b"abcd"), "expected U8"),
    "more fields": (file_of({**META, "t": entry(x=1)}, b"abcd"), "expected data_offsets"),
    "no fields": (file_of({**META, "t": 1}, b"abcd"), "expected data_offsets"),
    "shape too small": (file_of({**META, "t": entry(shape=[3])}, b"abcd"), "shape has 3"),
    "negative": (file_of({**META, "t": entry(shape=[-2, -2])}, b"abcd"), "a shape of"),
    "true": (file_of({**META, "t": entry(shape=[True, 4])}, b"abcd"), "a shape of"),
    "fraction": (file_of({**META, "t": entry(shape=[4.0])}, b"abcd"), "a shape of"),
    "five sizes": (file_of({**META, "t": entry(shape=[4, 1, 1, 1, 1])}, b"abcd"), "a shape of"),
    "no sizes": (file_of({**META, "t": entry(shape=[], offsets=(0, 1))}, b"a"), "a shape of"),
    "huge": (file_of({**META, "t": entry(shape=[1 << 40, 0])}, b""), "a shape of"),
    "empty and huge": (
        file_of({**META, "t": entry(shape=[0, *[(1 << 31) - 1] * 3], offsets=(0, 0))}),
        "shape too large"),
    "backwards": (file_of({**META, "t": entry(offsets=(4, 0))}, b"abcd"), "begin and end"),
    "past the end": (file_of({**META, "t": entry()}, b"abc"), "the body has 3"),
    "bytes left": (file_of({**META, "t": entry()}, b"abcde"), "the body has 5"),
    "gap": (file_of({**META, "t": entry(offsets=(1, 5))}, b"abcde"), "expected 0"),
    "overlap": (
        file_of({**META, "t": entry(), "u": entry(offsets=(2, 6))}, b"abcdef"), "expected 4"),
    "too many": (
        file_of({**META, **{str(k): entry(shape=[0], offsets=[k, k]) for k in range(4097)}}),
        "too many tensors"),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_invalid_bodies(server: Server, name: str) -> None:
    body, reason = INVALID[name]
    answer = send(server, "/score", body)
    assert (answer.status, answer.json["error_type"]) == (422, "InvalidRequest")
    assert reason in answer.json["error"]


def test_sizes_and_types_of_bodies(server: Server) -> None:
    assert send(server, "/score", b"x" * (4 << 20) + b"x").status == 413
    many = file_of({"__metadata__": {"request": "," * (1 << 19)}})
    assert send(server, "/score", many).json["error_type"] == "TooManyValues"
    wrong = server.ask("POST", "/score", b"{}", Content_Type="application/octet-stream")
    assert wrong.status == 415 and "application/x-safetensors" in wrong.json["error"]


@asynccontextmanager
async def inside(scorer: LibreHPS) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(scorer, Limits(), Access())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """The body with bytes changed, lost, added or moved, most of them in the header."""
    body = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 3, 20))):
        at = rng.randrange(min(len(body), rng.choice((16, 400, len(body)))))
        action = rng.randrange(5)
        if action == 0:
            body[at] = rng.randrange(256)
        elif action == 1:
            body[at] ^= 1 << rng.randrange(8)
        elif action == 2:
            del body[at : at + rng.randrange(1, 40)]
        elif action == 3:
            body[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            body[at : at + 3] = rng.choice((b"999", b"-1,", b'"":', b"[[[", b"0.5", b"]}}"))
        if not body:
            break
    return bytes(body)


def test_damaged_bodies_are_refused_or_scored(tiny: LibreHPS) -> None:
    rng = random.Random(0)
    items = [{"prompt": "x", "tensor": name} for name in ("raw", "file")]
    file = np.frombuffer(png(), np.uint8)
    whole = body_of({"items": items}, raw=pixels(0, 32, 32), file=file)
    bodies = [damaged(whole, rng) for _ in range(600)]
    taken = [body for body in bodies if is_taken(body)]

    async def main() -> set[int]:
        async with inside(tiny) as client:
            answers = [await client.post("/score", content=body, headers=BINARY) for body in bodies]
            return {answer.status_code for answer in answers}

    assert asyncio.run(main()) <= {200, 413, 422}
    assert 0 < len(taken) < len(bodies)


def is_taken(body: bytes) -> bool:
    try:
        read_tensors(body)
    except InvalidTensorsError:
        return False
    return True
