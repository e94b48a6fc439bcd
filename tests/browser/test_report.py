"""The report, opened as its reader would: in a real browser, from the disk."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, expect

from browser_pages import READY, Visit, loaded, numbers, shown
from conftest import EXAMPLES
from librehps.report.pictures import OVER_LIMIT
from librehps.report.shown import Pictures
from report_data import AGREEMENT, HOSTILE, page_of, picture, scored, webp

pytest_plugins = ["browser_fixtures"]


def test_pictures_load_and_missing_ones_say_why(report: Path, visit: Visit) -> None:
    page = visit(report)
    assert all(loaded(page, "#gallery"))
    assert len(loaded(page, "#rows")) == 20
    assert all(loaded(page, "#rows"))
    for text in page.locator("#gallery img, #rows img").all():
        assert re.fullmatch(r"prompt \d", text.get_attribute("alt") or "")
    reasons = [one.inner_text() for one in page.locator("#rows .none").all()]
    assert sorted(reasons) == ["damaged", "file not found", "media at URLs need --allow-remote",
                               "media has no file"]  # fmt: skip
    expect(page.locator("#pictures-note")).to_contain_text("4 rows have no picture here")


def test_the_head_tells_what_it_is(report: Path, visit: Visit) -> None:
    page = visit(report)
    expect(page.locator("h1")).to_have_text("A report")
    assert page.title() == "A report"
    expect(page.locator("#origin")).to_contain_text("LibreHPS-Test")
    expect(page.locator("#origin")).to_contain_text("0123456789ab")
    facts = page.locator("#facts > div").all_inner_texts()
    assert [fact.split() for fact in facts if "Mean" not in fact] == [
        ["Rows", "24"], ["Prompts", "6"], ["Generators", "3"], ["Errors", "3"],
    ]  # fmt: skip


def test_best_and_worst_of_each_prompt(report: Path, visit: Visit) -> None:
    page = visit(report)
    panel = page.locator("#gallery .panel").filter(has_text="prompt 0")
    data = "all => all.map(e => Number(e.dataset.row))"
    # Rows 0, 6, 12 and 18 are of it, overall falling and style rising with the row.
    assert panel.locator("[data-row]").evaluate_all(data) == [0, 18]
    assert panel.locator(".card").first.locator(".bars .name").all_inner_texts() == [
        "overall", "alignment", "coherence", "style",
    ]  # fmt: skip
    page.locator("#gallery").get_by_label("Axis").select_option("style")
    assert panel.locator("[data-row]").evaluate_all(data) == [18, 0]
    panel.get_by_role("button", name="Show all 4 rows of prompt 0").click()
    assert sorted(shown(page)) == [0, 6, 12, 18]


def test_sort_and_filters_change_what_is_shown(report: Path, visit: Visit) -> None:
    page = visit(report)
    rows, form = page.locator("#rows"), page.locator("#rows .filters")
    assert shown(page)[:4] == [0, 1, 2, 3]
    assert set(shown(page)[-3:]) == {5, 13, 20}
    rows.get_by_role("button", name="Style").click()
    assert shown(page)[:3] == [23, 22, 21]
    rows.get_by_role("button", name="Style").click()
    assert shown(page)[:3] == [0, 1, 2]
    form.get_by_label("Search").fill("PROMPT 3")
    assert sorted(shown(page)) == [3, 9, 15, 21]
    expect(rows.get_by_role("status")).to_have_text("4 of 24 rows")
    form.get_by_label("generator").select_option(label="cow")
    assert shown(page) == []
    expect(rows).to_contain_text("No rows match")
    rows.get_by_role("button", name="Clear").click()
    assert len(shown(page)) == 24
    form.get_by_label("Prompt").fill("prompt 2")
    assert sorted(shown(page)) == [2, 8, 14, 20]
    form.get_by_label("Status").select_option("ok")
    assert sorted(shown(page)) == [2, 8, 14]
    form.get_by_label("At least").fill("0.5")
    assert sorted(shown(page)) == [2, 8]
    rows.get_by_role("button", name="Clear").click()
    page.get_by_label("View").select_option("cards")
    assert len(shown(page)) == 24


def test_errors_are_counted_by_kind_and_listed(report: Path, visit: Visit) -> None:
    page = visit(report)
    kinds = page.locator("#errors li").all_inner_texts()
    assert [kind.split()[:2] for kind in kinds] == [
        ["BrokenMediaError", "2"], ["MediaNotFoundError", "1"],
    ]  # fmt: skip
    page.get_by_role("button", name="Show rows with BrokenMediaError").click()
    assert sorted(shown(page)) == [13, 20]
    page.get_by_role("button", name="Details of item 13").click()
    expect(page.locator("dialog")).to_contain_text("torn.png is damaged")


def test_the_keyboard_suffices(report: Path, visit: Visit) -> None:
    page = visit(report)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to all rows")
    header = page.locator("#rows th").filter(has_text="Style")
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "descending")
    assert shown(page)[0] == 23
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "ascending")
    assert shown(page)[0] == 0
    plot = page.get_by_role("application")
    plot.focus()
    page.keyboard.press("Home")
    first = page.locator("#scatter [data-row]").get_attribute("data-row")
    page.keyboard.press("ArrowRight")
    second = page.locator("#scatter [data-row]").get_attribute("data-row")
    assert first != second
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"item {second}")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_plots_are_drawn_and_a_dot_shows_its_picture(report: Path, visit: Visit) -> None:
    page = visit(report)
    assert page.locator("#spread .plot rect.bar").count() == 4 * 25
    expect(page.locator("#spread .plot rect.bar title").first).to_have_text("0.00–0.04: 0 rows")
    assert page.locator("#spread figcaption").count() == 4
    painted = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)"
    assert page.locator("#scatter canvas").evaluate(painted)
    page.locator("#scatter").get_by_label("X axis").select_option("overall")
    page.locator("#scatter").get_by_label("Y axis").select_option("style")
    page.locator("#scatter canvas").scroll_into_view_if_needed()
    box = page.locator("#scatter canvas").bounding_box()
    inside = page.evaluate("scatter.inside")
    assert box is not None
    seen = []
    # Style falls as overall rises: the dots lie along this diagonal, the last row first.
    for step in range(0, 101, 4):
        share = step / 100
        page.mouse.move(
            box["x"] + inside["left"] + share * inside["width"],
            box["y"] + inside["top"] + share * inside["height"],
        )
        seen += numbers(page, "#scatter .seen")
    passed = [row for row in dict.fromkeys(seen) if row != seen[0]]
    assert len(passed) > 5
    assert passed == sorted(passed, reverse=True)
    assert all(loaded(page, "#scatter .seen"))


def test_leaderboard_and_agreement(report: Path, visit: Visit) -> None:
    page = visit(report)
    rows = page.locator("#leaderboard .standings tbody tr").all_inner_texts()
    assert [re.split(r"\s+", row)[:2] for row in rows] == [["1", "ant"], ["1", "bee"], ["3", "cow"]]
    assert page.locator("#leaderboard .standings .range").count() == 5
    assert page.locator("#leaderboard .wins").get_by_text("75 %").count() == 3
    assert page.locator("#leaderboard .wins").get_by_text("n.s.").count() == 2
    expect(page.locator("#leaderboard")).to_contain_text("Prompts skipped, because not all")
    page.locator("#leaderboard").get_by_label("Axis").select_option("style")
    expect(page.locator("#leaderboard .note").first).to_contain_text("Style over 12 prompts")
    words = page.locator("#agreement").inner_text()
    for text in ("73.4 %", "65.0 % to 81.0 %", "0.061", "0.032", "90 pairs", "people.jsonl"):
        assert text in words
    assert page.locator("#agreement .frame circle.point").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(report: Path, visit: Visit, scheme: str) -> None:
    page = visit(report, scheme=scheme)
    ground = "getComputedStyle(document.body).backgroundColor"
    tick = "getComputedStyle(document.querySelector('#spread .mark text')).fill"
    brightness = {"light": "rgb(246, 246, 243)", "dark": "rgb(19, 20, 23)"}
    assert page.evaluate(ground) == brightness[scheme]
    before = page.evaluate(tick)
    other = "dark" if scheme == "light" else "light"
    page.get_by_role("button", name=f"Switch to {other} colours").click()
    assert page.evaluate(ground) == brightness[other]
    expect(page.locator("#spread .mark text").first).not_to_have_css("fill", before)


def test_what_users_wrote_is_text(hostile: Path, visit: Visit) -> None:
    page = visit(hostile)
    targets = []
    for place in page.locator("#rows .open").all():
        place.click()
        targets.append(page.locator("dialog a").evaluate("a => a.href"))
        page.keyboard.press("Escape")
    assert len(targets) == 2 * len(HOSTILE)
    for target in targets:
        assert target.startswith(f"{hostile.parent.as_uri()}/")
        assert Path(unquote(target.removeprefix("file://"))).is_file()
    prompts = page.locator("#rows .prompt").evaluate_all("all => all.map(e => e.textContent)")
    assert sorted(prompts) == sorted(HOSTILE * 2)
    makers = page.locator("#rows .maker bdi").evaluate_all("all => all.map(e => e.textContent)")
    assert sorted(makers) == sorted(HOSTILE * 2)
    boards = page.locator("#leaderboard .standings bdi").all_text_contents()
    assert boards == HOSTILE[:3]
    expect(page.locator("#title")).to_have_text(HOSTILE[1])
    expect(page.locator("#errors .name")).to_have_text(HOSTILE[0])
    assert page.evaluate("window.__pwned") is None
    # Three blocks of data, and our script.
    assert page.locator("script").count() == 4
    assert page.locator("img:not([src^='data:image/webp;base64,'])").count() == 0
    assert page.evaluate("[...document.querySelectorAll('*')].filter(e => [...e.attributes]"
                         ".some(a => a.name.startsWith('on'))).length") == 0  # fmt: skip


def test_a_script_that_is_not_ours_does_not_run(report: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    page.wait_for_selector(READY, state="attached")
    # Both kinds of script are refused, which the browser tells.
    page.evaluate("""() => new Promise((refused) => {
        const kinds = new Set();
        document.addEventListener('securitypolicyviolation', (event) => {
            kinds.add(event.effectiveDirective);
            if (kinds.has('script-src-elem') && kinds.has('script-src-attr')) refused();
        });
        const script = document.createElement('script');
        script.textContent = 'window.__pwned = 1';
        document.body.append(script);
        document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.__pwned = 1">');
    })""")
    assert page.evaluate("window.__pwned") is None
    page.close()


@pytest.mark.parametrize("which", ["report", "hostile"])
def test_a_phone_needs_no_sideways_scrolling(which: str, request, visit: Visit) -> None:
    page = visit(request.getfixturevalue(which), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_label("View").select_option("table")
    page.locator("#rows .open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_one_row(tmp_path: Path, visit: Visit) -> None:
    table = scored([picture(tmp_path, "a.png", 1)], ["alone"])
    unsure = replace(AGREEMENT, points=[], ece=None)
    page = visit(page_of(table, tmp_path / "r.html", agreement=unsure))
    assert shown(page) == [0]
    expect(page.locator("#agreement")).to_contain_text("No diagram")
    expect(page.locator("#gallery .card")).to_have_count(1)
    expect(page.locator("#facts")).to_contain_text("Rows1")


def test_without_competing_prompts_the_ends_of_all_are_shown(tmp_path: Path, visit: Visit) -> None:
    media = [picture(tmp_path, f"{i}.png", i) for i in range(30)]
    page = visit(page_of(scored(media, [f"own {i}" for i in range(30)]), tmp_path / "r.html"))
    assert numbers(page, "#gallery .strip:first-child")[:3] == [0, 1, 2]
    assert numbers(page, "#gallery .strip:last-child")[:3] == [29, 28, 27]


def test_few_pictures_go_to_the_best_and_worst(tmp_path: Path, visit: Visit) -> None:
    media = [picture(tmp_path, f"{i}.png", i) for i in range(200)]
    table = scored(media, [f"prompt {i // 100}" for i in range(200)])
    page = visit(page_of(table, tmp_path / "r.html", limit=40))
    assert page.locator("#gallery .card img").count() == 4
    expect(page.locator("#pictures-note")).to_contain_text(
        f"160 rows have no picture here: {OVER_LIMIT}"
    )


def test_clips_have_a_fifth_axis_and_a_picture(tmp_path: Path, visit: Visit) -> None:
    clip = EXAMPLES / "media" / "steady.mp4"
    table = scored([str(clip), picture(tmp_path, "a.png", 1)], ["a clip", "a still"])
    for name, values in (("temporal", [0.8, None]), ("temporal_mu", [1.4, None])):
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.array(values, pa.float32()))
    table = table.set_column(2, "kind", pa.array(["video", "image"]))
    page = visit(page_of(table, tmp_path / "r.html"))
    assert loaded(page, "#rows") == [True, True]
    assert page.locator("#rows tbody tr").first.inner_text().split().count("–") == 0
    assert page.locator("#rows tbody tr").last.inner_text().split().count("–") == 1
    page.locator("#rows .filters").get_by_label("Kind").select_option(label="video")
    assert shown(page) == [0]


def test_a_sample_says_so(tmp_path: Path, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("librehps.report.choose.MAX_SHOWN_ROWS", 300)
    media = [picture(tmp_path, "a.png", 1)] * 3000
    table = scored(media, [f"prompt {i // 40}" for i in range(3000)])
    page = visit(page_of(table, tmp_path / "r.html"))
    expect(page.locator("#shown")).to_contain_text("shows 300 of 3,000 rows")
    expect(page.locator("#facts")).to_contain_text("Rows3,000")
    expect(page.locator("#rows-title")).to_have_text("Rows shown")
    expect(page.locator("#rows").get_by_role("status")).to_have_text(
        "300 shown rows · the file has 3,000 rows"
    )
    expect(page.locator("#gallery .note")).to_contain_text("75 prompts with more than one")
    panel = page.locator("#gallery .panel").first
    assert re.fullmatch(r"\d+ of 40", panel.get_by_role("button").first.inner_text())
    panel.get_by_role("button").first.click()
    assert 2 <= len(shown(page)) < 40
    page.locator("#rows").get_by_role("button", name="Clear").click()
    ids = page.locator("#rows .id").all_inner_texts()
    assert ids[:3] == ["item 0", "item 1", "item 2"]


@pytest.mark.slow
def test_ten_thousand_rows_are_ready(tmp_path: Path, visit: Visit) -> None:
    count = 10_000
    rng = np.random.default_rng(0)
    media = [f"/nowhere/generator/{i:05d}.png" for i in range(count)]
    prompts = [f"a quiet street in the rain at night, number {i // 8}" for i in range(count)]
    table = scored(media, prompts, generator=[f"maker {i % 4}" for i in range(count)])
    for axis in ("alignment", "coherence"):
        values = pa.array(rng.random(count), pa.float32())
        table = table.set_column(table.column_names.index(axis), axis, values)
    images = [webp(i) for i in range(20)] * 100
    of = [i if i < len(images) else -1 for i in range(count)]
    file = page_of(
        table, tmp_path / "big.html", by="generator", pictures=Pictures(images, of, [OVER_LIMIT])
    )
    page = visit(file)
    assert page.locator(READY).get_attribute("data-ready")
    assert page.locator("*").count() < 6000
    page.locator("#rows").get_by_role("button", name="Style").click()
    assert shown(page)[0] == count - 1
    page.locator("#rows .filters").get_by_label("Search").fill("number 77")
    expect(page.locator("#rows").get_by_role("status")).to_have_text("88 of 10,000 rows")
    page.get_by_role("button", name="Next page of rows").click()
    expect(page.locator("#rows .pager")).to_contain_text("51–88 of 88")
