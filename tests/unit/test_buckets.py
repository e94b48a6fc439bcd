"""A bucket or a web server gives the items that the same files on disk give."""

import csv
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bucket import Bucket, bucket, upload
from librehps import Item
from librehps.errors import MediaError, UsageError
from librehps.items.rows import ColumnOptions
from librehps.items.source import Source, SourceOptions
from librehps.media.media import Media
from librehps.storage import retry
from make_media import picture
from web_server import serving

# A server of its own: 20 s together.
pytestmark = pytest.mark.slow

# Names that a URL may not have as they are, hidden ones, and ones that sort differently as paths.
MEDIA = ["b.png", "top.webp", "a/2.png", "a/1.JPG", "a/x.mp4", "a/deep/er/3.png", "a.b/4.png",
         ".hidden.png", "a/.cache/y.png", "a/.cache/z/y.png", "a/notes.md", "z,comma #1 %20?.png",
         "ü.png", "a/1.txt", "b.json", "b.txt", "top.json", "c.psd", "[x]/5.png"]  # fmt: skip


@cache
def png(seed: int) -> bytes:
    target = io.BytesIO()
    picture(48 + seed % 5, 40, seed=seed).save(target, "PNG")
    return target.getvalue()


def write_media(root: Path) -> None:
    for name in MEDIA:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b'{"prompt": "of json"}' if file.suffix == ".json" else name.encode())


def write_tables(root: Path) -> None:
    """The same rows in each format, some of which have no media."""
    (root / "pics").mkdir(parents=True)
    for n in range(8):
        (root / "pics" / f"{n}.png").write_bytes(png(n))
    names = [f"pics/{n}.png" for n in range(6)]
    odd = ["./pics/6.png", "../media/b.png", "pics\\7.png", "gone.png", None, "a b#?.png"]
    rows = [{"image": n, "prompt": f"picture {n}", "seed": at} for at, n in enumerate(names + odd)]
    (root / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "m.json").write_text(json.dumps(rows))
    (root / "z.jsonl.gz").write_bytes(gzip.compress((root / "m.jsonl").read_bytes()))
    for name, delimiter in (("m.csv", ","), ("m.tsv", "\t")):
        with (root / name).open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            table.writeheader()
            table.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), root / "m.parquet", row_group_size=5)
    inside = [{"image": {"bytes": png(n), "path": f"{n}.png"}, "text": str(n)} for n in range(20)]
    inside[3]["image"] = {"bytes": None, "path": "pics/3.png"}
    (root / "inside").mkdir()
    for part, start in enumerate((0, 10)):
        table = pa.Table.from_pylist(inside[start : start + 10])
        pq.write_table(table, root / "inside" / f"{part}.parquet", row_group_size=4)
    pq.write_table(table.slice(0, 0), root / "inside" / "empty.parquet")
    lists = [{"images": [png(n), png(n + 1)], "prompt": "x", "id": str(n)} for n in range(5)]
    pq.write_table(pa.Table.from_pylist(lists), root / "lists.parquet")
    (root / "bad.csv").write_text('image,prompt\na.png,"x\nb.png,y"\n')
    (root / "empty.csv").write_text("")


def write_tars(root: Path) -> None:
    root.mkdir()
    for shard in range(2):
        with tarfile.open(root / f"{shard:03}.tar", "w") as tar:
            for n in range(6):
                add(tar, f"{n}.png", png(n))
                add(tar, f"{n}.txt" if n else "0.json", b"a tar" if n else b'{"caption": "x"}')
            add(tar, "n.cls", b"1")
    whole = (root / "000.tar").read_bytes()
    (root.parent / "odd").mkdir()
    (root.parent / "odd" / "m.csv").write_bytes((root.parent / "tables" / "m.csv").read_bytes())
    (root.parent / "odd" / "cut.tar").write_bytes(whole[:9000])
    (root.parent / "odd" / "joined.tar").write_bytes(whole * 2)
    (root.parent / "odd" / "packed.tar").write_bytes(gzip.compress(whole))


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_pictures(root: Path) -> None:
    """Three pictures in each kind of source."""
    (root / "a").mkdir(parents=True)
    rows = [{"image": f"a/{n}.png", "prompt": f"picture {n}", "seed": n} for n in range(3)]
    for n in range(3):
        (root / "a" / f"{n}.png").write_bytes(png(n))
        (root / "a" / f"{n}.txt").write_text(f"picture {n}")
    (root / "a" / "bad.png").write_text("no picture")
    (root / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    inside = [{**row, "image": {"bytes": png(at), "path": row["image"]}}
              for at, row in enumerate(rows)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(inside), root / "inside.parquet", row_group_size=2)
    with tarfile.open(root / "0.tar", "w") as tar:
        for n in range(3):
            add(tar, f"{n}.png", png(n))
            add(tar, f"{n}.txt", b"x")


@pytest.fixture(scope="module")
def s3() -> Iterator[Bucket]:
    with bucket() as made:
        yield made


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, s3: Bucket) -> tuple[str, str]:
    """A folder, and the URL of a copy of it in a bucket."""
    root = tmp_path_factory.mktemp("root")
    write_media(root / "media")
    write_tables(root / "tables")
    write_tars(root / "tars")
    write_pictures(root / "pictures")
    upload(root, f"{s3.url}/data")
    return str(root), f"{s3.url}/data"


def read(place: str, paths: list[str], **options: object) -> tuple[list[object], object]:
    """Return each item with its bytes or its error, and the record of files passed over."""
    source = Source([f"{place}/{path}" for path in paths], SourceOptions(**options))  # type: ignore[arg-type]
    items = [(i.id, i.prompt, i.kind, i.group, i.extra, content(i)) for i in source.items()]
    return json.loads(json.dumps([items, source.passed_over.record()]).replace(place, "ROOT"))


def content(item: Item) -> str:
    if item.problem is not None:
        return f"{type(item.problem).__name__}: {item.problem}"
    try:
        return Media(item.media).data.hex()
    except MediaError as error:
        # The path of a web URL is quoted.
        return f"{type(error).__name__}: {unquote(str(error))}"


SOURCES = [
    (["media"], {}),
    (["media"], {"sidecars": True}),
    (["media/a", "media/b.png"], {}),
    (["media/*.png"], {}),
    (["media/**/*.png"], {}),
    (["media/a/*"], {}),
    (["media/a/*/*/?.png"], {}),
    (["media/[ab].png"], {}),
    (["media/[[]x]/*"], {}),
    (["media/[x]"], {}),
    (["media/ü.png"], {}),
    *[([f"tables/m.{suffix}"], {}) for suffix in ("csv", "tsv", "jsonl", "json", "parquet")],
    (["tables/z.jsonl.gz"], {}),
    (["odd/m.csv"], {"root": "ROOT/tables"}),
    (["tables/inside"], {}),
    (["tables/inside/*.parquet"], {}),
    (["tables/inside/{0,1}.parquet"], {"columns": ColumnOptions(prompt="text")}),
    (["tables/lists.parquet"], {"columns": ColumnOptions(media="images[1]")}),
    (["tars"], {}),
    (["tars/{000..001}.tar"], {}),
    (["odd/cut.tar", "tars/001.tar"], {}),
    (["odd/joined.tar"], {"columns": ColumnOptions(prompt="caption")}),
    (
        ["tables/lists.parquet", "tars/000.tar", "media/b.png"],
        {"columns": ColumnOptions(media="images[0]")},
    ),
]


@pytest.mark.parametrize(("paths", "options"), SOURCES)
def test_a_bucket_gives_the_items_of_the_folder(
    places: tuple[str, str], paths: list[str], options: dict
) -> None:
    local, remote = (
        read(root, paths, **{n: v.replace("ROOT", root) if n == "root" else v
                             for n, v in options.items()})
        for root in places
    )  # fmt: skip
    assert remote == local
    assert local[0]


@pytest.mark.parametrize(
    "paths",
    [["gone"], ["gone.csv"], ["gone/*.png"], ["media/*.gif"], ["media/b.png", "media/b.png"],
     ["media", "media/a"], ["tables/bad.csv"], ["tables/empty.csv"], ["odd/packed.tar"],
     ["tables/m.csv", "tables/m.tsv"], ["tars/{7..8}.tar"], ["media/a/deep/er/*.txt"]],
)  # fmt: skip
def test_a_bucket_gives_the_errors_of_the_folder(places: tuple[str, str], paths: list[str]) -> None:
    said = []
    for root in places:
        with pytest.raises(UsageError) as caught:
            read(root, paths)
        said.append(str(caught.value).replace(root, "ROOT"))
    assert said[1] == said[0]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    monkeypatch.setenv("LIBREHPS_READ_TIMEOUT", "0.3")


def test_a_bucket_that_fails_now_and_then(
    places: tuple[str, str], s3: Bucket, at_once: None
) -> None:
    """Each third request is refused or cut short: no item is lost, and none is wrong."""
    paths = ["media/a", "tables/m.parquet", "tables/inside", "tars"]
    expected = [read(places[0], [path], sidecars=True) for path in paths]
    before = s3.requests
    s3.fail = lambda n: (503, "short")[n % 2] if n % 3 == 0 else None
    try:
        assert [read(places[1], [path], sidecars=True) for path in paths] == expected
    finally:
        s3.fail = lambda n: None
    assert s3.requests - before > 60


ROWS = ("score", "--model", "tiny", "--quiet", "-o")


def scored(cli: Callable, root: str, output: Path, *arguments: str) -> list[dict]:
    """Return the rows of a run, without where its media lie."""
    done = cli(*ROWS, output, *(text.replace("ROOT", root) for text in arguments))
    assert done.returncode in (0, 3), done.stderr
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "media"} for row in rows]


@pytest.mark.parametrize(
    "arguments",
    [("ROOT/pictures", "--prompt-from", "sidecar"), ("ROOT/pictures/*/*.png", "--prompt", "x"),
     ("ROOT/pictures", "--prompt-from", "folder"), ("ROOT/pictures/m.jsonl",),
     ("ROOT/pictures/inside.parquet",), ("ROOT/pictures/0.tar",)],
)  # fmt: skip
def test_a_run_on_a_bucket_gives_the_rows_of_the_folder(
    cli: Callable, places: tuple[str, str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    local, remote = (scored(cli, root, tmp_path / f"{at}.jsonl", *arguments)
                     for at, root in enumerate(places))  # fmt: skip
    assert [row["status"] for row in local].count("ok") == 3
    shown = json.dumps(remote).replace(places[1], "ROOT")
    assert shown == json.dumps(local).replace(places[0], "ROOT")


def test_decisions_read_scored_files_in_a_bucket(
    cli: Callable, places: tuple[str, str], tmp_path: Path
) -> None:
    """A file, its JSON Lines, a folder of parts, a pattern, with media at URLs."""
    folder, url = tmp_path / "scored", f"{places[1]}/{tmp_path.name}"
    folder.mkdir()
    source = (f"{places[1]}/pictures", "--prompt-from", "sidecar")
    for name in ("all.parquet", "all.jsonl"):
        assert cli(*ROWS, folder / name, *source).returncode == 3
    table = pq.read_table(folder / "all.parquet")
    for part in range(2):
        (folder / "parts").mkdir(exist_ok=True)
        pq.write_table(table.slice(part * 2, 2), folder / "parts" / f"{part}.parquet")
    upload(folder, url)
    for command in (("filter", "--top", "2"), ("leaderboard", "--by", "group", "--json"),
                    ("best-of-n", "-n", "1", "--json")):  # fmt: skip
        for name in ("all.parquet", "all.jsonl", "parts", "parts/*.parquet"):
            local, remote = (cli(command[0], f"{root}/{name}", *command[1:])
                             for root in (folder, url))  # fmt: skip
            assert (remote.returncode, remote.stdout) == (local.returncode, local.stdout)
            assert remote.stdout.strip() or remote.returncode, remote.stderr


def test_pairs_in_a_bucket(cli: Callable, places: tuple[str, str], tmp_path: Path) -> None:
    pairs = [{"prompt": "x", "media_a": f"a/{n}.png", "media_b": f"../pictures/a/{n + 1}.png",
              "overall": 1} for n in range(2)]  # fmt: skip
    for root in places:
        write(f"{root}/pictures/pairs.jsonl", "".join(json.dumps(row) + "\n" for row in pairs))
        foreign = [{**pairs[0], "media_a": "s3://other/a.png"}]
        write(f"{root}/pictures/foreign.jsonl", json.dumps(foreign[0]))
    for command in (("compare", "ROOT/pairs.jsonl", "--json"),
                    ("evaluate", "ROOT/pairs.jsonl", "--json"),
                    ("compare", "ROOT/a/0.png", "ROOT/a/1.png", "-p", "x", "--json"),
                    ("compare", "ROOT/foreign.jsonl")):  # fmt: skip
        done = [cli(*(text.replace("ROOT", f"{root}/pictures") for text in command), "-m", "tiny")
                for root in places]  # fmt: skip
        said = [one.stdout.replace("../pictures/", "").replace(f"{root}/pictures/", "")
                for one, root in zip(done, places, strict=True)]  # fmt: skip
        assert said[1] == said[0], done[1].stderr
        assert done[0].returncode == done[1].returncode
    assert "s3://other/a.png: expected media in the bucket" in done[1].stderr


def files_of(root: str) -> dict[str, bytes]:
    files = [file for file in Path(root).rglob("*") if file.is_file()]
    return {"/" + quote(str(file.relative_to(root))): file.read_bytes() for file in files}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_web_server_that_fails_now_and_then(
    places: tuple[str, str], at_once: None, ranges: bool
) -> None:
    problems = [503, "drop", "short", "stall body"]

    def fail(path: str, n: int) -> object:
        return problems[(n // 3 + len(path)) % 4] if n % 3 == 0 else None

    with serving(files_of(places[0]), ranges=ranges, fail=fail) as web:
        for name in ("m.csv", "m.parquet", "z.jsonl.gz"):
            path = [f"tables/{name}"]
            assert read(web.url, path) == read(places[0], path)
        for name, options in (("tars/{000..001}.tar", {}), ("tables/inside/{0,1}.parquet", {}),
                              ("odd/cut.tar", {}), ("tables/lists.parquet",
                               {"columns": ColumnOptions(media="images[0]")})):  # fmt: skip
            if ranges:
                assert read(web.url, [name], **options) == read(places[0], [name], **options)
            else:
                with pytest.raises(UsageError, match="the server only sends whole files"):
                    read(web.url, [name], **options)


def test_only_what_is_needed_is_read(tmp_path: Path) -> None:
    """Columns of a Parquet file without its pictures; a tar in large steps, each part once."""
    rows = [{"image": bytes([n]) * 100_000, "prompt": f"{n}", "id": f"{n}"} for n in range(80)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet", row_group_size=10,
                   compression="none")  # fmt: skip
    with tarfile.open(tmp_path / "m.tar", "w") as tar:
        for row in rows:
            add(tar, f"{row['id']}.png", row["image"])
            add(tar, f"{row['id']}.txt", row["prompt"].encode())
    with serving(files_of(str(tmp_path)), latency=0.02) as web:
        for name in ("m.parquet", "m.tar"):
            items = list(Source([f"{web.url}/{name}"], SourceOptions()).items())
            assert [item.prompt for item in items] == [row["prompt"] for row in rows]
        read_bytes = {"/m.parquet": 0, "/m.tar": 0}
        for path, asked in web.ranged:
            first, last = asked.removeprefix("bytes=").split("-")
            read_bytes[path] += int(last) - int(first) + 1
        assert read_bytes["/m.parquet"] < 2.2 * 2**20
        assert read_bytes["/m.tar"] < (tmp_path / "m.tar").stat().st_size + 10_000
        assert web.requests["/m.tar"] < 14
        assert web.most_at_once > 2
        assert Media(items[40].media).data == rows[40]["image"]


def test_credentials_in_urls_are_used_and_not_kept(
    cli: Callable, places: tuple[str, str], tmp_path: Path
) -> None:
    with serving(files_of(places[0])) as web:
        sign = "X-Amz-Signature=hidden&X-Amz-Date=20261126"
        rows = [f"{web.url}/pictures/a/{n}.png?v={n}&{sign},picture\n" for n in (0, 1, 7)]
        web.files["/m.csv"] = ("image,prompt\n" + "".join(rows)).encode()
        output = tmp_path / "x.jsonl"
        done = cli(*ROWS, output, f"{web.url}/m.csv?token=hidden", "--columns", "full")
        assert done.returncode == 3, done.stderr
        found = [json.loads(line) for line in output.read_text().splitlines()]
        assert [row["status"] for row in found] == ["ok", "ok", "error"]
        names = [f"{web.url}/pictures/a/{n}.png?v={n}" for n in (0, 1, 7)]
        assert [row["id"] for row in found] == [row["media"] for row in found] == names
        kept = [file.read_text() for file in tmp_path.iterdir()]
        assert not any("hidden" in text or "20261126" in text for text in (*kept, done.stderr))
        other = web.url.replace("127.0.0.1", "localhost")
        write(f"{places[0]}/far.csv", f"image,prompt\n{other}/pictures/a/0.png?{sign},x\n")
        web.files["/far.csv"] = Path(places[0], "far.csv").read_bytes()
        for place in (web.url, places[0]):
            assert "need --allow-remote" in read(place, ["far.csv"])[0][0][-1]
            assert read(place, ["far.csv"], allow_remote=True)[0][0][-1] == png(0).hex()


def write(place: str, text: str) -> None:
    with fsspec.open(place, "w") as file:
        file.write(text)
