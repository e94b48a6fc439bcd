"""A scored file used from another folder, after a move, and with --root."""

import json
import os
import shutil
from pathlib import Path

import pytest

import librehps
from conftest import Cli
from travel_data import parquet_of, png, tar_of

ASKED = ("--prompt", "a red circle", "--model", "tiny", "--quiet")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pictures in in/, the working directory."""
    folder = tmp_path / "project"
    (folder / "in").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for seed, name in enumerate(("a.png", "b.png")):
        Path("in", name).write_bytes(png(seed))
    return folder


def lines(text: str) -> list[str]:
    return sorted(text.splitlines())


def scored(cli: Cli, output: str, *paths: object) -> str:
    done = cli("score", *paths, *ASKED, "-o", output)
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.parametrize("output", ["s.parquet", "out/s.jsonl"])
def test_from_other_folders_and_moved(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    Path("out").mkdir()
    scored(cli, output, "in")
    assert lines(cli("filter", output, "--ok-only").stdout) == ["in/a.png", "in/b.png"]
    monkeypatch.chdir("in")
    assert lines(cli("filter", f"../{output}", "--ok-only").stdout) == ["a.png", "b.png"]
    monkeypatch.chdir(project.parent)
    names = ["project/in/a.png", "project/in/b.png"]
    done = cli("filter", f"project/{output}", "--ok-only", "-0")
    assert (done.returncode, sorted(done.stdout.split("\0"))[1:]) == (0, names)
    assert cli("best-of-n", f"project/{output}").stdout.strip() in names
    kept = cli("filter", f"project/{output}", "--ok-only", "-o", "kept.parquet")
    assert kept.returncode == 0
    project.rename("moved")
    moved = [name.replace("project", "moved") for name in names]
    assert lines(cli("filter", f"moved/{output}", "--ok-only").stdout) == moved
    done = cli("filter", "kept.parquet", "--ok-only")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "error: 2 of 2 media not found: in/a.png (name their folder: --root FOLDER)" in done.stderr
    )
    assert lines(cli("filter", "kept.parquet", "--ok-only", "--root", "moved").stdout) == moved
    Path("moved/in/a.png").unlink()
    done = cli("filter", f"moved/{output}", "--ok-only")
    assert (done.returncode, done.stdout) == (3, "moved/in/b.png\n")
    done = cli("best-of-n", f"moved/{output}", "--per", "folder", "--top", 2, "--copy-to", "best")
    assert (done.returncode, len(list(Path("best").iterdir()))) == (3, 1)


def test_root_is_the_new_place_of_a_scored_folder(cli: Cli, project: Path) -> None:
    scored(cli, "s.parquet", "in")
    shutil.copytree("in", "renamed")
    # Found below --root first, though the old place exists.
    for root in ("renamed", project / "renamed"):
        done = cli("filter", "s.parquet", "--ok-only", "--root", root)
        assert lines(done.stdout) == ["renamed/a.png", "renamed/b.png"]


def test_a_url_as_root(cli: Cli, project: Path) -> None:
    scored(cli, "s.parquet", "in")
    done = cli("filter", "s.parquet", "--ok-only", "--root", "s3://bucket/x/")
    assert lines(done.stdout) == ["s3://bucket/x/in/a.png", "s3://bucket/x/in/b.png"]


def test_absolute_paths_move_too(cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(cli, "s.parquet", project / "in")
    project.rename("../moved")
    monkeypatch.chdir("/")
    moved = project.parent / "moved"
    done = cli("filter", moved / "s.parquet", "--ok-only")
    assert lines(done.stdout) == [f"{moved}/in/a.png", f"{moved}/in/b.png"]
    (moved / "in").rename(moved / "elsewhere")
    done = cli("filter", moved / "s.parquet", "--ok-only", "--root", moved / "elsewhere")
    assert lines(done.stdout) == [f"{moved}/elsewhere/a.png", f"{moved}/elsewhere/b.png"]


def test_files_of_two_folders_are_told_apart(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(cli, "s.parquet", "in")
    shutil.copytree("in", "../other/in")
    monkeypatch.chdir("../other")
    scored(cli, "s.parquet", "in")
    done = cli("filter", "s.parquet", "../project/s.parquet", "--ok-only")
    theirs = [f"{project}/in/{name}.png" for name in "ab"]
    assert lines(done.stdout) == sorted([f"{Path.cwd()}/in/{name}.png" for name in "ab"] + theirs)


def test_rows_on_stdin_are_of_this_folder(cli: Cli, project: Path) -> None:
    scored(cli, "s.parquet", "in")
    rows = cli("filter", "s.parquet", "--ok-only", "--json").stdout
    os.chdir("in")
    done = cli("filter", "-", "--ok-only", stdin=rows)
    assert (done.returncode, done.stdout) == (1, "")
    done = cli("filter", "-", "--ok-only", "--root", "..", stdin=rows)
    assert lines(done.stdout) == ["../in/a.png", "../in/b.png"]


def test_members_are_copied_byte_by_byte(cli: Cli, project: Path) -> None:
    tar = {f"sub/{i}.png": png(i) for i in range(4)}
    tar_of(Path("x.tar"), tar)
    cells = [("p.png", png(5)), ("q.png", png(6)), (None, png(7))]
    parquet_of(Path("y.parquet"), cells)
    scored(cli, "s.parquet", "x.tar", "y.parquet")
    os.chdir("in")
    done = cli("filter", "../s.parquet", "--ok-only", "--copy-to", "kept")
    assert done.returncode == 0, done.stderr
    found = {p.relative_to("kept").as_posix(): p.read_bytes() for p in Path("kept").rglob("*")
             if p.is_file()}  # fmt: skip
    expected = {f"x.tar/{name}": content for name, content in tar.items()}
    assert found == {**expected, "p.png": png(5), "q.png": png(6), "y.parquet/2": png(7)}
    done = cli("filter", "../s.parquet", "--ok-only", "--link-to", "linked")
    assert "7 items inside other files or at URLs: copied, not linked" in done.stderr
    best = librehps.best_of_n("../s.parquet", per="folder", top=9).copy_to("best")
    assert {path.suffix for path in Path("best").iterdir()} == {".png", ""}
    assert (best.files, best.failed) == (7, {})
    paths = lines(cli("filter", "../s.parquet", "--ok-only").stdout)
    assert paths[:2] == [f"{project}/x.tar::sub/0.png", f"{project}/x.tar::sub/1.png"]


def test_the_column_and_repeated_paths_of_cells(cli: Cli, project: Path) -> None:
    cells = [("p.png", png(5)), ("p.png", png(6)), (None, None)]
    parquet_of(Path("y.parquet"), cells, "shot")
    done = cli("score", "y.parquet", "--media-column", "shot", *ASKED, "-o", "s.jsonl")
    assert done.returncode == 3
    rows = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    assert [row["media"] for row in rows] == [f"y.parquet::{n}" for n in ("0/p.png", "1/p.png", 2)]
    done = cli("filter", "s.jsonl", "--ok-only", "--copy-to", "kept")
    assert [Path("kept/y.parquet", n).read_bytes() for n in "01"] == [png(5), png(6)]


def test_urls_are_read_with_permission(cli: Cli, project: Path) -> None:
    tar_of(Path("x.tar"), {"c.png": png(3)})
    url = f"file://{project}"
    for output, root in (("s.parquet", f"{url}/in"), ("t.parquet", f"{url}/x.tar")):
        scored(cli, output, root)
    done = cli("filter", "s.parquet", "t.parquet", "--ok-only", "--copy-to", "kept")
    assert (done.returncode, Path("kept").exists()) == (1, False)
    assert "media at URLs need --allow-remote" in done.stderr
    asked = ("s.parquet", "t.parquet", "--ok-only", "--allow-remote", "--copy-to", "kept")
    done = cli("filter", *asked)
    assert done.returncode == 0, done.stderr
    names = {p.name: p.read_bytes() for p in Path("kept").rglob("*.png")}
    assert names == {"a.png": png(0), "b.png": png(1), "c.png": png(3)}
    scored(cli, "u.parquet", "in")
    done = cli("filter", "u.parquet", "--ok-only", "--root", url, "--copy-to", "far")
    assert (done.returncode, len(list(Path("far").iterdir()))) == (0, 2), done.stderr
