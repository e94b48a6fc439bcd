"""Files whose names are not UTF-8: scored, found again, and told apart from look-alikes."""

import json
import os
import sys
from pathlib import Path

import pytest

import librehps
from conftest import Cli
from librehps.files import found_path, path_text
from travel_data import png, tar_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")

ASKED = ("--prompt", "a red circle", "--model", "tiny", "--quiet")
# The bytes of names, with their ids.
NAMES = {
    b"d\xe9/lat\xe9n.png": "d%E9/lat%E9n.png",
    b"\x92.png": "%92.png",
    b"caf%C3%A9.png": "caf%C3%A9.png",
    "café.png".encode(): "café.png",
    b"100%\xe9.png": "100%%E9.png",
    b"m%E9\xff.png": "m%E9%FF.png",
    b"x%E9.png": "x%E9.png",
    b"x\xe9.png": "x%%E9.png",
    b"y\xe9%E9.png": "y%%E9%25E9.png",
    b"y\xe9\xe9.png": "y%E9%E9.png",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Pictures in in/, by their ids; the working directory has an undecodable name too."""
    home = tmp_path / os.fsdecode(b"h\xe9")
    home.mkdir()
    monkeypatch.chdir(home)
    found = {}
    for seed, (name, identity) in enumerate(NAMES.items()):
        file = Path("in", os.fsdecode(name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(seed))
        found[identity] = file.read_bytes()
    return found


def contents(folder: str) -> dict[str, bytes]:
    files = (path for path in Path(folder).rglob("*.png") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("start", ["in", "absolute"])
def test_every_file_is_found_again(cli: Cli, folder: dict[str, bytes], start: str) -> None:
    place = str(Path("in").absolute()) if start == "absolute" else start
    done = cli("score", place, *ASKED, "-o", "s.parquet")
    assert done.returncode == 0, done.stderr
    done = cli("filter", "s.parquet", "--ok-only", "--copy-to", "all", "--null")
    assert (done.returncode, contents("all")) == (0, folder), done.stderr
    paths = [Path(name) for name in done.stdout.split("\0")[:-1]]
    assert sorted(path.read_bytes() for path in paths) == sorted(folder.values())
    best = cli("best-of-n", "s.parquet", "--per", "all", "--top", 99, "--copy-to", "best")
    assert sorted(contents("best").values()) == sorted(folder.values()), best.stderr
    assert "no picture" not in cli("report", "s.parquet", "-o", "r.html").stderr
    assert json.loads(cli("tag", "s.parquet", "--dry-run").stdout)["failed"] == 0
    if start != "in":
        return
    rows = librehps.read_scores("s.parquet").rows()
    Path("m.jsonl").write_text("".join(json.dumps({"media": r["media"]}) + "\n" for r in rows))
    assert cli("score", "m.jsonl", *ASKED, "-o", "again.parquet").returncode == 0
    again = cli("filter", "again.parquet", "--ok-only", "--copy-to", "again")
    assert sorted(contents("again").values()) == sorted(folder.values()), again.stderr
    one, two = "in/x%%E9.png", "in/%92.png"
    record = json.loads(cli("compare", one, two, *ASKED, "--json").stdout)
    assert (record["a"], record["b"]) == (one, two)
    three = cli("compare", one, two, "in/x%E9.png", *ASKED, "--json").stdout.splitlines()
    assert {json.loads(line)["item"] for line in three} == {one, two, "in/x%E9.png"}
    for _ in range(2):
        # A move that has ended is found again.
        moved = cli("filter", "s.parquet", "--min", "overall=0", "--move-to", "moved")
        assert (moved.returncode, contents("moved")) == (0, folder), moved.stderr


def test_a_text_never_names_a_file_of_another_valid_name(folder: dict[str, bytes]) -> None:
    os.remove(b"in/caf%C3%A9.png")
    assert found_path("in/caf%C3%A9.png") is None
    assert found_path("in/gone%E9.png") is None
    for name in (b"in/x%E9.png", b"in/x\xe9.png", b"in/gone\xe9.png"):
        path = os.fsdecode(name)
        assert found_path(path_text(path)) in (path, None)


def test_members_of_one_text(cli: Cli, folder: dict[str, bytes]) -> None:
    tar_of(Path("t.tar"), {os.fsdecode(b"a\xe9.png"): png(1), "a%E9.png": png(2), "b.png": png(3)})
    assert cli("score", "t.tar", *ASKED, "-o", "t.parquet").returncode == 0
    ids = [row["id"] for row in librehps.read_scores("t.parquet").rows()]
    assert ids == ["t.tar/a%E9.png", "t.tar/a%E9.png#2", "t.tar/b.png"]
    done = cli("filter", "t.parquet", "--ok-only", "--copy-to", "kept")
    assert (done.returncode, list(contents("kept"))) == (3, ["t.tar/b.png"])
    assert "names several media" in done.stderr
