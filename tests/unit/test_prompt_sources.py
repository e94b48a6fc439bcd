"""Prompts of items: infotexts and encodings of sidecars, markup, clips and their first frames."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from embedded import NEGATIVE, graph, png, text_to_image
from librehps.errors import EmptyPromptError, PromptError
from librehps.items.prompts import PromptFinder, find_prompts
from librehps.items.rows import ColumnOptions
from librehps.items.tars import Tar
from librehps.media.media import Media
from librehps.types import Item
from paths import EXAMPLES

CLIP = EXAMPLES / "media" / "jumping.mp4"


class NoTags:
    """A reader of a clip without tags."""

    def tags(self, path: Path) -> dict[str, str]:
        return {}


def found(finder: PromptFinder, path: Path, prompt: str | None = None) -> str | None:
    return finder(Item(str(path), path, prompt), Media(path, NoTags())).prompt


def finder(way: str = "auto", **options: bool) -> PromptFinder:
    return find_prompts(None, way, False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        (f"a red cat\n{NEGATIVE}", "a red cat"),
        ("a red cat,\r\non a mat\r\nSteps: 20, Sampler: Euler\r\n", "a red cat,\non a mat"),
        ("a red cat\nNegative prompt: blurry", "a red cat"),
        ("a caption\nSteps: 3 of them lead up", "a caption\nSteps: 3 of them lead up"),
    ],
)
def test_infotexts_in_sidecars(tmp_path: Path, text: str, prompt: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "b.json").write_text(json.dumps({"prompt": text.replace("\r", "")}))
    assert found(finder(), tmp_path / "a.png") == prompt
    assert (found(finder(), tmp_path / "b.png") or "").strip() == prompt


def test_an_infotext_without_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(NEGATIVE)
    with pytest.raises(EmptyPromptError):
        found(finder(), tmp_path / "a.png")


def test_infotexts_in_tars(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (("a.png", png()), ("a.txt", f"a red cat\n{NEGATIVE}".encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    [item] = Tar(tmp_path / "a.tar", "a", ColumnOptions(), frozenset())
    for way in ("auto", "sidecar", "column"):
        assert finder(way)(item, Media(item.media)).prompt == "a red cat"


def test_pipes_beside_media_are_not_opened(tmp_path: Path) -> None:
    """Opening a pipe would block for ever."""
    clip = tmp_path / "x.mp4"
    shutil.copy(CLIP, clip)
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(PromptError, match="not found in the file's metadata"):
        found(finder("metadata"), clip)
    for name in ("y.txt", "z.json"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(PromptError, match=f"{name} is not a regular file"):
            found(finder("sidecar"), (tmp_path / name).with_suffix(".png"))
    (tmp_path / "e.txt").touch()
    with pytest.raises(EmptyPromptError):
        found(finder("sidecar"), tmp_path / "e.png")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_sidecars_in_utf_16(tmp_path: Path, encoding: str) -> None:
    text, name = "a 猫, a red cat", encoding.upper().replace("-16-", "-16")
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    with pytest.raises(PromptError, match=f"a.txt: {name} without a byte order mark.*iconv -f"):
        found(finder(), tmp_path / "a.png")
    (tmp_path / "b.txt").write_bytes(f"\ufeff{text}".encode(encoding))
    assert found(finder(), tmp_path / "b.png") == text


def test_nul_is_in_no_prompt(tmp_path: Path) -> None:
    for way in ("column", "auto"):
        with pytest.raises(PromptError, match="NUL characters"):
            found(finder(way), tmp_path / "a.png", "a\0 \0c\0a\0t\0")
    with pytest.raises(PromptError, match="NUL characters"):
        found(PromptFinder("a\0cat"), tmp_path / "a.png")
    (tmp_path / "b.txt").write_bytes(b"a\0b")
    with pytest.raises(PromptError, match="zero bytes in the text; expected UTF-8"):
        found(finder("sidecar"), tmp_path / "b.png")


def test_markup_is_removed(tmp_path: Path) -> None:
    text = "a (red:1.3) cat, <lora:x:0.8>"
    plain, kept = finder("column"), finder("column", keep_markup=True)
    light = finder("column", strip_weights=True)
    for find, given, prompt, remarks in (
        (plain, text, "a (red:1.3) cat", {"tags"}),
        (plain, "a dog", "a dog", set()),
        (kept, text, text, set()),
        (light, text, "a red cat", {"tags", "weights"}),
        (light, "a ((dog))", "a dog", {"weights"}),
    ):
        content = Media(tmp_path)
        assert find(Item("a", tmp_path, given), content).prompt == prompt
        assert content.remarks == remarks
    with pytest.raises(EmptyPromptError, match="without its markup"):
        found(plain, tmp_path, "<lora:x:0.8>")


def test_the_first_frame_next_to_a_clip(tmp_path: Path) -> None:
    combine = ("VHS_VideoCombine", {"images": ["8", 0], "filename_prefix": "x"})
    clip = tmp_path / "x_00001-audio.mp4"
    shutil.copy(CLIP, clip)
    (tmp_path / "x_00001.png").write_bytes(png(prompt=graph(text_to_image(**{"9": combine}))))
    assert found(finder("metadata"), clip) == "a red cat"
    # A picture that another node saved is another picture.
    (tmp_path / "x_00001.png").write_bytes(png(prompt=graph(text_to_image())))
    with pytest.raises(PromptError, match="not found in the file's metadata"):
        found(finder("metadata"), clip)


def test_format_tells_a_picture_from_a_clip(tmp_path: Path) -> None:
    """A suffix may be wrong, and an animated WebP is a clip with the metadata of a picture."""
    file = tmp_path / "a.mp4"
    file.write_bytes(png(prompt="a red cat"))
    item = Item("a", file, None, "video")
    assert finder("metadata")(item, Media(file)).prompt == "a red cat"
