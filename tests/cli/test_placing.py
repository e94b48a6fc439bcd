"""Media copied, linked and moved with names by rank or score, into folders by quantile."""

import errno
import json
import os
import tarfile
from math import log
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import librehps
from conftest import Cli
from librehps.errors import UsageError

MEANS = {"cat": [0.9, 0.5, 0.7, 0.1], "dog": [0.4, 0.4, 0.8]}


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven scored pictures of two prompts, some with sidecars, and an unscored neighbour."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    rows = []
    for prompt, means in MEANS.items():
        for number, mean in enumerate(means):
            name = f"{prompt}{number}.png"
            Path("in", name).write_text(name)
            mu = log(mean / (1 - mean))
            rows.append({"id": f"sub/{name}", "media": f"in/{name}", "prompt": prompt,
                         "overall": mean, "overall_mu": mu, "status": "ok"})  # fmt: skip
    for name in ("cat0.txt", "cat0.png.xmp", "cat0.xmp", "cat1.txt", "cat10.txt", "cat2.JSON"):
        Path("in", name).write_text(name)
    # Shares cat1.txt with cat1.png.
    Path("in/cat1.jpg").write_text("unscored")
    pq.write_table(pa.Table.from_pylist(rows), "s.parquet")
    return Path("s.parquet")


def files(folder: str = ".") -> dict[str, str]:
    """The content of each file below a folder, without the record of moves."""
    found = [p for p in Path(folder).rglob("*") if p.is_file() and p.suffix != ".parquet"]
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in found if p.name != "_moved.jsonl"
    }


def test_a_move_takes_the_sidecars(cli: Cli, scores: Path) -> None:
    before = files("in")
    done = cli("filter", scores, "--min", "overall=0.5", "--move-to", "kept", "-o", "kept.parquet")
    assert done.returncode == 0, done.stderr
    assert "4 files are in kept" in done.stderr and "_moved.jsonl lists where" in done.stderr
    moved = ["cat0.png", "cat0.txt", "cat0.xmp", "cat0.png.xmp", "cat1.png", "cat2.png"]
    moved += ["cat2.JSON", "dog2.png"]
    # cat1.jpg stays, so cat1.txt is at both places.
    assert files("kept") == {f"sub/{n}": before[n] for n in [*moved, "cat1.txt"]}
    assert files("in") == {n: text for n, text in before.items() if n not in moved}
    places = librehps.read_scores("kept.parquet").table.column("media").to_pylist()
    names = ("cat0.png", "cat1.png", "cat2.png", "dog2.png")
    assert places == [str(Path("kept/sub", name).resolve()) for name in names]
    record = [json.loads(line) for line in Path("kept/_moved.jsonl").read_text().splitlines()]
    assert record[0] == {"from": str(Path("in/cat0.png").absolute()), "to": "sub/cat0.png"}
    # The first table finds what was moved in the new folder, and the rest where it was.
    again = cli("filter", "kept.parquet", "--ok-only")
    assert again.stdout.split() == places


@pytest.mark.parametrize("way", ["--copy-to", "--link-to"])
def test_sidecars_of_copies_are_asked_for(cli: Cli, scores: Path, way: str) -> None:
    assert cli("filter", scores, "--top", "1", way, "a").returncode == 0
    assert list(files("a")) == ["sub/cat0.png"]
    assert cli("filter", scores, "--top", "1", way, "b", "--sidecars").returncode == 0
    assert len(files("b")) == 4
    assert all(p.is_symlink() == (way == "--link-to") for p in Path("b/sub").iterdir())
    done = cli("filter", scores, "--top", "1", "--move-to", "c", "--no-sidecars")
    assert (done.returncode, list(files("c"))) == (0, ["sub/cat0.png"])


@pytest.mark.parametrize("way", ["--copy-to", "--link-to", "--move-to"])
def test_buckets_and_names(cli: Cli, scores: Path, way: str) -> None:
    options = ("--bucket", 5, "--name", "rank", "--no-sidecars")
    done = cli("filter", scores, "--ok-only", way, "out", *options)
    assert done.returncode == 0, done.stderr
    # Equal scores share a bucket, and a group of three is spread over five.
    assert sorted(files("out")) == [
        "1/sub/0004_cat3.png",
        "2/sub/0002_dog0.png",
        "2/sub/0003_cat1.png",
        "2/sub/0003_dog1.png",
        "4/sub/0002_cat2.png",
        "5/sub/0001_cat0.png",
        "5/sub/0001_dog2.png",
    ]


def test_names_by_score_and_other_columns(cli: Cli, scores: Path) -> None:
    assert cli("filter", scores, "--top", 2, "--copy-to", "a", "--name", "score").returncode == 0
    assert sorted(files("a")) == ["sub/0.800_dog2.png", "sub/0.900_cat0.png"]
    options = ("--name", "rank", "--per", "all", "--by", "overall")
    assert cli("filter", scores, "--ok-only", "--copy-to", "b", *options).returncode == 0
    assert {"sub/0001_cat0.png", "sub/0002_dog2.png", "sub/0007_cat3.png"} <= files("b").keys()
    weights = ("--weights", "overall=-1", "--top", 1, "--name", "rank")
    assert cli("filter", scores, *weights, "--copy-to", "c").returncode == 0
    assert files("c").keys() == {"sub/0001_cat3.png"}
    for name, first in (("rank", "0001_cat0"), ("score", "0.900_cat0"), ("original", "cat0")):
        done = cli("best-of-n", scores, "--copy-to", name, "--name", name)
        assert done.returncode == 0, done.stderr
        assert f"{first}.png" in files(name)


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["/d/x/a.png", "/d/y/a.png", "/d/b.png"], ["x/a.png", "y/a.png", "b.png"]),
        (["../x/a.png", "../../x/a.png", "a.png", "A.png"],
         ["a-2.png", "a-3.png", "a.png", "A.png"]),
        (["t.tar/../a.png", "t.tar//d/a.png", "q/../../a.png"],
         ["a.png", "t.tar/d/a.png", "a-2.png"]),
        (["/", "..", ".", "x/..", "b\0.png"],
         ["untitled", "untitled-2", "untitled-3", "untitled-4", "b_.png"]),
        (["x" * 260 + ".png", "/y/" + "z" * 251 + ".png", "../" + "z" * 251 + ".png"],
         ["x" * 246 + ".png", "z" * 251 + ".png", "z" * 244 + "-2.png"]),
        (["x" * 300 + "/a.png", "y" * 300 + "/a.png", "A cat. " + "On a mat " * 40],
         ["x" * 250 + "/a.png", "y" * 250 + "/a.png", ("A cat. " + "On a mat " * 40)[:250]]),
        (["z" * 300 + "1.png", "z" * 300 + "2.png", "z" * 300 + "3.png"],
         ["z" * 246 + ".png", "z" * 244 + "-2.png", "z" * 244 + "-3.png"]),
        (["a", "a/b", "./a", "/q/a", "a"], ["a-5", "a/b", "a-2", "a-3", "a-4"]),
    ],
)  # fmt: skip
def test_every_id_has_a_place_inside_the_folder(
    cli: Cli, scores: Path, ids: list[str], names: list[str]
) -> None:
    table = pq.read_table(scores).slice(0, len(ids)).set_column(0, "id", pa.array(ids))
    pq.write_table(table, scores)
    texts = [Path(name).read_text() for name in table["media"].to_pylist()]
    Path("away").mkdir()
    for way in ("copy", "link", "move"):
        done = cli("filter", scores, "--ok-only", f"--{way}-to", f"away/{way}")
        assert done.returncode == 0, done.stderr
        found = files(f"away/{way}")
        assert {name: found.get(name) for name in names} == dict(zip(names, texts, strict=True))
    named = ("--root", "away/move", "--name", "score", "--bucket", 2)
    scored = pq.read_table("s.parquet").set_column(1, "media", pa.array(names))
    pq.write_table(scored, "s.parquet")
    assert cli("filter", scores, "--ok-only", "--copy-to", "away/b", *named).returncode == 0
    assert sorted(files("away/b").values()) == sorted(texts)
    for number, by in enumerate(((), ("--name", "original"))):
        best = ("--per", "all", "--top", 9, "--root", "away/move", *by)
        assert cli("best-of-n", scores, "--copy-to", f"away/{number}", *best).returncode == 0
        assert sorted(files(f"away/{number}").values()) == sorted(texts)
    assert {path.name for path in Path("away").iterdir()} == {"copy", "link", "move", "b", "0", "1"}


def test_best_of_n_moves(cli: Cli, scores: Path) -> None:
    done = cli("best-of-n", scores, "--move-to", "best", "-o", "best.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    assert files("best") == {"cat.png": "cat0.png", "cat.txt": "cat0.txt", "cat.xmp": "cat0.xmp",
                             "cat.png.xmp": "cat0.png.xmp", "dog.png": "dog2.png"}  # fmt: skip
    places = [str(Path("best", name).resolve()) for name in ("cat.png", "dog.png")]
    assert [json.loads(line)["media"] for line in done.stdout.splitlines()] == places
    assert [row["media"] for row in librehps.read_scores("best.jsonl").rows()] == places


@pytest.mark.parametrize("stop", range(1, 9))
@pytest.mark.parametrize("call", ["unlink", "hardlink_to"])
def test_a_move_that_is_killed_loses_nothing_and_goes_on(
    cli: Cli, scores: Path, monkeypatch: pytest.MonkeyPatch, call: str, stop: int
) -> None:
    before, real, calls = sorted(files("in").values()), getattr(Path, call), []

    def killed(self: Path, *args: object, **options: object) -> None:
        calls.append(self)
        if len(calls) == stop:
            raise KeyboardInterrupt
        real(self, *args, **options)

    move = ("filter", scores, "--ok-only", "--move-to", "kept")
    with monkeypatch.context() as patch:
        patch.setattr(Path, call, killed)
        assert cli(*move).returncode == 130
    assert {*before} == {*files("in").values()} | {*files("kept").values()}
    done = cli(*move)
    assert done.returncode == 0, done.stderr
    # cat1.txt belongs to cat1.jpg too, and is at both places.
    assert sorted([*files("in").values(), *files("kept").values()]) == sorted([*before, "cat1.txt"])
    assert sorted(files("in")) == ["cat1.jpg", "cat1.txt", "cat10.txt"]
    assert "7 files are in kept" in done.stderr
    third = cli(*move)
    assert (third.returncode, "7 files are in kept" in third.stderr) == (0, True)


def test_a_move_to_another_disk(cli: Cli, scores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.hardlink_to

    def refuse(self: Path, source: Path) -> None:
        if source.suffix != ".partial":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(self, source)

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    os.utime("in/dog2.png", (1e9, 1e9))
    assert cli("filter", scores, "--top", 2, "--move-to", "kept").returncode == 0
    assert files("kept").keys() >= {"sub/cat0.png", "sub/dog2.png", "sub/cat0.txt"}
    assert not any(name.endswith(".partial") for name in files("kept"))
    assert not Path("in/dog2.png").exists()
    assert Path("kept/sub/dog2.png").stat().st_mtime == 1e9


def test_a_disk_without_hard_links(cli: Cli, scores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, source: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert cli("filter", scores, "--top", 2, "--move-to", "kept").returncode == 0
    assert files("kept")["sub/dog2.png"] == "dog2.png"


def test_what_cannot_be_moved_is_refused_before_anything_moves(cli: Cli, scores: Path) -> None:
    with tarfile.open("x.tar", "w") as tar:
        tar.add("in/dog0.png", "dog0.png")
    table = pq.read_table(scores)
    at = table.column_names.index("media")
    media = table.column("media").to_pylist()
    cases = {
        "1 of 7 media cannot be moved: x.tar::dog0.png": ["x.tar::dog0.png", *media[1:]],
        "1 of 7 media cannot be moved": ["https://host/a.png", *media[1:]],
        "is the media of several rows": [media[1], *media[1:]],
    }
    before = files("in")
    for message, texts in cases.items():
        pq.write_table(table.set_column(at, "media", pa.array(texts)), "odd.parquet")
        done = cli("filter", "odd.parquet", "--ok-only", "--move-to", "kept", "--allow-remote")
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    Path("kept/sub").mkdir(parents=True)
    Path("kept/sub/cat1.png").write_text("mine")
    done = cli("filter", scores, "--ok-only", "--move-to", "kept")
    assert (done.returncode, "already exists" in done.stderr) == (2, True)
    assert (files("in"), files("kept")) == (before, {"sub/cat1.png": "mine"})


def test_a_sidecar_never_replaces_another_file(cli: Cli, scores: Path) -> None:
    Path("kept/sub").mkdir(parents=True)
    Path("kept/sub/cat0.txt").write_text("mine")
    done = cli("filter", scores, "--top", 1, "--move-to", "kept")
    assert done.returncode == 0
    assert "1 sidecar left in place" in done.stderr
    assert (files("kept")["sub/cat0.txt"], files("in")["cat0.txt"]) == ("mine", "cat0.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--copy-to a --move-to b", "--copy-to and --move-to cannot be used together"),
        ("--name rank", "--name needs a folder"),
        ("--bucket 5", "--bucket needs a folder"),
        ("--sidecars", "--sidecars needs a folder"),
        ("--copy-to a --bucket 5 --by colour", "no column colour"),
        ("--copy-to a --bucket 5 --per colour", "no column colour"),
    ],
)
def test_usage(cli: Cli, scores: Path, options: str, message: str) -> None:
    done = cli("filter", scores, "--ok-only", *options.split())
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not Path("a").exists()


def test_in_python(scores: Path) -> None:
    chosen = librehps.filter_rows(scores, top=2)
    with pytest.raises(UsageError, match="link and move"):
        librehps.copy_media(chosen, "kept", link=True, move=True)
    copied = librehps.copy_media(chosen, "kept", move=True, naming=librehps.Naming("rank", 2))
    assert copied.moved["in/cat0.png"].endswith("kept/1/sub/0001_cat0.png")


def test_a_link_in_place_of_the_old_folder(cli: Cli, scores: Path) -> None:
    for file in Path("in").glob("cat1*"):
        file.unlink()
    table = pq.read_table(scores).filter(pa.array([True, False, True, True, True, True, True]))
    ids = pa.array([Path(text).name for text in table.column("media").to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("id"), "id", ids), "s.parquet")
    move = ("filter", "s.parquet", "--ok-only", "--move-to", "kept")
    assert cli(*move).returncode == 0
    moved = files("kept")
    assert len(moved) == 10
    # So that other programs find the files in the old place.
    Path("in").rmdir()
    Path("in").symlink_to("kept")
    done = cli(*move)
    assert done.returncode == 0, done.stderr
    assert files("kept") == moved


def test_a_sidecar_that_stays_in_its_folder(cli: Cli, scores: Path) -> None:
    table = pq.read_table(scores).slice(0, 1)
    table = table.set_column(table.column_names.index("id"), "id", pa.array(["cat0"]))
    pq.write_table(table, "short.parquet")
    before = files("in")
    assert cli("filter", "short.parquet", "--ok-only", "--move-to", "in").returncode == 0
    after = files("in")
    assert (after["cat0.txt"], after["cat0"]) == ("cat0.txt", "cat0.png")
    assert sorted(after.values()) == sorted(before.values())


def test_links_between_media(cli: Cli, scores: Path) -> None:
    table = pq.read_table(scores).slice(0, 2)
    at, before = table.column_names.index("media"), files("in")
    Path("other").symlink_to("in")
    Path("in/link.png").symlink_to("cat0.png")
    cases = {"other/cat0.png": "is the media of several rows",
             "in/link.png": "which is moved too"}  # fmt: skip
    for path, message in cases.items():
        texts = pa.array(["in/cat0.png", path])
        pq.write_table(table.set_column(at, "media", texts), "links.parquet")
        done = cli("filter", "links.parquet", "--ok-only", "--move-to", "kept")
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    Path("in/link.png").unlink()
    assert files("in") == before


def test_paths_after_a_move(cli: Cli, scores: Path) -> None:
    done = cli("filter", scores, "--top", 1, "--move-to", "kept", "--null")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{Path('kept/sub/cat0.png').resolve()}\0"


def test_a_record_that_was_cut_short(cli: Cli, scores: Path) -> None:
    Path("kept").mkdir()
    Path("kept/_moved.jsonl").write_text('{"from": "/x')
    assert cli("filter", scores, "--top", 1, "--move-to", "kept").returncode == 0
    last = Path("kept/_moved.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["to"] == "sub/cat0.png"


def test_a_record_that_cannot_be_written(cli: Cli, scores: Path) -> None:
    Path("kept/_moved.jsonl").mkdir(parents=True)
    before = files("in")
    done = cli("filter", scores, "--top", 1, "--move-to", "kept")
    assert (done.returncode, "Nothing has been moved." in done.stderr) == (1, True), done.stderr
    assert files("in") == before
