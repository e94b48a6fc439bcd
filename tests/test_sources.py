"""Paths become items, and items get their prompts."""

import os
from pathlib import Path

import pytest

from librehps import Item
from librehps.errors import EmptyPromptError, PromptError, UsageError
from librehps.source.files import file_item, list_media
from librehps.source.prompts import with_prompts


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    names = ["b/2.png", "b/1.JPG", "a/x.mp4", "a/notes.txt", "top.webp", ".hidden.png",
             ".cache/y.png"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_folders_are_searched_in_order(tree: Path) -> None:
    listing = list_media([tree])
    assert [item.id for item in listing.items] == ["top.webp", "a/x.mp4", "b/1.JPG", "b/2.png"]
    assert [item.kind for item in listing.items] == ["image", "video", "image", "image"]
    # The notes and the hidden picture.
    assert listing.skipped == 2


def test_ids_are_below_what_the_paths_share(tree: Path) -> None:
    ids = [item.id for item in list_media([tree / "b", tree / "a"]).items]
    assert ids == ["b/1.JPG", "b/2.png", "a/x.mp4"]
    assert [i.id for i in list_media([tree / "b" / "2.png"]).items] == ["2.png"]
    two = list_media([tree / "b" / "2.png", tree / "b" / "1.JPG"]).items
    assert [item.id for item in two] == ["2.png", "1.JPG"]


def test_relative_paths(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "b")
    listing = list_media([Path(), Path("../a")])
    assert [item.id for item in listing.items] == ["b/1.JPG", "b/2.png", "a/x.mp4"]
    assert listing.items[0].media == Path("1.JPG")


def test_a_loop_of_links_ends(tree: Path) -> None:
    (tree / "a" / "loop").symlink_to(tree)
    assert len(list_media([tree]).items) == 4


def test_a_named_file_is_taken_whatever_its_suffix(tree: Path) -> None:
    (tree / "odd").write_bytes(b"\x00\x00\x00\x18ftypmp42")
    assert list_media([tree / "odd"]).items[0].kind == "video"
    assert list_media([tree / "a" / "notes.txt"]).items[0].kind == "image"


def test_names_that_are_no_text(tree: Path) -> None:
    name = os.fsdecode(b"\xff\n.png")
    (tree / "b" / name).write_bytes(b"x")
    ids = [item.id for item in list_media([tree / "b"]).items]
    assert "%FF\n.png" in ids


def test_what_is_missing_or_named_twice(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file or folder: .*gone, .*none"):
        list_media([tree / "gone", tree, tree / "none"])
    with pytest.raises(UsageError, match="named twice"):
        list_media([tree, tree / "b" / "2.png"])
    with pytest.raises(UsageError, match="is a folder"):
        file_item(tree)


def test_nothing_to_score(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="1 files of other kinds") as raised:
        list_media([tmp_path])
    assert ".webp" in (raised.value.hint or "")


def items(*names: Path) -> list[Item]:
    return [Item(str(name), name, None) for name in names]


def test_one_prompt_for_all(tmp_path: Path) -> None:
    done = with_prompts(items(tmp_path / "a", tmp_path / "b"), "a cat", None)
    assert [item.prompt for item in done] == ["a cat", "a cat"]


def test_sidecars(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffa 猫\n".encode())
    (tmp_path / "c.txt").write_text(" \n")
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe\xff")
    names = [tmp_path / f"{name}.png" for name in "abcd"]
    done = list(with_prompts(items(*names), None, "sidecar"))
    assert done[0].prompt == "a 猫"
    problems = [type(item.problem) for item in done]
    assert problems == [type(None), PromptError, EmptyPromptError, PromptError]
    assert "b.txt does not exist" in str(done[1].problem)


def test_folder_names(tmp_path: Path) -> None:
    [item] = with_prompts(items(tmp_path / "a_red_cat" / "1.png"), None, "folder")
    assert item.prompt == "a red cat"
    assert item.group == str(tmp_path / "a_red_cat")


@pytest.mark.parametrize(
    ("prompt", "origin", "words"),
    [(None, None, "no prompt"), ("", None, "is empty"), ("x", "sidecar", "not both")],
)
def test_usage(prompt: str | None, origin: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        with_prompts([], prompt, origin)  # type: ignore[arg-type]
