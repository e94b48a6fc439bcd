"""The parts of a report with which a team looks closer and passes things on."""

import json
import re
import shutil
from pathlib import Path
from zipfile import ZipFile

import pyarrow as pa
import pytest
from playwright.sync_api import Page, expect

from browser_pages import READY, Visit, loaded, numbers, shown
from conftest import EXAMPLES, Cli
from librehps.decide.leaderboard import leaderboard
from report_data import page_of, picture, scored, write_scores

pytest_plugins = ["browser_fixtures"]


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three generators with two pictures of each of eight prompts; `ant` is the best by far."""
    folder = tmp_path_factory.mktemp("contest")
    media = [picture(folder, f"in/{i}.png", 5 * i) for i in range(48)]
    makers = [("ant", "bee", "cow")[i // 16] for i in range(48)]
    table = scored(media, [f"prompt {i % 8}" for i in range(48)], generator=makers)
    board = leaderboard(table, "generator")
    return page_of(table, folder / "r.html", by="generator", leaderboard=board)


def opened(page: Page) -> int:
    """Return the row that the viewer shows."""
    return page.evaluate("viewer.row")


def test_a_conclusion_stands_at_the_top(contest: Path, visit: Visit) -> None:
    first = visit(contest).locator("#conclusion p").first
    expect(first).to_have_text(re.compile(r"ant has the best overall scores of 3 generators\."))
    expect(first).to_have_text(re.compile(r"bee.*100 % of 8 shared prompts \(95 % interval \d+ %"))


def test_a_cell_of_the_matrix_opens_its_prompts_side_by_side(contest: Path, visit: Visit) -> None:
    page = visit(contest)
    page.get_by_role("button", name="cow beats ant").click()
    expect(page.locator("#sides .body")).to_contain_text("No prompt on this page")
    page.get_by_role("button", name="ant beats cow").click()
    lineups = page.locator("#sides .lineup")
    expect(lineups).to_have_count(4)
    expect(lineups.first).to_contain_text("ant ahead by")
    # The best of two samples each, of the same prompt; scores fall with the row.
    best = numbers(page, "#sides .lineup:first-child")
    assert [row % 8 for row in best] == [best[0] % 8] * 2
    assert (best[0] < 8, 32 <= best[1] < 40) == (True, True)
    assert all(loaded(page, "#sides .lineup:first-child"))
    page.locator("#sides").get_by_label("Samples").select_option("all")
    assert len(numbers(page, "#sides .lineup:first-child")) == 4
    page.locator("#sides select").nth(1).select_option("all")
    assert page.locator("#sides .lineup").first.locator(".side").count() == 3


def test_the_viewer_goes_through_rows_by_key(contest: Path, visit: Visit) -> None:
    page = visit(contest)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#rows .open").first.click()
    image = page.locator("dialog .large img")
    # The original, which is larger than its thumbnail in a page that is sent alone.
    expect(page.locator("dialog .large")).to_have_class(re.compile("full"))
    assert [url for url in asked if url.startswith("file:")] == [image.get_attribute("src")]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert opened(page) == 2
    expect(page.locator("dialog")).to_contain_text("3 of 48")
    page.get_by_role("button", name="Previous (left arrow)").click()
    assert opened(page) == 1
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key)
    assert opened(page) == 1
    page.keyboard.press("z")
    expect(page.locator("dialog")).to_have_class(re.compile("zoomed"))
    page.keyboard.press("s")
    page.keyboard.press("Escape")
    expect(page.locator("#selection .count")).to_have_text("1 selected")
    page.locator("#gallery .open").nth(1).click()
    page.keyboard.press("ArrowLeft")
    assert opened(page) == numbers(page, "#gallery")[0]


def test_the_address_holds_the_state(contest: Path, visit: Visit) -> None:
    page = visit(contest)
    page.locator("#rows .filters").get_by_label("generator").select_option(label="bee")
    page.locator("#rows").get_by_role("button", name="Style").click()
    page.locator("#rows .open").nth(2).click()
    page.keyboard.press("s")
    row, address = opened(page), page.url
    assert "item+" in address
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.go_back()
    assert shown(page)[0] == 16
    page.go_back()
    assert shown(page)[0] == 0
    page.go_forward()
    assert shown(page)[0] == 16
    # Another person opens the address.
    other = visit(contest, state="#" + address.partition("#")[2])
    assert opened(other) == row
    expect(other.locator("#selection .count")).to_have_text("1 selected")
    other.keyboard.press("Escape")
    assert shown(other)[0] == 31
    page = visit(contest, state="#maker=%3Cb%3E&sort=x&page=-7&s.page=-1.5&open=no&pick=no")
    expect(page.locator("#sides .pager")).to_contain_text("1–4 of 8")
    assert len(shown(page)) == 48


def test_rows_of_one_id_have_their_own_address(tmp_path: Path, visit: Visit) -> None:
    table = scored([picture(tmp_path, f"{i}.png", 9) for i in range(4)], ["a", "b"] * 2)
    table = table.set_column(0, "id", pa.array(["x", "x (2)", "x", "x"]))
    page = visit(page_of(table, tmp_path / "r.html"))
    page.locator("#conclusion a").last.click()
    assert opened(page) == 3
    other = visit(tmp_path / "r.html", state="#" + page.url.partition("#")[2])
    assert opened(other) == 3
    names = other.evaluate("[0, 1, 2, 3].map(addressOf)")
    assert names == ["x", "x (2)", "x (3)", "x (4)"]
    assert other.evaluate("[0, 1, 2, 3].map(addressOf).map(rowOf)") == [0, 1, 2, 3]


def test_a_selection_is_exported(contest: Path, visit: Visit, cli: Cli, tmp_path: Path) -> None:
    page = visit(contest)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for row in (3, 17):
        page.locator(f"#rows tr[data-row='{row}']").get_by_role("checkbox").check()
    page.get_by_role("button", name="Copy ids").click()
    expect(page.locator("#said")).to_have_text("Copied 2 ids")
    assert page.evaluate("navigator.clipboard.readText()") == "item 3\nitem 17\n"
    page.get_by_role("button", name="Copy paths").click()
    expect(page.locator("#said")).to_have_text("Copied 2 paths")
    paths = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert [Path(path).name for path in paths] == ["3.png", "17.png"]
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download JSONL").click()
    file = tmp_path / saved.value.suggested_filename
    saved.value.save_as(file)
    done = cli("filter", file, "--min", "overall_mu=-9", "--null")
    assert (done.returncode, done.stdout.split("\0")[:-1]) == (0, paths)
    assert json.loads(file.read_text().splitlines()[0])["generator"] == "ant"
    page.get_by_role("button", name="Show only these").click()
    assert sorted(shown(page)) == [3, 17]
    page.get_by_role("button", name="Clear the selection").click()
    assert len(shown(page)) == 48
    expect(page.locator("#selection")).to_be_hidden()


def test_a_small_clip_plays(tmp_path: Path, visit: Visit) -> None:
    clip = tmp_path / "steady.mp4"
    shutil.copy(EXAMPLES / "media" / "steady.mp4", clip)
    table = scored([str(clip), picture(tmp_path, "a.png", 1)], ["a clip", "a still"])
    table = table.set_column(2, "kind", pa.array(["video", "image"]))
    file = page_of(table, tmp_path / "r.html")
    clip.unlink()
    page = visit(file)
    page.locator("#rows .open").first.click()
    video = page.locator("dialog video")
    assert video.get_attribute("src", timeout=5000).startswith("data:video/mp4;base64,")
    assert video.evaluate("v => v.play().then(() => v.videoWidth, (error) => error.name)") in (
        256,
        "NotSupportedError",
    )


def test_a_bundle_works_elsewhere(cli: Cli, tmp_path: Path, visit: Visit) -> None:
    (tmp_path / "work").mkdir()
    media = [picture(tmp_path, f"work/{i} <b>.png", 40 * i) for i in range(4)]
    media.append(shutil.copy(EXAMPLES / "media" / "steady.mp4", tmp_path / "work" / "c.mp4"))
    table = scored([str(one) for one in media], ["one", "two"] * 2 + ["clip"])
    table = table.set_column(2, "kind", pa.array(["image"] * 4 + ["video"]))
    why = '<article id="item-item%203">why</article>'
    (tmp_path / "work" / "why.html").write_text(why)
    scores = write_scores(table, tmp_path / "work" / "s.parquet")
    done = cli("report", scores, "--bundle", "-o", tmp_path / "team.zip", "--explain",
               tmp_path / "work" / "why.html")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "bundle: 6 files (" in done.stderr
    ZipFile(tmp_path / "team.zip").extractall(tmp_path / "sent")
    shutil.rmtree(tmp_path / "work")
    page = visit(tmp_path / "sent" / "team" / "index.html")
    page.locator("#rows .open").nth(1).click()
    expect(page.locator("dialog .large")).to_have_class(re.compile("full"))
    assert page.locator("dialog .large img").get_attribute("src").startswith("file:")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    with page.context.expect_page() as told:
        page.get_by_role("link", name="Why this score").nth(-1).click()
    expect(told.value.locator("article:target")).to_have_text("why")
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog video").get_attribute("src") == "./clips/00004.mp4"


def test_a_page_that_was_sent_alone_says_so(tmp_path: Path, browser) -> None:
    table = scored([picture(tmp_path, f"{i}.png", 9) for i in range(2)], ["a", "b"])
    file = page_of(table, tmp_path / "sub.html")
    (tmp_path / "0.png").unlink()
    page = browser.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector(READY, state="attached")
    page.locator("#rows .open").first.click()
    expect(page.locator("dialog .note")).to_contain_text("librehps report --bundle")
    assert loaded(page, "dialog") == [True]
    page.close()
