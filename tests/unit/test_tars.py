"""Tars as people pack them: by macOS, unsorted, joined, with links, cut short, compressed."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from conftest import Cli
from librehps import Item
from librehps.errors import BrokenMediaError, MediaError, PromptError, UsageError
from librehps.items.source import Source, SourceOptions
from librehps.media.media import Media
from make_media import picture


def items_of(*paths: Path | str) -> list[Item]:
    return list(Source([str(p) for p in paths], SourceOptions()).items())


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", link: str = "", kind=None) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    if link:
        info.type, info.linkname = kind or tarfile.SYMTYPE, link
    tar.addfile(info, io.BytesIO(content))


def write(file: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(file, "w") as tar:
        for name, content in members:
            add(tar, name, content)
    return file


def seen(items: list[Item]) -> list[tuple[str, bytes, str | None]]:
    return [(item.id, Media(item.media).data, item.prompt) for item in items]


def test_what_macos_and_tar_add_is_skipped(tmp_path: Path) -> None:
    file = write(tmp_path / "m.tar", [
        ("./._a.png", b"x"), ("./a.png", b"A"), ("./._a.txt", b"\x05"), ("./a.txt", b"a cat"),
        ("__MACOSX/._a.png", b"x"), ("./PaxHeaders.1/a.png", b"x"), (".DS_Store", b"x"),
    ])  # fmt: skip
    source = Source([str(file)], SourceOptions())
    assert seen(list(source.items())) == [("m.tar/./a.png", b"A", "a cat")]
    assert source.skipped == 5


def test_the_parts_of_a_sample_may_lie_far_apart(tmp_path: Path) -> None:
    names = [f"{n:03}" for n in range(60)]
    texts = [(f"{n}.txt", f"prompt {n}".encode()) for n in names]
    file = write(tmp_path / "t.tar", [*((f"./{n}.png", n.encode()) for n in names), *texts[::-1]])
    assert seen(items_of(file)) == [
        (f"t.tar/./{n}.png", n.encode(), f"prompt {n}") for n in names]  # fmt: skip


def test_joined_tars_are_read_to_the_end(tmp_path: Path) -> None:
    one = write(tmp_path / "1", [("a.png", b"A1"), ("a.txt", b"first")])
    two = write(tmp_path / "2", [("a.png", b"A2"), ("a.txt", b"second"), ("b.png", b"B")])
    joined = tmp_path / "j.tar"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    assert seen(items_of(joined)) == [
        ("j.tar/a.png", b"A1", "first"), ("j.tar/a.png#2", b"A2", "second"),
        ("j.tar/b.png", b"B", None),
    ]  # fmt: skip
    joined.write_bytes(one.read_bytes() + two.read_bytes()[:3000])
    *whole, last = items_of(joined)
    assert [item.prompt for item in whole] == ["first", "second"]
    assert "cut short at byte 13240" in str(last.problem)
    joined.write_bytes(one.read_bytes() + b"no tar" * 200)
    assert "damaged at byte 10240" in str(items_of(joined)[-1].problem)


def test_links(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "l.tar", "w") as tar:
        add(tar, "all/a.png", b"A")
        add(tar, "all/a.txt", b"a cat")
        add(tar, "x/hard.png", link="all/a.png", kind=tarfile.LNKTYPE)
        add(tar, "x/hard.txt", link="../all/a.txt")
        add(tar, "x/later.png", link="../blobs/1")
        add(tar, "x/later.txt", link="/etc/hostname")
        add(tar, "x/out.png", link="../../secret.png")
        add(tar, "x/gone.png", link="nothing.png")
        add(tar, "x/loop.png", link="loop2.png")
        add(tar, "x/loop2.png", link="loop.png")
        add(tar, "blobs/1", b"B")
    a, hard, later, *others = items_of(tmp_path / "l.tar")
    assert seen([a, hard]) == [("l.tar/all/a.png", b"A", "a cat"),
                               ("l.tar/x/hard.png", b"A", "a cat")]  # fmt: skip
    assert (Media(later.media).data, type(later.problem)) == (b"B", PromptError)
    assert "outside the tar: /etc/hostname" in str(later.problem)
    words = ["outside the tar", "not in the tar", "leads to itself", "leads to itself"]
    for item, word in zip(others, words, strict=True):
        assert type(item.problem) is MediaError
        assert word in str(item.problem)


@pytest.mark.parametrize(
    ("end", "prompts"),
    [
        (700, []),  # within the first image
        (1800, [None]),  # within the header of its prompt
        (2050, []),  # within the prompt
        (2700, ["a cat"]),  # within the header of the second image
        (3100, ["a cat"]),  # within the second image
        (5600, ["a cat"]),  # within the long name of the second prompt
        (7600, ["a cat", "a dog"]),  # before the zeros at the end
    ],
)
def test_a_tar_that_is_cut_short(tmp_path: Path, end: int, prompts: list[str | None]) -> None:
    """Whole: image at 512, prompt at 2048; image at 3072, a long name, prompt."""
    file = tmp_path / "t.tar"
    text = "b." + "x" * 120 + ".txt"
    write(file, [("a.png", b"A" * 1000), ("a.txt", b"a cat" + b" " * 10), ("b.png", b"B" * 1000),
                 (text, b"a dog")])  # fmt: skip
    whole = file.read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512 if end == 7600 else end
    file.write_bytes(whole[:end])
    items = items_of(file)
    assert [item.prompt for item in items if item.problem is None] == prompts
    [failed] = [item for item in items if item.problem is not None]
    assert type(failed.problem) is BrokenMediaError
    assert f"t.tar is cut short at byte {end}" in str(failed.problem)


def test_what_is_no_tar_costs_one_row(tmp_path: Path) -> None:
    good = write(tmp_path / "good.tar", [("a.png", b"A")])
    for name, content in [("text.tar", b"x" * 2000), ("zero.tar", b"")]:
        (tmp_path / name).write_bytes(content)
        first, second = items_of(tmp_path / name, good)
        assert (first.id, type(first.problem)) == (name, BrokenMediaError)
        assert second.problem is None


@pytest.mark.parametrize(
    ("name", "magic", "command"),
    [
        ("t.tar.gz", b"\x1f\x8b", "gunzip -k"),
        ("t.tgz", b"\x1f\x8b", "gunzip -k"),
        ("t.tar.zst", b"\x28\xb5\x2f\xfd", "zstd -d"),
        ("t.tar.xz", b"\xfd7zXZ\0", "unxz -k"),
        ("t.tar", b"\x1f\x8b", "t.tar.gz && gunzip -k"),
    ],
)
def test_compressed_tars_are_refused_with_the_command(
    tmp_path: Path, name: str, magic: bytes, command: str
) -> None:
    (tmp_path / name).write_bytes(magic + b"x" * 600)
    with pytest.raises(UsageError, match="a compressed tar is not read") as raised:
        items_of(tmp_path / name)
    assert f"{command} {tmp_path / name}" in (raised.value.hint or "")


def test_texts_in_tars_have_the_encodings_of_files(tmp_path: Path) -> None:
    captions = ["\ufeffa 猫".encode(), "a 猫".encode("utf-16"), "a cat".encode("utf-16-le"),
                b"caf\xe9"]  # fmt: skip
    members = [
        m for n, text in enumerate(captions) for m in ((f"{n}.png", b"x"), (f"{n}.txt", text))
    ]
    members += [("4.png", b"x"), ("4.json", json.dumps({"text": "x"}).encode("utf-16"))]
    one, two, three, four, five = items_of(write(tmp_path / "t.tar", members))
    assert [one.prompt, two.prompt, five.prompt] == ["a 猫", "a 猫", "x"]
    assert "UTF-16LE without a byte order mark" in str(three.problem)
    assert "not valid UTF-8: byte 0xe9" in str(four.problem)


def test_the_samples_before_a_cut_are_scored(tmp_path: Path, cli: Cli) -> None:
    picture(64, 48).save(tmp_path / "p.png")
    image = (tmp_path / "p.png").read_bytes()
    file = write(tmp_path / "t.tar", [("a.png", image), ("a.txt", b"a cat"), ("b.png", image)])
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[: 512 * 5 + len(image) + 500])
    assert file.stat().st_size < size
    done = cli("score", file, "--model", "tiny", "-o", tmp_path / "x.jsonl")
    assert done.returncode == 3, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [(r["id"], r["status"]) for r in rows] == [("t.tar/a.png", "ok"),
                                                      ("t.tar/b.png", "error")]  # fmt: skip
    assert "cut short" in rows[1]["error"]


def test_members_of_any_case_and_name(tmp_path: Path) -> None:
    file = write(tmp_path / "b.tar", [
        ("BZhang.png", b"A"), ("BZhang.TXT", b"a cat"), ("n.png", b"B"),
        ("n.json", b'{"prompt": "a\\u0000b"}'),
    ])  # fmt: skip
    source = Source([str(file)], SourceOptions())
    first, second = source.items()
    assert seen([first]) == [("b.tar/BZhang.png", b"A", "a cat")]
    assert source.skipped == 0
    assert isinstance(second.problem, PromptError)
    assert "n.json: zero bytes in the prompt" in str(second.problem)


def test_fields_of_the_json_are_own_columns(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "f.tar"
    facts = {"caption": "a cat", "seed": 7, "width": 9, "group": "g", "box": [1, {"x": 2}],
             "librehps.index": 1}  # fmt: skip
    long = {"prompt": "a long cat", "notes": "x" * 70_000}
    picture().save(tmp_path / "a.png")
    image = (tmp_path / "a.png").read_bytes()
    write(file, [
        ("a.png", image), ("a.json", json.dumps(facts).encode()),
        ("b.png", image), ("b.txt", b"a dog"),
        ("b.json", json.dumps({**facts, "seed": None, "ok": True}).encode()),
        ("c.png", image), ("c.txt", b"a hen"), ("c.json", b"{broken"),
        ("d.png", image), ("d.json", json.dumps(long).encode()),
    ])  # fmt: skip
    done = cli("score", file, "--model", "tiny", "-o", tmp_path / "x.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    names = ("prompt", "group", "width", "seed", "box", "caption", "ok")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("a cat", "g", 64, 7, '[1, {"x": 2}]', None, None),
        ("a dog", "g", 64, None, '[1, {"x": 2}]', "a cat", True),
        ("a hen", None, 64, None, None, None, None),
        ("a long cat", None, 64, None, None, None, None),
    ]
    assert "notes" not in rows[3]
    assert f"{file}: the fields of 2 .json files are not columns (invalid JSON" in done.stderr
    assert "output columns have their names: width, librehps.index (--rename " in done.stderr
    options = ("--rename", "width=w", "--group-column", "seed", "--prompt-column", "caption")
    done = cli("score", file, "--model", "tiny", *options, "-o", "-")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["prompt"], row.get("w")) for row in rows[:2]] == [("a cat", 9), ("a cat", 9)]
    assert [row["group"] for row in rows[:2]] == ["7", None]
    assert "output columns have their names: group, librehps.index (--rename " in done.stderr
    done = cli("score", file, "--model", "tiny", "--rename", "seed=box", "-o", "-")
    assert done.returncode == 2 and done.stdout == ""
    assert f"{file}::a.png: --rename gives two columns the name 'box'" in done.stderr
