"""Folders, files, tars, URLs and stdin become items, and items get their prompts."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from librehps import Item
from librehps.errors import BrokenMediaError, EmptyPromptError, MediaError, PromptError, UsageError
from librehps.items.files import file_item
from librehps.items.prompts import PromptFinder, find_prompts
from librehps.items.rows import ColumnOptions
from librehps.items.source import Source, SourceOptions
from librehps.items.stdin import Stdin
from librehps.items.tars import expand_braces
from librehps.media.archived import Remote, TarMember
from librehps.media.media import Media
from source_items import items_of


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    names = ["b/2.png", "b/1.JPG", "a/x.mp4", "a/notes.txt", "top.webp", ".hidden.png",
             ".cache/y.png"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_folders_are_searched_in_order(tree: Path) -> None:
    source = Source([str(tree)], SourceOptions())
    items = list(source.items())
    assert [item.id for item in items] == ["top.webp", "a/x.mp4", "b/1.JPG", "b/2.png"]
    assert [item.kind for item in items] == ["image", "video", "image", "image"]
    # The notes and the hidden picture.
    assert source.skipped == 2


def test_ids_are_below_what_the_paths_share(tree: Path) -> None:
    ids = [item.id for item in items_of(tree / "b", tree / "a")]
    assert ids == ["b/1.JPG", "b/2.png", "a/x.mp4"]
    assert [i.id for i in items_of(tree / "b" / "2.png")] == ["2.png"]
    two = items_of(tree / "b" / "2.png", tree / "b" / "1.JPG")
    assert [item.id for item in two] == ["2.png", "1.JPG"]


def test_relative_paths(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "b")
    items = items_of(".", "../a")
    assert [item.id for item in items] == ["b/1.JPG", "b/2.png", "a/x.mp4"]
    assert items[0].media == "1.JPG"


@pytest.mark.parametrize(
    ("pattern", "ids"),
    [
        ("b/*.png", ["2.png"]),
        ("*/*.[Jm]*", ["a/x.mp4", "b/1.JPG"]),
        ("**/*.png", ["b/2.png"]),
        ("**/x.mp4", ["a/x.mp4"]),
        ("**", ["top.webp", "a/x.mp4", "b/1.JPG", "b/2.png"]),
    ],
)
def test_globs(tree: Path, pattern: str, ids: list[str]) -> None:
    assert [item.id for item in items_of(tree / pattern)] == ids


def test_globs_below_a_folder_with_brackets(tree: Path) -> None:
    for name in ("r[1]", "r1"):
        (tree / name).mkdir()
        (tree / name / f"{name[1]}.png").write_bytes(b"x")
    assert [item.id for item in items_of(tree / "r[1]" / "*.png")] == ["[.png"]


def test_a_loop_of_links_ends(tree: Path) -> None:
    (tree / "a" / "loop").symlink_to(tree)
    assert len(items_of(tree)) == 4


def test_a_named_file_is_taken_whatever_its_suffix(tree: Path) -> None:
    (tree / "odd").write_bytes(b"\x00\x00\x00\x18ftypmp42")
    assert items_of(tree / "odd")[0].kind == "video"
    assert items_of(tree / "a" / "notes.txt")[0].kind == "image"


def test_names_that_are_no_text(tree: Path) -> None:
    name = os.fsdecode(b"\xff\n.png")
    (tree / "b" / name).write_bytes(b"x")
    assert "%FF\n.png" in [item.id for item in items_of(tree / "b")]


def test_what_is_missing_or_named_twice(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file or folder: .*gone, .*none"):
        items_of(tree / "gone", tree, tree / "none")
    with pytest.raises(UsageError, match="given twice"):
        items_of(tree, tree / "b" / "2.png")
    with pytest.raises(UsageError, match="no such file"):
        items_of(tree / "gone.csv")
    with pytest.raises(UsageError, match="is a folder"):
        file_item(tree)


def test_nothing_to_score(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match=r"skipped 1 file: 1 \.txt") as raised:
        items_of(tmp_path)
    assert ".webp" in (raised.value.hint or "")


def write_tar(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_shards(tmp_path: Path) -> None:
    caption = json.dumps({"caption": "from json", "mine": "other"}).encode()
    write_tar(tmp_path / "00.tar", {"a.jpg": b"AA", "a.txt": b"a cat\n", "b.png": b"BBB",
                                    "b.json": caption, "b.cls": b"1"})  # fmt: skip
    write_tar(tmp_path / "01.tar", {"x/c.mp4": b"C", "x/d.webp": b"D", "x/d.txt": b"\xff"})
    source = Source([str(tmp_path / "{00..01}.tar")], SourceOptions())
    items = list(source.items())
    assert [i.id for i in items] == ["00.tar/a.jpg", "00.tar/b.png", "01.tar/x/c.mp4",
                                     "01.tar/x/d.webp"]  # fmt: skip
    assert [i.prompt for i in items] == ["a cat", "from json", None, None]
    assert isinstance(items[3].problem, PromptError)
    assert [Media(i.media).data for i in items] == [b"AA", b"BBB", b"C", b"D"]
    assert source.skipped == 1
    named = items_of(tmp_path / "00.tar", columns=ColumnOptions(prompt="mine"))
    assert [i.prompt for i in named] == [None, "other"]
    assert isinstance(items[0].media, TarMember)
    write_tar(tmp_path / "02.tar", {"cfg7.5.png": b"P", "cfg7.5.txt": b"five", "cfg7.9.png": b"Q",
                                    "cfg7.9.txt": b"nine", "cfg7.x.png": b"R"})  # fmt: skip
    five, nine, none = items_of(tmp_path / "02.tar")
    assert (five.prompt, nine.prompt, none.prompt) == ("five", "nine", None)
    assert "2 .txt files" in str(none.problem)
    whole = (tmp_path / "00.tar").read_bytes()
    for damaged, words in [
        (whole[:1024], "cut short"),
        (whole[:1030] + b"x" + whole[1031:], "damaged at byte 1024"),
    ]:
        (tmp_path / "cut.tar").write_bytes(damaged)
        *_, last = items_of(tmp_path / "cut.tar")
        assert (last.id, type(last.problem)) == ("cut.tar", BrokenMediaError)
        assert words in str(last.problem)
    (tmp_path / "bad.tar").write_bytes(b"\x1f\x8b" + b"x" * 2000)
    with pytest.raises(UsageError, match="a compressed tar is not read"):
        items_of(tmp_path / "bad.tar")


def test_tars_of_one_name_keep_apart(tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
        write_tar(tmp_path / part / "00.tar", {"a.png": b"x", "a.txt": b"a cat"})
    ids = [i.id for i in items_of(tmp_path / "{train,val}" / "00.tar")]
    assert ids == ["train/00.tar/a.png", "val/00.tar/a.png"]
    assert [i.id for i in items_of(tmp_path / "val" / "00.tar")] == ["00.tar/a.png"]


def test_braces() -> None:
    assert expand_braces("a-{08..10}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert expand_braces("{a,b}{0..1}") == ["a0", "a1", "b0", "b1"]
    assert expand_braces("{11..09}") == ["11", "10", "09"]


def stdin(content: bytes, null: bool = False) -> Stdin:
    return Stdin(io.BytesIO(content), null, ColumnOptions(), None, False, frozenset())


def test_standard_input() -> None:
    lines = stdin(b"./a.png\nb c.jpg\r\n\n")
    assert [(i.id, i.media) for i in lines] == [
        ("a.png", Path("a.png")),
        ("b c.jpg", Path("b c.jpg")),
    ]
    assert not lines.has_prompts
    pieces = list(stdin(b"a\nb.png\0\xff.png\0" + b"x" * 70_000 + b"\0", null=True))
    assert [i.id for i in pieces] == ["a\nb.png", "%FF.png", "x" * 70_000]
    rows = stdin(b'{"image": "a.png", "prompt": "x", "seed": 3}\n{"image": "b.png"}\n')
    assert rows.has_prompts
    assert [(i.id, i.prompt, i.extra) for i in rows] == [
        ("a.png", "x", {"seed": 3}), ("b.png", None, {"seed": None}),
    ]  # fmt: skip
    assert list(stdin(b"")) == []
    assert [i.id for i in stdin(b'\n\n{"image": "a.png"}\n\n')] == ["a.png"]
    # As PowerShell pipes it.
    [marked] = stdin(b'\xef\xbb\xbf{"image": "a.png"}\n')
    assert marked.id == "a.png"


def test_a_bad_line_costs_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def problems(*lines: str) -> list[tuple[str, str]]:
        stream = io.TextIOWrapper(io.BytesIO("\n".join(lines).encode()))
        monkeypatch.setattr("sys.stdin", stream)
        [found] = Source(["-"], SourceOptions()).item_columns()
        stream.seek(0)
        items = list(Source(["-"], SourceOptions()).items())
        assert [item.id for item in items] == found.ids
        assert {at: str(i.problem) for at, i in enumerate(items) if i.problem} == {
            at: str(problem) for at, problem in found.problems.items()
        }
        return [(item.id, str(item.problem or "")) for item in items]

    found = problems("a.png", "b.png", "./a.png", "a.png#2", "a.png", "s3://b/c.png")
    assert [name for name, _ in found] == [
        "a.png", "b.png", "a.png#2", "a.png#2#2", "a.png#3", "s3://b/c.png",
    ]  # fmt: skip
    words = ["", "", "duplicate id 'a.png'", "duplicate id 'a.png#2'", "duplicate id 'a.png'",
             "need --allow-remote"]  # fmt: skip
    assert all(word in problem for word, (_, problem) in zip(words, found, strict=True))
    row = '{"image": "a.png", "prompt": "x"'
    found = problems(f"{row}}}", "{", "[1]", f'{row}, "status": 1, "id": "s"}}', f"{row}}}")
    assert [name for name, _ in found] == [
        "a.png", "standard input, line 2", "standard input, line 3", "s", "a.png#2",
    ]  # fmt: skip
    words = ["", "line 2: invalid JSON", "line 3: expected a JSON object", "--rename status="]
    assert all(word in problem for word, (_, problem) in zip(words, found, strict=False))


def test_urls(tmp_path: Path) -> None:
    """Through fsspec's driver of local files, the one that needs no network."""
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "a.jpg", "sub/c.mp4", "notes.md"):
        (tmp_path / name).write_bytes(name.encode())
    url = tmp_path.as_uri()
    items = items_of(url)
    assert [i.id for i in items] == ["a.jpg", "b.png", "sub/c.mp4"]
    assert [Media(i.media).data for i in items] == [b"a.jpg", b"b.png", b"sub/c.mp4"]
    assert [i.id for i in items_of(f"{url}/b.png")] == ["b.png"]
    with pytest.raises(UsageError, match="no such file or folder"):
        items_of(f"{url}/gone")
    with pytest.raises(UsageError, match="nosuch"):
        items_of("nosuch://bucket/a.png")
    with pytest.raises(MediaError, match="does not exist"):
        Remote(f"{url}/gone.png").read()


def found(finder: PromptFinder, path: Path, prompt: str | None = None) -> Item:
    return finder(Item(str(path), path, prompt), Media(path))


def test_one_prompt_for_all(tmp_path: Path) -> None:
    finder = find_prompts("a cat", None, has_prompts=True)
    assert found(finder, tmp_path / "a", "its own").prompt == "a cat"


def test_sidecars(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffa 猫\n".encode())
    (tmp_path / "c.txt").write_text(" \n")
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "e.json").write_text('{"seed": 1, "prompt": "from json"}')
    (tmp_path / "f.json").write_text("{")
    finder = find_prompts(None, "sidecar", has_prompts=False)
    assert found(finder, tmp_path / "a.png").prompt == "a 猫"
    assert found(finder, tmp_path / "e.png").prompt == "from json"
    for name, kind, words in [("b", PromptError, "b.txt or"), ("c", EmptyPromptError, "empty"),
                              ("d", PromptError, "not valid UTF-16"),
                              ("f", PromptError, "invalid JSON")]:  # fmt: skip
        with pytest.raises(kind, match=words):
            found(finder, tmp_path / f"{name}.png")


def test_auto_takes_column_then_sidecar_then_metadata(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    text = PngInfo()
    text.add_text("parameters", "in the picture\nNegative prompt: x\nSteps: 3")
    Image.new("RGB", (8, 8)).save(file, pnginfo=text)
    finder = find_prompts(None, "auto", has_prompts=False)
    assert found(finder, file).prompt == "in the picture"
    (tmp_path / "a.txt").write_text("beside it")
    assert found(finder, file).prompt == "beside it"
    assert found(finder, file, "in its row").prompt == "in its row"
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    with pytest.raises(PromptError, match="or in the file's metadata"):
        found(finder, tmp_path / "b.png")
    only = find_prompts(None, "metadata", has_prompts=False)
    assert found(only, file, "in its row").prompt == "in the picture"
    column = find_prompts(None, None, has_prompts=True)
    with pytest.raises(PromptError, match="the item's row has no prompt"):
        found(column, file)


def test_folder_names(tmp_path: Path) -> None:
    finder = find_prompts(None, "folder", has_prompts=False)
    item = found(finder, tmp_path / "a_red_cat" / "1.png")
    assert item.prompt == "a red cat"
    assert item.group == str(tmp_path / "a_red_cat")


@pytest.mark.parametrize(
    ("prompt", "origin", "words"),
    [(None, None, "no prompt"), ("", None, "is empty"), ("x", "sidecar", "not both")],
)
def test_usage(prompt: str | None, origin: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find_prompts(prompt, origin, has_prompts=False)  # type: ignore[arg-type]
