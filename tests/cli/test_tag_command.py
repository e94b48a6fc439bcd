"""librehps tag: ratings in sidecars and inside pictures, as other tools read them."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from math import log
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import librehps
from conftest import Cli

# Ratings by name: five of one prompt, three of another, one alone.
STARS = {
    "a.png": 5, "b.jpg": 4, "c.webp": 3, "d.png": 2, "e.webp": 1,
    "f.jpg": 5, "g.png": 2, "h.png": 2, "alone.png": 3,
}  # fmt: skip
MEANS = {
    "a.png": 0.9, "b.jpg": 0.8, "c.webp": 0.7, "d.png": 0.6, "e.webp": 0.5,
    "f.jpg": 0.4, "g.png": 0.2, "h.png": 0.2, "alone.png": 0.1,
}  # fmt: skip
PROMPTS = dict(zip(MEANS, ["one"] * 5 + ["two"] * 3 + ["three"], strict=True))
FOREIGN = b"""<?xml version='1.0' encoding="UTF-8"?>
<!-- by hand > --><x:xmpmeta xmlns:x="adobe:ns:meta/">
<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <r:Description r:about='uuid:7'   xmlns:xap="http://ns.adobe.com/xap/1.0/"
    xap:Rating = '%s' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><r:Bag>
    <r:li>a &gt; b</r:li></r:Bag></dc:subject></r:Description>
</r:RDF></x:xmpmeta>
"""


def picture(name: str, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 40, 4), np.uint8)
    image = Image.fromarray(pixels)
    if name.endswith(".png"):
        texts = PngInfo()
        texts.add_text("parameters", "a cat\nSteps: 3")
        texts.add_itxt("workflow", '{"ü": 1}')
        image.save(name, pnginfo=texts)
        return
    exif = Image.Exif()
    exif[0x010E] = "a description"
    if name == "c.webp":
        # The simple form of the format, without a header for metadata.
        image.convert("RGB").save(name, quality=80)
    elif name == "e.webp":
        image.save(name, lossless=True, exif=exif)
    else:
        image.convert("RGB").save(name, exif=exif, icc_profile=b"profile", comment="a comment")


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine scored pictures in three formats, and a row of an error."""
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for seed, name in enumerate(MEANS):
        picture(name, seed)
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": name, "media": f"in/{name}", "prompt": PROMPTS[name], "overall": mean,
         "overall_mu": log(mean / (1 - mean)), "style": 1 - mean, "style_mu": -mean,
         "status": "ok"}
        for name, mean in MEANS.items()
    ]  # fmt: skip
    rows.append({"id": "x", "media": "in/x.png", "prompt": "one", "status": "error"})
    pq.write_table(pa.Table.from_pylist(rows), "s.parquet")
    return Path("s.parquet")


def content() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path("in").iterdir())}


def times() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path("in").iterdir()}


def pixels(name: str) -> bytes:
    with Image.open(Path("in", name)) as image:
        return image.mode.encode() + image.tobytes()


def exiftool(*options: str) -> list[dict]:
    """Reads files with exiftool; where that is missing, the test is skipped, but not on CI."""
    if shutil.which("exiftool") is None and not os.environ.get("CI"):
        pytest.skip("exiftool is not installed")
    done = subprocess.run(["exiftool", "-j", *options], capture_output=True, text=True, check=True)
    return json.loads(done.stdout or "[]")


def test_sidecars(cli: Cli, scores: Path) -> None:
    before = content()
    dry = cli("tag", scores, "--dry-run", "--json")
    assert (dry.returncode, content()) == (0, before)
    done = cli("tag", scores, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == dry.stdout
    found = json.loads(done.stdout)
    assert found["ratings"] == {"5": 2, "4": 1, "3": 2, "2": 3, "1": 1}
    assert (found["changed"], found["unchanged"], found["failed"]) == (9, 0, 0)
    after, written = content(), times()
    sidecars = [f"{name}.xmp" for name in MEANS] + [f"{Path(n).stem}.xmp" for n in MEANS]
    assert sorted(after) == sorted([*before, *sidecars])
    assert {name: after[name] for name in before} == before
    again = cli("tag", scores, "--json")
    assert json.loads(again.stdout)["unchanged"] == 9
    assert times() == written
    removed = cli("tag", scores, "--remove")
    assert removed.stderr == "9 media untagged, 0 unchanged, 0 with errors\n"
    assert content() == before
    assert "0 media untagged, 9 unchanged" in cli("tag", scores, "--remove").stderr


def test_exiftool_reads_the_ratings(cli: Cli, scores: Path) -> None:
    assert cli("tag", scores).returncode == 0
    for suffix in ("", *{Path(name).suffix for name in MEANS}):
        names = [n for n in MEANS if n.endswith(suffix)]
        files = [f"in/{n}.xmp" if suffix else f"in/{Path(n).stem}.xmp" for n in names]
        assert [row["Rating"] for row in exiftool(*files)] == [STARS[n] for n in names]
    assert cli("tag", scores, "--embed").returncode == 0
    found = exiftool("-validate", "-warning", "-a", "-Rating", *(f"in/{n}" for n in MEANS))
    assert [row["Rating"] for row in found] == [*STARS.values()]
    # The ICC profile of these files is a fake.
    assert {row["Validate"] for row in found if not row["SourceFile"].endswith("jpg")} == {"OK"}


def test_inside_pictures(cli: Cli, scores: Path) -> None:
    before, shown = content(), {name: pixels(name) for name in MEANS}
    Path("in/a.png").chmod(0o640)
    done = cli("tag", scores, "--embed")
    assert done.returncode == 0, done.stderr
    after, written = content(), times()
    assert {*after} == {*before}
    assert all(after[name] != before[name] for name in before)
    assert {name: pixels(name) for name in MEANS} == shown
    assert Path("in/a.png").stat().st_mode & 0o777 == 0o640
    for name in MEANS:
        with Image.open(Path("in", name)) as image:
            info = image.info
        assert f'xmp:Rating="{STARS[name]}"' in str(info.get("xmp") or info["XML:com.adobe.xmp"])
        if name.endswith(".png"):
            assert (info["parameters"], info["workflow"]) == ("a cat\nSteps: 3", '{"ü": 1}')
        if name.endswith(".jpg"):
            assert (info["icc_profile"], info["comment"]) == (b"profile", b"a comment")
        if name != "c.webp" and not name.endswith(".png"):
            assert image.getexif()[0x010E] == "a description"
    again = cli("tag", scores, "--embed")
    assert "0 media tagged, 9 unchanged" in again.stderr
    assert times() == written
    other = cli("tag", scores, "--embed", "--by", "style")
    assert "9 media tagged" in other.stderr and "another rating" not in other.stderr
    assert cli("tag", scores, "--embed", "--remove").returncode == 0
    assert content() == before


@pytest.mark.parametrize("rating", [b"4", b"-1", b" 3.0\n", b"5"])
def test_a_foreign_sidecar_comes_back_byte_for_byte(cli: Cli, scores: Path, rating: bytes) -> None:
    Path("in/a.png.xmp").write_bytes(FOREIGN.replace(b"%s", rating))
    element = FOREIGN.replace(b"xap:Rating = '%s' ", b"").replace(
        b"<dc:subject>", b"<xap:Rating>%s</xap:Rating> <dc:subject>".replace(b"%s", rating)
    )
    Path("in/b.xmp").write_bytes(element)
    unrated = FOREIGN.replace(b"xap:Rating = '%s' ", b"")
    Path("in/d.png.xmp").write_bytes(unrated + b"\0\0")
    before = content()
    done = cli("tag", scores)
    had = 2 if rating not in (b"4", b"5") else 1
    assert (done.returncode, f"{had} had another rating" in done.stderr) == (0, True), done.stderr
    text = Path("in/a.png.xmp").read_bytes()
    assert b"xap:Rating = '5'" in text and b"<!-- by hand > -->" in text and b"a &gt; b" in text
    assert b"<xap:Rating>4</xap:Rating>" in Path("in/b.xmp").read_bytes()
    written = times()
    assert cli("tag", scores).returncode == 0
    assert times() == written
    assert cli("tag", scores, "--remove").returncode == 0
    assert content() == before


def test_what_somebody_edited_since_stays(cli: Cli, scores: Path) -> None:
    assert cli("tag", scores, "--sidecar", "full").returncode == 0
    stars, label = Path("in/a.png.xmp"), Path("in/b.jpg.xmp")
    stars.write_bytes(stars.read_bytes().replace(b'xmp:Rating="5"', b'xmp:Rating="2"'))
    label.write_bytes(label.read_bytes().replace(b"</rdf:RDF>", b"<!-- mine --></rdf:RDF>"))
    done = cli("tag", scores, "--remove")
    assert "2 were edited after they were tagged" in done.stderr
    assert sorted(path.name for path in Path("in").glob("*.xmp")) == [stars.name, label.name]
    assert b'xmp:Rating="2"' in stars.read_bytes() and b"librehps:stars" not in stars.read_bytes()
    assert b"mine" in label.read_bytes() and b"Rating" not in label.read_bytes()
    # Another program writes all properties anew, in its own way.
    assert cli("tag", scores, "--sidecar", "full").returncode == 0
    exiftool("-overwrite_original", "-XMP:Title=mine", "in/d.png.xmp")
    assert b"librehps" in Path("in/d.png.xmp").read_bytes()
    assert "edited after" in cli("tag", scores, "--remove").stderr
    [row] = exiftool("in/d.png.xmp")
    assert row["Title"] == "mine" and "Rating" not in row
    assert not any("librehps" in str(key).lower() or key == "Score" for key in row)


def test_media_that_share_a_name(cli: Cli, scores: Path) -> None:
    Path("in/a.jpg").write_bytes(b"another picture of this name")
    done = cli("tag", scores)
    assert done.returncode == 0
    assert "1 share a name with other media" in done.stderr
    assert not Path("in/a.xmp").exists() and Path("in/a.png.xmp").exists()
    stem = cli("tag", scores, "--sidecar", "stem")
    assert (stem.returncode, "other media would share its sidecar a.xmp" in stem.stderr) == (
        3,
        True,
    )


def test_what_cannot_be_tagged_is_named_and_counted(cli: Cli, scores: Path) -> None:
    good = Path("in/a.png").read_bytes()
    at = good.index(b"IDAT") - 4
    signed = b"\0\0\0\0caBX\0\0\0\0"
    jpeg, webp = Path("in/b.jpg").read_bytes(), Path("in/e.webp").read_bytes()
    odd = {
        "a.png": (good[:at] + signed + good[at:], "holds a C2PA signature"),
        "d.png": (good[: at + 40], "damaged or cut short"),
        "b.jpg": (jpeg[:2] + b"\xff\xeb\0\x08JP\0\1ab" + jpeg[2:], "holds a C2PA signature"),
        "e.webp": (webp[:-9], "damaged or cut short"),
        "g.png": (b"GIF89a, not a PNG", "PNG, JPEG and WebP files only"),
    }
    for name, (data, _) in odd.items():
        Path("in", name).write_bytes(data)
    Path("in/h.png").unlink()
    before = content()
    done = cli("tag", scores, "--embed", "--json")
    assert done.returncode == 3
    assert "and 1 more media that cannot be tagged" in done.stderr
    errors = json.loads(done.stdout)["errors"]
    for name, (_, message) in odd.items():
        assert message in errors[f"in/{name}"]
    assert "no such file" in errors["in/h.png"]
    after = content()
    assert {name: after[name] for name in odd} == {name: before[name] for name in odd}


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (b'<!DOCTYPE x [<!ENTITY a "aa">]>' + FOREIGN[FOREIGN.index(b"<!--") :], "document type"),
        (FOREIGN[:-20], "not valid XML"),
        (FOREIGN.decode().replace("%s", "1").encode("utf-16"), "UTF-16"),
        (FOREIGN.replace(b"UTF-8", b"latin-1"), "in latin-1; expected UTF-8"),
        (b"<x/>", "no rdf:RDF"),
        (FOREIGN.replace(b"<dc:sub", b"<xap:Rating>1</xap:Rating><dc:sub"), "several ratings"),
    ],
)
def test_sidecars_that_cannot_be_edited_stay_as_they_are(
    cli: Cli, scores: Path, packet: bytes, message: str
) -> None:
    Path("in/a.png.xmp").write_bytes(packet)
    done = cli("tag", scores)
    assert (done.returncode, message in done.stderr) == (3, True), done.stderr
    assert Path("in/a.png.xmp").read_bytes() == packet


def test_rows_of_one_file_and_media_elsewhere(cli: Cli, scores: Path) -> None:
    table = pq.read_table(scores)
    doubled = pa.concat_tables([table, table.slice(0, 1)])
    media = [*doubled.column("media").to_pylist()[:-1], "in/e.webp"]
    media[1], media[2] = "https://host/b.jpg", "s.parquet::c.webp"
    at = doubled.column_names.index("media")
    pq.write_table(doubled.set_column(at, "media", pa.array(media)), "odd.parquet")
    done = cli("tag", "odd.parquet")
    assert done.returncode == 3
    assert "in/e.webp: several rows name this file, and their ratings differ" in done.stderr
    assert "https://host/b.jpg: is at a URL" in done.stderr
    assert "s.parquet::c.webp: is inside another file" in done.stderr


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_links_to_a_file_are_rows_of_it(cli: Cli, scores: Path, link: Callable) -> None:
    link(Path("in/a.png").resolve(), "in/link.png")
    table = pq.read_table(scores)
    media = ["in/link.png" if m == "in/e.webp" else m for m in table["media"].to_pylist()]
    pq.write_table(table.set_column(1, "media", pa.array(media)), scores)
    before = content()
    done = cli("tag", scores, "--embed")
    assert "in/a.png: several rows name this file, and their ratings differ" in done.stderr
    assert content()["a.png"] == before["a.png"] == content()["link.png"]
    assert cli("tag", scores, "--embed", "--json").stdout.count("several rows") == 1
    # Each name has its own sidecar.
    assert cli("tag", scores).returncode == 0


def test_groups_columns_and_roots(cli: Cli, scores: Path) -> None:
    Path("in").rename("moved")
    assert "no such file" in cli("tag", scores).stderr
    options = ("--root", "moved", "--per", "all", "--by", "style", "--json")
    pq.write_table(
        pq.read_table(scores).set_column(1, "media", pa.array([*MEANS, "x.png"])), scores
    )
    done = cli("tag", scores, *options)
    assert done.returncode == 0, done.stderr
    assert "scores of different prompts are compared (3 prompts)" in done.stderr
    assert json.loads(done.stdout)["ratings"] == {"5": 1, "4": 3, "3": 1, "2": 2, "1": 2}
    assert 'librehps:column="style"' in Path("moved/alone.png.xmp").read_text()
    assert cli("tag", scores, "--by", "colour").returncode == 2
    assert librehps.tag(scores, root="moved", remove=True).changed == 9


def test_a_tagged_folder_is_scored_as_before(cli: Cli, scores: Path) -> None:
    asked = ("score", "in", "-m", "tiny", "--prompt", "a red circle", "--columns", "full")
    assert cli(*asked, "-o", "before.parquet").returncode == 0
    assert cli("tag", scores).returncode == 0
    done = cli(*asked, "-o", "after.parquet")
    assert (done.returncode, ".xmp" in done.stderr) == (0, True), done.stderr
    assert cli("tag", scores, "--embed").returncode == 0
    assert cli(*asked, "-o", "inside.parquet").returncode == 0
    first, second, inside = (
        pq.read_table(f"{name}.parquet") for name in ("before", "after", "inside")
    )
    assert first.equals(second)
    # Other bytes, and so another digest, but the pixels and their scores are the same.
    assert first.drop_columns(["sha256"]).equals(inside.drop_columns(["sha256"]))
    digests = zip(first["sha256"].to_pylist(), inside["sha256"].to_pylist(), strict=True)
    assert all(before != after for before, after in digests)


def test_the_table(cli: Cli, scores: Path) -> None:
    done = cli("tag", scores, "--table", "--dry-run")
    stars = done.stdout.split()[2::3]
    assert (stars, done.stdout.split()[4::3]) == ([*"54321"], [*"21231"])
    assert done.stderr == "9 media would be tagged, 0 unchanged, 0 with errors\n"
