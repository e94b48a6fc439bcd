"""Manifests as people have them: folders and globs, Hugging Face Parquet, Windows, stable ids."""

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_tars import write as write_tar

from conftest import Cli
from librehps import Item, score_to
from librehps.errors import MediaError, MediaNotFoundError, PreferenceError, UsageError
from librehps.items.passed_over import PassedOver
from librehps.items.rows import ColumnOptions
from librehps.items.source import Source, SourceOptions
from librehps.media.archived import stored_from
from librehps.media.media import Media
from librehps.preferences.read import read_unjudged
from librehps.scores.shards import in_shard
from make_media import picture


def items_of(*paths: Path | str, media: str | None = None, **options: object) -> list[Item]:
    columns = ColumnOptions(media=media)
    return list(Source([str(p) for p in paths], SourceOptions(columns, **options)).items())  # type: ignore[arg-type]


def ids_of(*paths: Path | str, **options: object) -> list[str]:
    return [item.id for item in items_of(*paths, **options)]


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_parquet(file: Path, images: list, kind: pa.DataType = IMAGE, name: str = "image") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"t{n}" for n in range(len(images))]
    pq.write_table(pa.table({name: pa.array(images, kind), "text": texts}), file)
    return file


def image(content: bytes | None, path: str | None) -> dict:
    return {"bytes": content, "path": path}


@pytest.mark.parametrize("path", ["image.jpg", None])
def test_parquet_images_with_equal_or_no_paths_are_told_apart(
    tmp_path: Path, path: str | None
) -> None:
    file = write_parquet(tmp_path / "x.parquet", [image(b"0", path), image(b"1", path)])
    items = items_of(file)
    assert [item.id for item in items] == ["x.parquet/0", "x.parquet/1"]
    assert [Media(item.media).data for item in items] == [b"0", b"1"]
    assert len({str(item.media) for item in items}) == 2
    assert items[0].kind == (path and "image")
    assert [stored_from(item.media.record()) for item in items] == [i.media for i in items]


def test_equal_paths_in_two_parquet_files(tmp_path: Path) -> None:
    """Files of one name in two folders get the folder; paths that are distinct stay ids."""
    same = [image(b"0", "0.png"), image(b"1", "1.png")]
    write_parquet(tmp_path / "a/x.parquet", same)
    write_parquet(tmp_path / "b/x.parquet", same[:1])
    write_parquet(tmp_path / "c/y.parquet", [image(b"2", "2.png"), image(b"3", None)])
    expected = ["a/x.parquet/0", "a/x.parquet/1", "b/x.parquet/0", "2.png", "c/y.parquet/1"]
    assert ids_of(tmp_path / "**/*.parquet") == expected
    assert ids_of(tmp_path) == expected
    assert ids_of(*sorted(tmp_path.rglob("*.parquet"))) == expected
    assert ids_of(tmp_path / "a") == ["0.png", "1.png"]


def test_a_parquet_file_that_is_replaced_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contents() -> list[bytes]:
        return [Media(item.media).data for item in items_of("x.parquet")]

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        for name in "01":
            write_parquet(Path("x.parquet"), [image(f"{folder}{name}".encode(), "0.png")])
            os.utime("x.parquet", ns=(int(name), int(name)))
            assert contents() == [f"{folder}{name}".encode()]
    write_parquet(Path("x.parquet"), [image(b"0", "0.png"), image(b"1", "1.png")])
    assert contents() == [b"0", b"1"]


def test_parquet_paths_without_bytes_are_files(tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    paths = [image(None, "a.png"), image(None, "sub\\b.png")]
    items = items_of(write_parquet(tmp_path / "x.parquet", paths))
    assert [(item.id, item.media) for item in items] == [
        ("a.png", tmp_path / "a.png"), ("sub/b.png", tmp_path / "sub/b.png"),
    ]  # fmt: skip
    mixed = [*paths, image(b"C", "c.png"), image(None, None), image(None, "gone.png")]
    *found, empty, gone = items_of(write_parquet(tmp_path / "y.parquet", mixed))
    assert [Media(item.media).data for item in found] == [b"a.png", b"sub/b.png", b"C"]
    for item, words in [(empty, "neither bytes nor a path"), (gone, "gone.png does not exist")]:
        with pytest.raises(MediaNotFoundError, match=words):
            Media(item.media).data  # noqa: B018
    [moved] = items_of(
        write_parquet(tmp_path / "m/x.parquet", [image(None, "a.png")]), root=str(tmp_path)
    )
    assert (moved.id, moved.media) == ("a.png", tmp_path / "a.png")


@pytest.mark.parametrize(
    "kind", [pa.list_(IMAGE), pa.large_list(pa.large_binary()), pa.list_(pa.binary(), 2)]
)
def test_an_image_of_a_list_by_its_index(tmp_path: Path, kind: pa.DataType) -> None:
    is_struct = kind == pa.list_(IMAGE)
    cells = [[image(b"A", "a.png"), image(b"B", "b.png")] if is_struct else [b"A", b"B"]] * 2
    file = write_parquet(tmp_path / "x.parquet", cells, kind, "images")
    items = items_of(file, media="images[1]")
    assert [(i.id, Media(i.media).data, i.prompt) for i in items] == [
        ("x.parquet/0", b"B", "t0"), ("x.parquet/1", b"B", "t1"),
    ]  # fmt: skip
    with pytest.raises(MediaNotFoundError, match="no entry 2"):
        Media(items_of(file, media="images[2]")[0].media).data  # noqa: B018
    with pytest.raises(UsageError, match="holds lists") as raised:
        items_of(file, media="images")
    assert "'images[0]'" in (raised.value.hint or "")
    with pytest.raises(UsageError, match="columns with bytes: images") as raised:
        items_of(file)
    assert "--media-column images" in (raised.value.hint or "")
    with pytest.raises(UsageError, match="'text' holds no lists"):
        items_of(file, media="text[0]")


def test_paths_in_json_lists(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text('{"images": ["a.png", "b.png"]}\n{"images": ["c.png"]}\n{"images": "d"}')
    one, *others = items_of(file, media="images[1]")
    assert (one.id, one.problem) == ("b.png", None)
    assert all("no path at index 1" in str(item.problem) for item in others)
    assert [item.id for item in others] == ["m.jsonl, line 2", "m.jsonl, line 3"]
    assert "expected one entry" in str(items_of(file, media="images")[0].problem)


@pytest.mark.parametrize(
    "kind",
    [pa.large_binary(), pa.binary_view(), pa.binary(1), pa.dictionary(pa.int32(), pa.binary())],
)
def test_every_type_of_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array(["t0", "t1"]).dictionary_encode()
    names = pa.array(["i0", "i1"], pa.string_view())
    thumbs = pa.array([[b"x"], [b"y"]])
    image = pa.array([b"0", b"1"], pa.binary()).cast(kind)
    table = pa.table({"image": image, "text": texts, "id": names, "thumbs": thumbs})
    pq.write_table(table, tmp_path / "x.parquet")
    source = Source([str(tmp_path / "x.parquet")], SourceOptions())
    items = list(source.items())
    assert [(i.id, Media(i.media).data, i.prompt, i.extra) for i in items] == [
        ("i0", b"0", "t0", {}), ("i1", b"1", "t1", {}),
    ]  # fmt: skip
    assert source.facts()["dropped"] == ["thumbs"]


def write_csv(file: Path, *paths: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("image,prompt\n" + "".join(f"{path},x\n" for path in paths))
    return file


def test_windows_paths(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"A")
    (tmp_path / "b\\c.png").write_bytes(b"literal")
    file = write_csv(tmp_path / "m.csv", "images\\a.png", "b\\c.png", "no\\file.png",
                     "C:\\data\\a.png", "\\\\server\\share\\b.png")  # fmt: skip
    found, literal, gone, *drives = items_of(file)
    assert (found.id, found.media) == ("images/a.png", tmp_path / "images/a.png")
    assert Media(literal.media).data == b"literal"
    with pytest.raises(MediaNotFoundError, match=r"no/file\.png does not exist"):
        Media(gone.media).data  # noqa: B018
    for item in drives:
        assert type(item.problem) is MediaNotFoundError
        assert "path of a Windows drive" in str(item.problem)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("prompt,media_a,media_b\nx,images\\a.png,images\\a.png\n")
    assert read_unjudged(pairs)[0].media_a == tmp_path / "images/a.png"
    pairs.write_text("prompt,media_a,media_b\nx,images\\a.png,D:/b.png\n")
    with pytest.raises(PreferenceError, match="path of a Windows drive"):
        read_unjudged(pairs)


def test_zero_bytes_in_a_prompt_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"image": "a.png", "prompt": "a\\u0000c"}')
    [item] = items_of(tmp_path / "m.jsonl")
    assert "line 1: zero bytes in the prompt" in str(item.problem)


def test_folders_and_globs_of_manifests(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    for name in ("2.csv", "10.csv", "sub/1.csv"):
        write_csv(shards / name, f"{name}.png")
    (shards / "empty.csv").write_text("image,prompt\n")
    (shards / "README.md").write_text("x")
    (shards / "_SUCCESS.json").write_text("[]")
    (shards / "one.json").write_text('{"prompt": "no manifest"}')
    expected = ["10.csv.png", "2.csv.png", "sub/sub/1.csv.png"]
    source = Source([str(shards)], SourceOptions())
    assert [item.id for item in source.items()] == expected
    assert source.skipped == 4
    assert ids_of(shards / "**/*.csv") == expected
    assert ids_of(shards / "*.csv") == expected[:2]
    assert ids_of(shards / "10.csv", shards / "2.csv") == expected[:2]
    assert ids_of(shards / "{2,10}.csv") == expected[1::-1]
    assert items_of(shards)[2].media == str(shards / "sub/sub/1.csv.png")
    for pattern in ("*.parquet", "**/no*.tar", "*.png"):
        with pytest.raises(UsageError, match=r"no file matches .*shards/") as raised:
            items_of(shards / pattern, shards / "2.csv")
        assert pattern in str(raised.value)
    with pytest.raises(UsageError, match=r"no such file or folder: .*gone/\*\.csv"):
        items_of(tmp_path / "gone/*.csv")


def test_manifests_of_one_name_begin_ids_with_their_folders(tmp_path: Path) -> None:
    files = [write_csv(tmp_path / f"runs/{name}/m.csv", "0.png", "/abs/" + name) for name in "ab"]
    expected = ["a/0.png", "/abs/a", "b/0.png", "/abs/b"]
    assert ids_of(*files) == ids_of(tmp_path / "runs/*/m.csv") == expected
    assert ids_of(tmp_path / "runs") == expected
    assert ids_of(files[1]) == ["0.png", "/abs/b"]


def test_one_folder_is_read_as_one_kind(tmp_path: Path) -> None:
    """Media before tars before tables; what is left out is counted."""
    write_csv(tmp_path / "a.csv", "x.png")
    assert ids_of(tmp_path) == ["x.png"]
    write_tar(tmp_path / "1.tar", [("t.png", b"x")])
    source = Source([str(tmp_path)], SourceOptions())
    assert [item.id for item in source.items()] == ["1.tar/t.png"]
    assert source.skipped == 1
    assert ids_of(tmp_path / "*.tar") == ids_of(tmp_path / "*") == ["1.tar/t.png"]
    (tmp_path / "z").mkdir()
    (tmp_path / "z/p.png").write_bytes(b"x")
    source = Source([str(tmp_path)], SourceOptions())
    assert [item.id for item in source.items()] == ["z/p.png"]
    assert source.skipped == 2
    assert ids_of(tmp_path / "*") == ["1.tar/t.png"]


def test_ids_and_shards_do_not_depend_on_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute and relative rows of a manifest in two folders, reached in many ways."""
    data = tmp_path / "data"
    rows = [f"a/{n}.png" for n in range(4)] + [f"../other/{n}.png" for n in range(4)]
    absolute = [str(data / "abs" / f"{n}.png") for n in range(4)]
    file = write_csv(data / "m.csv", *rows, *absolute, "")
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "x/y").mkdir(parents=True)
    ways = [
        (data, ["m.csv"]), (data, ["."]), (data / "..", ["data/m.csv"]), (tmp_path, [file]),
        (tmp_path / "x/y", ["../../data/m.csv"]), (tmp_path, ["link/m.csv"]), (tmp_path, ["data"]),
    ]  # fmt: skip
    for cwd, paths in ways:
        monkeypatch.chdir(cwd)
        assert ids_of(*paths) == [*rows, *absolute, "m.csv, line 14"]
    monkeypatch.chdir(tmp_path / "x")
    assert ids_of("../d*/m.csv") == ids_of(tmp_path / "d*/m.csv")
    folders = [data, tmp_path, tmp_path / "x/y"]
    given: Counter[str] = Counter()
    for shard, folder in enumerate(folders, 1):
        monkeypatch.chdir(folder)
        path = "m.csv" if folder == data else file
        given.update(ids_of(path, shard=(shard, 3)))
    assert set(given.values()) == {1}
    assert len(given) == 13
    assert all(in_shard(id_, 1, 3) for id_ in ids_of(file, shard=(1, 3)))
    monkeypatch.chdir(tmp_path)
    assert ids_of(file, root="data") == ids_of(file, root=str(data))


def test_three_shards_from_three_folders_hold_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny
) -> None:
    data, scores = tmp_path / "data", tmp_path / "scores"
    scores.mkdir()
    for folder in (data / "a", tmp_path / "b"):
        folder.mkdir(parents=True)
        for n in range(3):
            picture(32, 32, seed=n).save(folder / f"{n}.png")
    rows = [f"a/{n}.png" for n in range(3)] + [str(tmp_path / "b" / f"{n}.png") for n in range(3)]
    file = write_csv(data / "m.csv", *rows)
    for shard, folder in enumerate((data, tmp_path, tmp_path / "b"), 1):
        monkeypatch.chdir(folder)
        score_to(file, scores / f"{shard}.jsonl", model=tiny, shard=f"{shard}/3")
    lines = [line for part in sorted(scores.glob("*.jsonl")) for line in part.open()]
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(rows)


def test_a_glob_on_the_command_line(tmp_path: Path, cli: Cli) -> None:
    """Score Parquet shards by a quoted pattern, then read the scored parts by one."""
    picture(48, 48).save(tmp_path / "p.png")
    content = (tmp_path / "p.png").read_bytes()
    for n in range(2):
        write_parquet(tmp_path / f"in/{n}.parquet", [image(content, "image.png")])
    output = tmp_path / "out.jsonl"
    done = cli("score", tmp_path / "in/*.parquet", "--model", "tiny", "-o", output)
    assert done.returncode == 0, done.stderr
    done = cli("filter", tmp_path / "out*.jsonl", "--ok-only", "--json")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [
        "0.parquet/0", "1.parquet/0"]  # fmt: skip
    done = cli("score", tmp_path / "in/*.tar", "--model", "tiny", "-o", tmp_path / "y.jsonl")
    assert done.returncode == 2
    assert "in/*.tar" in done.stderr


def test_a_missing_media_column_of_a_row_is_one_error(tmp_path: Path) -> None:
    [item] = items_of(write_csv(tmp_path / "m.csv", ""))
    assert isinstance(item.problem, MediaError)
    assert "has no media path" in str(item.problem)


def test_rows_without_a_path_of_two_manifests_are_two_rows(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.csv").write_text(f"image,text\n{name}.png,x\n,y\n")
    named = [tmp_path / "a" / "m.csv", tmp_path / "b" / "m.csv"]
    for paths in ([tmp_path], named):
        rows = [i.id for i in items_of(*paths, root=str(tmp_path)) if i.problem]
        assert rows == ["a/m.csv, line 3", "b/m.csv, line 3"]


def test_folders_of_manifests_of_one_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.csv").write_text("image,text\n0.png,x\n")
    expected = ["a/0.png", "b/0.png"]
    assert ids_of(tmp_path) == ids_of(tmp_path / "a", tmp_path / "b") == expected


def test_media_of_equal_paths_are_told_apart_beside_an_id_column(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    images = pa.array([image(b"0", "image.jpg"), image(b"1", "image.jpg")], IMAGE)
    pq.write_table(pa.table({"image": images, "text": ["a", "b"], "id": ["p", "q"]}), file)
    items = items_of(file)
    assert [item.id for item in items] == ["p", "q"]
    assert len({str(item.media) for item in items}) == 2


def test_a_pattern_looks_no_deeper_than_it_reaches(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".hidden").mkdir(parents=True)
    (tmp_path / "deep" / "x.csv").write_text("image\n")
    (tmp_path / "a.png").write_bytes(b"A")
    source = Source([str(tmp_path / "*.png")], SourceOptions())
    assert [item.id for item in source.items()] == ["a.png"]
    assert source.passed_over.record() == PassedOver().record()
    everywhere = Source([str(tmp_path / "**" / "*.png")], SourceOptions())
    assert [item.id for item in everywhere.items()] == ["a.png"]
    assert (everywhere.skipped, everywhere.passed_over.hidden_folders) == (1, 1)
