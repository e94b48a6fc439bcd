"""Media that a server does not score: too many pixels, no file, another file than was checked."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from librehps.errors import MediaRefusedError
from librehps.media.media import Media as StoredMedia
from librehps.serve import media
from librehps.serve.schemas import Media
from make_media import clip, picture, png
from serve_client import Server, file_b64


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    picture().save(root / "in.png")
    png(root / "large.png", 13_000, 13_000)
    clip(root / "large.mp4", width=400, height=304)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as link:
        link.bind(str(root / "socket"))
    (root / "sub").mkdir()
    (root / "big.mp4").write_bytes(b"x" * 5_000_000)
    (root / "empty.png").touch()
    (root / "torn.png").write_bytes((root / "in.png").read_bytes()[:200])
    (root / "torn.mp4").write_bytes((root / "large.mp4").read_bytes()[:900])
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    running = Server.start("--media-root", root, "--max-body-mb", "4", "--max-megapixels", "0.1")
    yield running
    assert running.stop() == 0


def scored(server: Server, **place: str) -> dict[str, Any]:
    return server.post("/score", {"items": [{"prompt": "x", **place}]}).json["items"][0]


@pytest.mark.parametrize(("name", "size"), [
    ("large.png", "too many pixels (13000 x 13000"),
    ("large.mp4", "too many pixels (400 x 304"),
])  # fmt: skip
def test_more_pixels_than_are_allowed(server: Server, root: Path, name: str, size: str) -> None:
    before = server.memory()
    field = "image_b64" if name.endswith(".png") else "video_b64"
    limit = "at most 100000: the server's --max-megapixels)"
    for called, place in ((name, {"path": name}), (field, {field: file_b64(root / name)})):
        item = scored(server, **place)
        assert item["error_type"] == "DecompressionBombError"
        assert item["error"] == f"{called}: {size}; {limit}"
    assert server.memory() - before < 100e6
    assert "Warning" not in "".join(server.said)
    assert scored(server, path="in.png")["status"] == "ok"


@pytest.mark.parametrize(("path", "said"), [
    ("pipe", "pipe: not a regular file"), ("socket", "socket: not a regular file"),
    ("sub", "sub: is a folder"), ("", "'': is a folder"), ("absent.png", "not found"),
    ("in.png/x", "in.png/x: path not allowed"),
    ("big.mp4", "big.mp4: file too large (at most 4194304 bytes"),
    ("empty.png", "empty.png: empty file"),
    ("torn.png", "torn.png is damaged"), ("torn.mp4", "torn.mp4"), ("y" * 3_000_000, "y…"),
])  # fmt: skip
def test_what_lies_in_the_root_and_is_no_picture(
    server: Server, root: Path, path: str, said: str
) -> None:
    error = scored(server, path=path)["error"]
    assert said in error and len(error) < 300 and str(root) not in error


@pytest.mark.parametrize("swapped", ["sub", "sub/in.png"])
def test_a_link_in_place_of_what_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "sub", outside / "sub"):
        folder.mkdir(parents=True)
        (folder / "in.png").write_bytes(folder.parent.name.encode())
    resolved = media._resolved

    def swap_after(*arguments: Any) -> Path | None:
        place = resolved(*arguments)
        (root / swapped).rename(root / "old")
        (root / swapped).symlink_to(outside / swapped)
        return place

    monkeypatch.setattr(media, "_resolved", swap_after)
    wanted = media.MediaAccess((root,), None, 1000).pending("a", Media(path="sub/in.png"), "x")
    with pytest.raises(MediaRefusedError, match="path not allowed"):
        StoredMedia(wanted.load().media).data  # noqa: B018 - read at once
