"""librehps report on scored files."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import librehps
from conftest import EXAMPLES, Cli
from librehps.report.choose import Places, chosen_rows
from librehps.report.page import Contents, room_for_pictures
from librehps.report.shown import Pictures
from librehps.scores.score_table import ScoreTable
from report_data import picture, scored, with_errors, write_scores
from travel_data import parquet_of, png, tar_of

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def table(tmp_path: Path) -> pa.Table:
    """Twelve rows of three prompts by two generators, every picture there."""
    media = [picture(tmp_path, f"in/{i}.png", 9 * i) for i in range(12)]
    makers = [("ant", "bee")[i // 3 % 2] for i in range(12)]
    return scored(media, [f"prompt {i % 3}" for i in range(12)], generator=makers)


def part(page: Path, name: str) -> dict | list:
    """Return the JSON data that the page's script reads under a name."""
    text = page.read_text(encoding="utf-8").split(f'id="{name}">', 1)[1]
    return json.loads(text.split("</script>", 1)[0])


def refused(done: Done, code: int, *words: str) -> None:
    """Ended with that code, and a message with these words; no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    for word in words:
        assert word in done.stderr


def test_scored_media_become_a_page(cli: Cli, tmp_path: Path) -> None:
    scores, page = tmp_path / "s.jsonl", tmp_path / "r.html"
    scoring = ("score", EXAMPLES / "media", "--model", "tiny", "--prompt-from", "sidecar")
    assert cli(*scoring, "-o", scores).returncode == 0
    done = cli("report", scores, "-o", page)
    assert (done.returncode, done.stdout) == (0, "")
    assert "9 rows" in done.stderr
    assert "no picture" not in done.stderr
    assert len(part(page, "images")) == 9
    data = part(page, "data")
    assert list(data["axes"]) == ["overall", "alignment", "coherence", "style", "temporal"]
    assert data["record"][0][0] == "model"
    assert not list(tmp_path.glob("*.partial"))
    refused(cli("report", scores, "-o", page), 2, "exists", "--overwrite")
    done = cli("report", scores, "-o", page, "--overwrite", "--quiet", "--title", "Mine")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "<title>Mine</title>" in page.read_text(encoding="utf-8")


def test_several_files_and_stdin(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    one = write_scores(table.slice(0, 5), tmp_path / "one.parquet")
    two = write_scores(table.slice(5), tmp_path / "two.parquet")
    assert "12 rows" in cli("report", one, two, "-o", tmp_path / "r.html").stderr
    lines = cli("filter", one, "--ok-only", "--json").stdout
    done = cli("report", "-", "-o", tmp_path / "s.html", stdin=lines)
    assert "5 rows" in done.stderr
    assert "<title>Scores of stdin</title>" in (tmp_path / "s.html").read_text(encoding="utf-8")


def test_missing_pictures_are_counted_not_fatal(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    media = table.column("media").to_pylist()
    Path(media[1]).unlink()
    Path(media[2]).write_bytes(b"")
    Path(media[3]).write_bytes(Path(media[0]).read_bytes()[:50])
    media[4] = None
    table = table.set_column(1, "media", pa.array(media))
    page = tmp_path / "r.html"
    done = cli("report", write_scores(table, tmp_path / "s.parquet"), "-o", page)
    assert done.returncode == 0
    assert "no picture for 4 of 12 rows" in done.stderr
    for reason in ("file not found 1", "empty file 1", "damaged 1", "media has no file 1"):
        assert reason in done.stderr
    assert len(part(page, "images")) == 8


def test_pictures_are_limited_and_the_ends_come_first(
    cli: Cli, table: pa.Table, tmp_path: Path
) -> None:
    page = tmp_path / "r.html"
    scores = write_scores(table, tmp_path / "s.parquet")
    done = cli("report", scores, "-o", page, "--pictures", "3")
    assert "no picture for 9 of 12 rows" in done.stderr
    assert len(part(page, "images")) == 3
    assert part(page, "data")["pictures"]["of"][0] >= 0


def test_many_rows_show_extremes_and_a_sample(cli: Cli, tmp_path: Path) -> None:
    count = 12_000
    prompts = [f"prompt {i // 4}" for i in range(count)]
    rng = np.random.default_rng(0)
    table = scored([f"{i}.png" for i in range(count)], prompts)
    for axis in ("overall", "alignment", "coherence", "style"):
        mu = rng.normal(size=count).astype(np.float32)
        for name, values in ((axis, 1 / (1 + np.exp(-mu))), (f"{axis}_mu", mu)):
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
    errors = dict.fromkeys(range(0, count, 400), ("BrokenMediaError", "torn"))
    table, page = with_errors(table, errors), tmp_path / "r.html"
    scores = write_scores(table, tmp_path / "s.parquet")
    done = cli("report", scores, "-o", page, "--pictures", 0)
    assert done.returncode == 0, done.stderr
    assert "12000 rows, 10000 of them shown" in done.stderr
    data = part(page, "data")
    whole, ids = data["whole"], [int(name.split()[1]) for name in data["id"]]
    assert (whole["rows"], whole["failed"], whole["prompts"]) == (count, 30, 3000)
    assert whole["errors"] == [["BrokenMediaError", 30]]
    assert sum(whole["spread"]["style"]["bins"]) == count - 30
    for axis in ("overall", "style"):
        mu = table.column(f"{axis}_mu").to_numpy(zero_copy_only=False)
        assert {int(np.nanargmax(mu)), int(np.nanargmin(mu))} <= set(ids)
        groups = np.array([-np.inf if np.isnan(g).sum() > 2 else np.nanmax(g) - np.nanmin(g)
                           for g in mu.reshape(-1, 4)])  # fmt: skip
        widest = int(groups.argmax())
        ends = [
            4 * widest + int(at(mu.reshape(-1, 4)[widest])) for at in (np.nanargmax, np.nanargmin)
        ]
        shown = [[ids[best], ids[worst]] for best, worst, _ in whole["contests"][axis]["shown"]]
        assert ends in shown
        assert len(shown) < whole["contests"][axis]["total"] == 3000


def test_long_texts_show_fewer_rows(cli: Cli, tmp_path: Path) -> None:
    prompts = [f"<{i}> " + "<'&" * 1000 for i in range(2000)]
    page = tmp_path / "r.html"
    scores = write_scores(scored([None] * 2000, prompts), tmp_path / "s.parquet")
    done = cli("report", scores, "-o", page)
    assert done.returncode == 0, done.stderr
    assert page.stat().st_size < 12e6
    data = part(page, "data")
    assert 100 < data["rows"] < data["whole"]["rows"] == 2000


def test_pictures_are_found_from_elsewhere(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar_of(tmp_path / "x.tar", {"a.png": png(1)})
    parquet_of(tmp_path / "y.parquet", [("b.png", png(2))])
    (tmp_path / "c.png").write_bytes(png(3))
    monkeypatch.chdir(tmp_path)
    asked = ("--prompt", "x", "--model", "tiny", "-q", "-o", "s.jsonl")
    assert cli("score", "x.tar", "y.parquet", "c.png", *asked).returncode == 0
    (tmp_path / "pages").mkdir()
    monkeypatch.chdir("pages")
    done = cli("report", "../s.jsonl", "-o", "r.html")
    assert (done.returncode, "no picture" in done.stderr) == (0, False), done.stderr
    assert len(part(Path("r.html"), "images")) == 3
    assert part(Path("r.html"), "data")["link"] == [None, None, "./../c.png"]
    for name in ("x.tar", "y.parquet", "c.png"):
        (tmp_path / name).rename(tmp_path / "pages" / name)
    done = cli("report", "../s.jsonl", "-o", "s.html")
    assert (done.returncode, "none of 3 media found" in done.stderr) == (3, True)
    done = cli("report", "../s.jsonl", "-o", "t.html", "--root", ".")
    assert (done.returncode, len(part(Path("t.html"), "images"))) == (0, 3)


def test_groups_to_compete_within(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    scores = write_scores(table, tmp_path / "s.parquet")
    assert cli("report", scores, "-o", page, "--per", "generator").returncode == 0
    group = part(page, "data")["group"]
    assert (group["name"], group["labels"]) == ("generator", ["ant", "bee"])
    assert group["codes"] == [0, 0, 0, 1, 1, 1] * 2
    # No row has a group, so the prompts compete.
    assert cli("report", scores, "-o", page, "--overwrite", "--per", "group").returncode == 0
    assert part(page, "data")["group"]["labels"] == ["prompt 0", "prompt 1", "prompt 2"]
    refused(cli("report", scores, "-o", page, "--overwrite", "--per", "no"), 2, "no column no")


def test_a_leaderboard_of_generators(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    scores = write_scores(table, tmp_path / "s.parquet")
    done = cli("report", scores, "-o", page, "--by", "generator")
    assert done.returncode == 0, done.stderr
    board = part(page, "data")["leaderboard"]
    assert board["by"] == "generator"
    names = {standing["generator"] for standing in board["boards"][0]["standings"]}
    assert names == {"ant", "bee"}
    [means] = part(page, "data")["whole"]["tables"]
    assert [row[:3] for row in means["rows"]] == [["ant", 6, 0], ["bee", 6, 0]]
    overall = table.column("overall").to_numpy()[[0, 1, 2, 6, 7, 8]].mean()
    assert means["rows"][0][3] == pytest.approx(overall, abs=1e-4)


def test_columns_that_do_not_exist(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    for scores in (write_scores(table, tmp_path / "s.parquet"), tmp_path / "s.jsonl"):
        if scores.suffix == ".jsonl":
            cli("filter", tmp_path / "s.parquet", "--ok-only", "-o", scores)
        for flag in ("--by", "--per"):
            done = cli("report", scores, "-o", tmp_path / "r.html", flag, "typo")
            refused(done, 2, "no column typo; expected one of: id, media", "generator")
    done = cli("report", scores, "-o", tmp_path / "r.html", "--by", "kind")
    assert (done.returncode, "report without leaderboard" in done.stderr) == (0, True)
    assert "expected two or more" in part(tmp_path / "r.html", "data")["no_board"]
    assert "The generators are not compared: " in done.stderr


def test_many_rows_keep_prompts_that_tell_generators_apart(cli: Cli, tmp_path: Path) -> None:
    count = 12_000
    makers = [f"maker {i % 3}" for i in range(count)]
    mu = np.random.default_rng(1).normal(size=count).astype(np.float32)
    # On one prompt the weakest generator wins by far, with both of its pictures.
    mu[[6001, 6004]], mu[6000] = 30, -1
    table = scored([f"{i}.png" for i in range(count)],
                   [f"prompt {i // 6}" for i in range(count)], generator=makers)  # fmt: skip
    for name, values in (("overall", 1 / (1 + np.exp(-mu))), ("overall_mu", mu)):
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    page = tmp_path / "r.html"
    scores = write_scores(table, tmp_path / "s.parquet")
    done = cli("report", scores, "-o", page, "--pictures", 0, "--by", "generator")
    assert done.returncode == 0, done.stderr
    data = part(page, "data")
    ids = [int(name.split()[1]) for name in data["id"]]
    duels = [(ids[a], ids[b], gap) for a, b, gap in data["whole"]["duels"]]
    assert {6000, 6001, 6002, 6003, 6004, 6005} <= set(ids)
    first = max(duels, key=lambda duel: duel[2])
    assert first[0] in (6001, 6004)
    pairs = {(makers[a], makers[b]) for a, b, _ in duels}
    assert len(pairs) == 6
    assert len(duels) == 18
    assert page.stat().st_size < 3e6


def test_links_to_explanations(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    scores = write_scores(table, tmp_path / "s.parquet")
    report = ("report", scores, "-o", tmp_path / "r.html", "--explain")
    refused(cli(*report, tmp_path / "no.html"), 2, "--explain", "does not exist")
    (tmp_path / "why").mkdir()
    refused(cli(*report, tmp_path / "why"), 2, "no .html file in the folder")
    (tmp_path / "why" / "a.html").write_text("<p>nothing</p>")
    refused(cli(*report, tmp_path / "why"), 2, "no explanation of an item")
    # By the row's id, and by the path of its media.
    path = quote(str(tmp_path / "in" / "5.png"), safe="")
    page = f'<article id="item-item%202"></article><article id="item-{path}">'
    (tmp_path / "why" / "b 1.html").write_text(page)
    assert cli(*report, tmp_path / "why").returncode == 0
    explained = part(tmp_path / "r.html", "data")["explained"]
    link = "./why/b%201.html#item-"
    assert explained == {"2": f"{link}item%202", "5": link + path}


def test_a_bundle_is_bounded(cli: Cli, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1400, 3)).astype(np.uint8)
    media = []
    for i in range(3):
        Image.fromarray(np.roll(noise, i)).save(tmp_path / f"{i}.png", compress_level=1)
        media.append(str(tmp_path / f"{i}.png"))
    scores, out = write_scores(scored(media, ["p"] * 3), tmp_path / "s.parquet"), tmp_path / "b.zip"
    refused(
        cli("report", scores, "--bundle", "-o", tmp_path / "b.html"), 2, "a bundle ends in .zip"
    )
    refused(cli("report", scores, "-o", out), 2, "a report ends in .html")
    page = ("report", scores, "-o", tmp_path / "r.html")
    refused(cli(*page, "--bundle-mb", 5), 2, "--bundle-mb needs --bundle")
    done = cli("report", scores, "--bundle", "--bundle-mb", 1, "-o", out)
    assert (done.returncode, "bundle: 1 file (" in done.stderr) == (0, True), done.stderr
    assert "2 left out, raise --bundle-mb" in done.stderr
    with ZipFile(out) as file:
        assert sorted(file.namelist()) == ["b/index.html", "b/pictures/00000.webp"]
        with Image.open(file.open("b/pictures/00000.webp")) as large:
            assert max(large.size) == 1280
    refused(cli("report", scores, "--bundle", "-o", out), 2, "exists", "--overwrite")


def test_a_bundle_takes_no_media_from_elsewhere(cli: Cli, tmp_path: Path) -> None:
    own, private = picture(tmp_path, "sent/own.png", 1), picture(tmp_path, "home/private.png", 2)
    (tmp_path / "sent" / "link.png").symlink_to(private)
    media = [
        own,
        private,
        str(tmp_path / "sent/../home/private.png"),
        str(tmp_path / "sent/link.png"),
    ]
    scores = write_scores(scored(media, ["p"] * 4), tmp_path / "sent" / "s.parquet")
    done = cli("report", scores, "--bundle", "-o", tmp_path / "a.zip")
    assert done.returncode == 0, done.stderr
    assert "no picture for 3 of 4 rows: outside the folder of the scored file" in done.stderr
    assert "bundle: 1 file (" in done.stderr
    asked = ("--bundle", "-o", tmp_path / "b.zip", "--root", tmp_path / "home")
    assert "no picture" not in cli("report", scores, *asked).stderr
    assert "no picture" not in cli("report", scores, "-o", tmp_path / "c.html").stderr
    alone = write_scores(scored([private], ["p"]), tmp_path / "sent" / "t.parquet")
    done = cli("report", alone, "--bundle", "-o", tmp_path / "d.zip")
    assert (done.returncode, "--root FOLDER" in done.stderr) == (3, True), done.stderr


@pytest.mark.parametrize(
    ("name", "folder"), [("...zip", "report"), ("b\udcff?.zip", "b__"), ("a\\b.c.zip", "a_b.c")]
)
def test_a_bundle_unzips_into_its_own_folder(
    cli: Cli, table: pa.Table, tmp_path: Path, name: str, folder: str
) -> None:
    scores = write_scores(table.slice(0, 1), tmp_path / "s.parquet")
    done = cli("report", scores, "--bundle", "-o", tmp_path / name)
    assert done.returncode == 0, done.stderr
    with ZipFile(tmp_path / name) as file:
        names = [f"{folder}/index.html", f"{folder}/pictures/00000.webp"]
        assert sorted(file.namelist()) == names


def test_links_to_explanations_count_as_size(table: pa.Table, tmp_path: Path) -> None:
    rows = chosen_rows(ScoreTable(table), None, None, Places(tmp_path))
    contents = Contents("t", {}, None, rows, Pictures([], [], []))
    explained = replace(contents, explained={0: "./" + "x" * 5000})
    assert room_for_pictures(contents) - room_for_pictures(explained) > 5000


def test_a_page_without_pictures_is_small(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    scores, page = write_scores(table, tmp_path / "s.parquet"), tmp_path / "r.html"
    assert cli("report", scores, "-o", page, "--pictures", 0, "--by", "generator").returncode == 0
    assert page.stat().st_size < 150_000


def test_near_duplicates_are_counted(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    looks = [rng.bytes(32).hex() for _ in range(12)]
    # Of one prompt two pictures look alike; of another prompt this look counts again.
    looks[3] = looks[1] = looks[0]
    table = table.append_column("phash", pa.array(looks))
    scores = write_scores(table, tmp_path / "s.parquet")
    done = cli("report", scores, "-o", tmp_path / "r.html")
    assert "1 near-duplicate (same look) within a prompt: 11 different looks." in done.stderr
    table = table.filter(pa.array([i != 3 for i in range(12)]))
    scores = write_scores(table, tmp_path / "t.parquet")
    done = cli("report", scores, "-o", tmp_path / "t.html")
    assert "There are no near-duplicates within a prompt." in done.stderr


def test_generators_of_folders(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    ids = [f"{('ant', 'bee')[i % 2]}/{i}.png" for i in range(len(table))]
    table = table.drop_columns("generator")
    table = table.set_column(table.column_names.index("id"), "id", pa.array(ids))
    page = tmp_path / "r.html"
    done = cli("report", write_scores(table, tmp_path / "s.parquet"), "--by", "folder", "-o", page)
    assert done.returncode == 0, done.stderr
    assert part(page, "data")["by"] == {
        "name": "folder",
        "values": ["ant", "bee"],
        "codes": [i % 2 for i in range(len(table))],
    }


def test_agreement_with_people(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    page, pairs = tmp_path / "r.html", tmp_path / "pairs.jsonl"
    lines = [{"media_a": f"in/{i}.png", "media_b": f"in/{i + 3}.png", "prompt": f"prompt {i % 3}",
              "overall": 1.0} for i in range(9)]  # fmt: skip
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sigma = pa.array(np.full(12, 0.5), pa.float32())
    for axis in ("overall", "alignment", "coherence", "style", "temporal"):
        table = table.append_column(f"{axis}_sigma", sigma)
    scores = write_scores(table, tmp_path / "s.parquet")
    done = cli("report", scores, "-o", page, "--pairs", pairs)
    assert done.returncode == 0, done.stderr
    found = part(page, "data")["agreement"]
    assert (found["pairs"], found["accuracy"], found["calibrated"]) == (9, 1.0, False)
    assert sum(point[2] for point in found["points"]) == 18
    assert "all 9 pairs: there is no calibration" in done.stderr
    same = cli("evaluate", pairs, "--scores", scores, "--json")
    assert json.loads(same.stdout)["aggregate"]["ece"] == found["ece"]
    embedded = Path(librehps.__file__).parent / "embedded" / "calibration.json"
    calibrated = ("--overwrite", "--calibration", embedded)
    refused(cli("report", scores, "-o", page, *calibrated), 2, "--pairs")
    assert cli("report", scores, "-o", page, *calibrated, "--pairs", pairs).returncode == 0
    found = part(page, "data")["agreement"]
    assert found["calibrated"]
    assert found["held_out"]
    assert found["ece_calibrated"] is not None
    tiny = json.loads(embedded.read_text())
    model = {name: tiny[name] for name in ("model", "fingerprint")}
    known = write_scores(table, tmp_path / "tiny.parquet", model)
    done = cli("report", known, "-o", page, "--overwrite", "--pairs", pairs)
    assert part(page, "data")["agreement"] == found, "the calibration of the model is found"
    assert "none is in the tenth" in done.stderr
    lacking = cli("report", scores, "-o", page, "--overwrite", "--pairs", tmp_path / "no.jsonl")
    refused(lacking, 2, "no.jsonl")


def test_mixed_settings(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    one = write_scores(table, tmp_path / "one.parquet")
    two = write_scores(table, tmp_path / "two.parquet", {"model": "other", "dtype": "float32"})
    refused(cli("report", one, two, "-o", tmp_path / "r.html"), 2, "differ in settings: model")


@pytest.mark.parametrize("name", ["status", "overall_mu"])
def test_a_missing_column(cli: Cli, table: pa.Table, tmp_path: Path, name: str) -> None:
    scores = write_scores(table.drop_columns([name]), tmp_path / "s.parquet")
    refused(cli("report", scores, "-o", tmp_path / "r.html"), 2, f"lacks the columns {name}")


def test_one_row_and_few_columns_suffice(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    table = table.slice(0, 1).select(["media", "status", "overall", "overall_mu"])
    pixels = pa.array([b"a picture"])
    scores = write_scores(table.append_column("pixels", pixels), tmp_path / "s.parquet")
    assert cli("report", scores, "-o", tmp_path / "r.html").returncode == 0
    data = part(tmp_path / "r.html", "data")
    assert (data["rows"], list(data["axes"]), data["own"]) == (1, ["overall"], {})


def test_nothing_scored(cli: Cli, table: pa.Table, tmp_path: Path) -> None:
    errors = dict.fromkeys(range(12), ("EmptyFileError", "it is empty"))
    scores = write_scores(with_errors(table, errors), tmp_path / "s.parquet")
    words = ("all 12 rows", "EmptyFileError 12")
    refused(cli("report", scores, "-o", tmp_path / "r.html"), 1, *words)
    scores = write_scores(table.slice(0, 0), tmp_path / "none.parquet")
    refused(cli("report", scores, "-o", tmp_path / "r.html"), 1, "holds no rows")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("output", "words"),
    [("r.pdf", "ends in .html"), ("no/r.html", "does not exist"), ("dir.html", "is a folder")],
)
def test_outputs_that_cannot_be(
    cli: Cli, table: pa.Table, tmp_path: Path, output: str, words: str
) -> None:
    (tmp_path / "dir.html").mkdir()
    scores = write_scores(table, tmp_path / "s.parquet")
    refused(cli("report", scores, "-o", tmp_path / output), 2, words)


def test_files_that_are_not_scores(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text("not json\n")
    refused(cli("report", tmp_path / "s.jsonl", "-o", tmp_path / "r.html"), 2, "cannot be read")
    refused(cli("report", tmp_path / "no.jsonl", "-o", tmp_path / "r.html"), 2, "no such file")
