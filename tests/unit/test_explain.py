"""Explanations of scores: words of the prompt, regions of the picture, frames of a clip."""

import json
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import EXAMPLES, Cli
from librehps import LibreHPS
from librehps.errors import UnsupportedMediaError, UsageError
from librehps.explain import explanation, words
from librehps.explain.anchors import anchor_of
from librehps.explain.colors import overlay
from librehps.explain.explanation import Explanation
from librehps.explain.prompt_parts import phrases_of, swapped, without, words_of
from librehps.explain.regions import MAX_WINDOWS, RegionMap, edges_of, windows_of
from librehps.explain.write import write_explanations
from librehps.media.images import load_pixels
from librehps.models.librehps.batch import collate
from librehps.types import Item

MEDIA = EXAMPLES / "media"
PROMPT = (MEDIA / "match.txt").read_text().strip()
TINY = ("-m", "tiny", "--prompt-from", "sidecar")


@pytest.mark.parametrize(
    ("prompt", "words", "phrases"),
    [
        (PROMPT, ["red", "circle", "left of", "blue", "square"], ["a red circle", "a blue square"]),
        ("best quality, a cat on the bed", ["best", "quality", "cat", "on", "bed"],
         ["best quality", "a cat", "the bed"]),
        ("一只猫 sits", ["一", "只", "猫", "sits"], []),
        ("a man's well-known hat", ["man's", "well-known", "hat"], []),
        ("(hat:1.25)", ["hat", "1.25"], []),
        ("…!", [], []),
    ],
)  # fmt: skip
def test_a_prompt_falls_into_words_and_phrases(
    prompt: str, words: list[str], phrases: list[str]
) -> None:
    assert [part.text for part in words_of(prompt)] == words
    assert [part.text for part in phrases_of(prompt)] == phrases
    assert all(prompt[p.start : p.end] == p.text for p in words_of(prompt))


def test_an_article_agrees_with_the_word_after_it() -> None:
    prompt = "An orange cross, a red star"
    orange, _, red, _ = words_of(prompt)
    assert without(prompt, orange) == "A cross, a red star"
    assert swapped(prompt, red, "orange") == "An orange cross, an orange star"


@pytest.mark.parametrize(
    ("prompt", "at", "rest"),
    [
        ("a  red cross,\n on grey", 0, "a  cross,\n on grey"),
        ("best, quality, a cat ", 1, "best, a cat "),
        ("red cross.", 1, "red."),
        ("cat, dog", 1, "cat"),
        ("cat, dog", 0, "dog"),
        ("一只猫", 1, "一猫"),
        ("(red) cross", 0, "() cross"),
        ("red", 0, ""),
    ],
)
def test_a_prompt_without_a_word_is_else_unchanged(prompt: str, at: int, rest: str) -> None:
    assert without(prompt, words_of(prompt)[at]) == rest


def test_variants_share_the_vision_tokens_and_score_as_alone(tiny: LibreHPS) -> None:
    processor = tiny._processor.with_budget(0)
    pixels = [*torch.randint(0, 255, (2, 1, 3, 96, 128), dtype=torch.uint8)]
    items = [
        processor.prepare(frames, "image", processor.encode(prompt))
        for prompt, frames in (("red", pixels[0]), ("a blue cross", pixels[1]), ("x", pixels[0]))
    ]
    sharing = [replace(item, shares_pixels=True) for item in items]
    shared, alone = (collate(batch, tiny.device) for batch in (sharing, items))
    assert (len(shared.grids), len(alone.grids)) == (2, 3)
    found, expected = (tiny._model.launch(batch)() for batch in (sharing, items))
    for one, two in zip(found, expected, strict=True):
        assert one.mu == pytest.approx(two.mu, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "blamed"),
    [
        ("match", set()),
        ("wrong_colour", {"red"}),
        ("wrong_shape", {"square"}),
        ("lost_square", {"blue", "square"}),
        ("swapped", {"left of"}),
    ],
)
def test_the_word_that_a_picture_fails_is_blamed(
    tiny: LibreHPS, name: str, blamed: set[str]
) -> None:
    found = tiny.explain_image(MEDIA / f"{name}.png", PROMPT, by=["words"])
    assert found.words is not None and found.regions is None
    # The first is the word that fails; a scene with a lost thing fails both of its words.
    assert {word.text for word in found.words.blamed[: len(blamed)]} == blamed
    assert len(found.words.blamed) <= 2
    alone = tiny.score_image(MEDIA / f"{name}.png", PROMPT)
    assert found.words.mu == pytest.approx(alone["alignment"].mu, abs=1e-3)
    red = found.words.words[0]
    without_red = tiny.score_image(MEDIA / f"{name}.png", "a circle left of a blue square")
    assert red.left_out == pytest.approx(
        without_red["alignment"].mu - alone["alignment"].mu, abs=2e-3
    )


def test_a_window_costs_what_the_picture_gains_without_it(tiny: LibreHPS) -> None:
    picture = load_pixels((MEDIA / "torn.png").read_bytes(), "torn")[:, ::2, ::2].contiguous()
    found = tiny.explain_image(picture, PROMPT, by=["regions"])
    assert found.words is None and found.regions is not None
    assert found.regions.axis == "coherence" and len(found.regions.costs) == 7
    covered = picture.clone()
    covered[:, :32, :32] = picture.float().mean((1, 2), keepdim=True).round().to(torch.uint8)
    whole, rest = (tiny.score_image(one, PROMPT)["coherence"].mu for one in (picture, covered))
    assert found.regions.costs[0][0] == pytest.approx(rest - whole, abs=2e-3)
    assert all(0 <= place <= 1 for place in found.regions.peak)


def test_the_circle_is_drawn_to_costly_windows_beside_the_costliest() -> None:
    costs = [[0.0] * 7 for _ in range(7)]
    costs[3][3], costs[4][3], costs[0][0] = 2.0, 1.9, 1.9
    found = RegionMap("coherence", 1.0, tuple(map(tuple, costs)))
    # Windows are 2 of 8 cells high, and the circle lies between the middles of the two.
    assert found.peak[0] == 4 / 8 and 4.4 / 8 < found.peak[1] < 4.5 / 8


def test_the_circle_marks_the_window_that_costs_most() -> None:
    costs = [[0.0] * 15 for _ in range(7)]
    costs[1][13] = 2.0
    found = RegionMap("coherence", 1.0, tuple(map(tuple, costs)))
    assert found.peak == pytest.approx((14 / 16, 2 / 8))
    layer = overlay(torch.tensor(found.costs), 160, 320)[3]
    row, column = divmod(int(layer.argmax()), 320)
    assert (column / 320, row / 160) == pytest.approx(found.peak, abs=0.01)


def test_a_frame_that_flashes_costs_most(tiny: LibreHPS) -> None:
    frames = torch.stack([torch.full((3, 128, 128), 90, dtype=torch.uint8)] * 4)
    frames[:, :, 40:80, 40:80] = 200
    frames[1] = frames[1] // 2
    found = tiny.explain_video(frames, "a white square", by=["frames"])
    assert found.frames is not None and len(found.frames.frames) == 4
    assert found.frames.peak == 1
    with pytest.raises(UnsupportedMediaError, match="two or more frames"):
        tiny.explain_image(MEDIA / "match.png", PROMPT, by=["frames"])


def test_a_wrong_request_is_refused(tiny: LibreHPS, tmp_path: Path) -> None:
    image = MEDIA / "match.png"
    with pytest.raises(UsageError, match=r"axis: expected one of overall, alignment.*'beauty'"):
        tiny.explain_image(image, PROMPT, axis="beauty")
    with pytest.raises(UnsupportedMediaError, match="an image has no score on temporal"):
        tiny.explain_image(image, PROMPT, axis="temporal")
    with pytest.raises(UsageError, match=r"by: expected words, regions or frames, got 'pixels'"):
        tiny.explain_image(image, PROMPT, by=["pixels"])
    found = tiny.explain_image(image, "red", by="words")
    with pytest.raises(UsageError, match="map of regions"):
        write_explanations([found], tmp_path / "x.png")
    with pytest.raises(UsageError, match=r"ends in \.html or \.png"):
        write_explanations([found], tmp_path / "x.pdf")


def anchors_in(page: Path) -> set[str]:
    return set(re.findall(r' id="([^"]*)"', page.read_text()))


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_command_prints_json_in_a_pipe_and_writes_a_page(cli: Cli, tmp_path: Path) -> None:
    broken, hostile = tmp_path / "broken.png", tmp_path / "<b>.png"
    broken.write_bytes(b"no picture")
    hostile.write_bytes((MEDIA / "wrong_colour.png").read_bytes())
    page = tmp_path / "why.html"
    prompt = 'a red <script>alert("x")</script> circle'
    done = cli("explain", hostile, broken, MEDIA / "jumping.mp4", "-m", "tiny", "-p", prompt,
               "-o", page)  # fmt: skip
    assert done.returncode == 3
    still, error, clip = records(done.stdout)
    assert set(still) == {"id", "media", "kind", "prompt", "status", "words", "regions", "frames",
                          "forwards", "note", "settings"}  # fmt: skip
    assert set(still["words"]["words"][0]) == {"text", "start", "end", "left_out", "swapped",
                                               "blame", "better"}  # fmt: skip
    assert still["frames"] is None and len(clip["frames"]["frames"]) == 4
    assert (error["status"], error["error_type"]) == ("error", "UnsupportedMediaError")
    html = page.read_text()
    assert "<script" not in html and "<b>.png" not in html and "&lt;b&gt;.png" in html
    assert "http" not in html and html.count("<article ") == 3
    assert "No explanation: " in html and html.endswith("</html>\n")
    assert anchors_in(page) == {
        anchor_of(str(path)) for path in (hostile, broken, MEDIA / "jumping.mp4")
    }
    again = cli("explain", hostile, "-m", "tiny", "-p", prompt, "-o", page)
    assert again.returncode == 2 and "already exists" in again.stderr


def test_an_interrupted_command_writes_the_page_of_what_is_explained(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = explanation.explain

    def interrupted(item: Item, *args: Any, **more: Any) -> Explanation:
        if item.media == MEDIA / "torn.png":
            signal.raise_signal(signal.SIGINT)
        return explained(item, *args, **more)

    monkeypatch.setattr(explanation, "explain", interrupted)
    media = [MEDIA / f"{name}.png" for name in ("match", "torn", "swapped")]
    page = tmp_path / "why.html"
    done = cli("explain", *media, *TINY, "--by", "words", "-o", page)
    assert done.returncode == 130 and "1 item not explained" in done.stderr
    assert [Path(row["media"]) for row in records(done.stdout)] == media[:2]
    assert anchors_in(page) == {anchor_of(str(path)) for path in media[:2]}
    assert page.read_text().endswith("</html>\n")


def test_media_of_a_folder_and_a_manifest_are_explained(cli: Cli, tmp_path: Path) -> None:
    folder, page = tmp_path / "out", tmp_path / "why.html"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.png").write_bytes((MEDIA / "match.png").read_bytes())
    (folder / "a.txt").write_text("red")
    model = ("-m", "tiny", "--by", "words")
    done = cli("explain", folder, *model, "--prompt-from", "sidecar", "-o", page)
    assert done.returncode == 3
    assert [row["status"] for row in records(done.stdout)] == ["ok", "error"]
    assert anchors_in(page) == {anchor_of(str(folder / f"{name}.png")) for name in "ab"}
    manifest = tmp_path / "all.csv"
    manifest.write_text("image,text\nout/b.png,blue\n")
    [row] = records(cli("explain", manifest, *model).stdout)
    assert row["prompt"] == "blue" and row["words"] is not None
    refused = cli("explain", folder, *TINY, "-o", tmp_path / "why.png")
    assert refused.returncode == 2 and "one picture, got 2" in refused.stderr


def test_a_clip_of_one_frame_is_explained_as_an_image(tiny: LibreHPS) -> None:
    found = tiny.explain_video(torch.full((1, 3, 64, 64), 90, dtype=torch.uint8), "red")
    assert found.frames is None and found.words is not None and found.regions is not None
    with pytest.raises(UnsupportedMediaError, match="two or more frames"):
        tiny.explain_video(torch.zeros((1, 3, 64, 64), dtype=torch.uint8), "red", by="frames")


def test_a_page_without_an_explanation_is_not_written(cli: Cli, tmp_path: Path) -> None:
    broken, page = tmp_path / "broken.png", tmp_path / "why.html"
    broken.write_bytes(b"no picture")
    assert cli("explain", broken, "-m", "tiny", "-p", "x", "-o", page).returncode == 1
    assert not page.exists()


def test_a_report_links_the_card_of_a_scored_file_to_its_explanation(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for name in ("match", "torn"):
        (tmp_path / "out" / f"{name} 1.png").write_bytes((MEDIA / f"{name}.png").read_bytes())
    model = ("-m", "tiny", "-p", PROMPT)
    assert cli("score", "out", *model, "-o", "s.parquet").returncode == 0
    explained = cli("explain", "out/torn 1.png", *model, "--by", "words", "-o", "why.html")
    assert explained.returncode == 0
    assert cli("report", "s.parquet", "--explain", "why.html", "-o", "r.html").returncode == 0
    assert '"./why.html#item-out%2Ftorn%201.png"' in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("flag", ["--calibration", "--workers", "--cache"])
def test_a_flag_that_no_explanation_uses_is_unknown(cli: Cli, flag: str) -> None:
    done = cli("explain", MEDIA / "match.png", *TINY, flag, "1")
    assert done.returncode == 2 and "No such option" in done.stderr


def test_the_command_prints_a_line_and_bars_on_a_terminal(cli: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "why.png"
    done = cli("explain", MEDIA / "wrong_colour.png", *TINY, "--table", "-o", picture)
    assert done.returncode == 0, done.stderr
    assert "words the picture fails, to the model: red" in done.stdout and "█" in done.stdout
    assert "not the picture" in done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--axis", "beauty"], "axis: expected one of"),
        (["--by", "words,pixels"], "by: expected"),
        (["-o", "x.pdf"], ".html or .png"),
        (["-o", "x.png", "--by", "words"], "map of regions"),
        (["missing.png"], "missing.png"),
    ],
)
def test_a_wrong_command_says_so(cli: Cli, arguments: Sequence[str], message: str) -> None:
    done = cli("explain", MEDIA / "match.png", *arguments, *TINY)
    assert done.returncode == 2 and message in done.stderr


def test_cells_cover_a_picture() -> None:
    tops, lefts = edges_of(96, 160)
    assert (tops[0], tops[-1], lefts[0], lefts[-1]) == (0, 96, 0, 160)
    windows = [*windows_of(96, 160)]
    assert len(windows) == (len(tops) - 2) * (len(lefts) - 2)
    assert {w.bottom - w.top for w in windows} == {24}
    assert {w.right - w.left for w in windows} == {24, 25}


@pytest.mark.parametrize("width", [64, 256, 512, 1600, 64 * 200])
def test_a_long_picture_has_larger_cells_instead_of_more_windows(width: int) -> None:
    for sides in ((64, width), (width, 64)):
        windows = [*windows_of(*sides)]
        assert 49 <= len(windows) <= MAX_WINDOWS
        assert (max(w.bottom for w in windows), max(w.right for w in windows)) == sides


def test_a_coarser_map_says_so(tiny: LibreHPS) -> None:
    picture = torch.full((3, 64, 512), 90, dtype=torch.uint8)
    found = tiny.explain_image(picture, PROMPT, by=["regions"])
    assert found.regions is not None and found.forwards <= MAX_WINDOWS + 1
    assert "cells along the shorter side instead of 8" in found.record()["regions"]["remark"]


@pytest.mark.parametrize(
    ("limit", "remark"),
    [
        (40, None),
        (18, "1 word is only left out"),
        (3, "only the first 3 of 4 words"),
    ],
)
def test_a_long_prompt_has_a_bound(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch, limit: int, remark: str | None
) -> None:
    monkeypatch.setattr(words, "MAX_VARIANTS", limit)
    found = tiny.explain_image(MEDIA / "match.png", "some red circle, blue", by="words")
    assert found.forwards <= limit + 1
    assert found.words is not None
    assert remark == found.words.remark or remark in found.record()["words"]["remark"]


def test_noise_has_no_colour() -> None:
    assert overlay(torch.full((8, 8), 1e-6), 32, 32)[3].max() == 0
    assert overlay(torch.full((8, 8), 1.0), 32, 32)[3].max() > 100
