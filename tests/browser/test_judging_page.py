"""Judging as a person does: in a real browser, by keyboard, through a kill of the server."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import forks
from conftest import Cli
from judge_data import write_scores

pytest_plugins = ["browser_fixtures"]
SHOWN = "old => document.body.dataset.shown && document.body.dataset.shown !== old"
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `librehps judge`; gives the process and the address that it prints."""
    running = []

    def go(*flags: str) -> tuple[subprocess.Popen[str], str]:
        command = [*forks.librehps(), "judge", str(tmp_path / "scores.parquet"),
                   "--out", str(tmp_path / "pairs.jsonl"), "--by", "folder", "--no-open",
                   *flags]  # fmt: skip
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return running[-1], running[-1].stdout.readline().strip()

    yield go
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def visit(browser: Browser, address: str, bad: list[str], width: int = 1000) -> Page:
    """Open the page; requests to elsewhere and messages of the console are noted."""
    page = browser.new_context(viewport={"width": width, "height": 700}).new_page()
    page.on("console", lambda message: bad.append(message.text))
    page.on("pageerror", lambda error: bad.append(str(error)))
    page.on("request", lambda request: bad.append(request.url)
            if not request.url.startswith((address, "data:")) else None)  # fmt: skip
    page.goto(address)
    return page


def named(page: Page, rater: str) -> str:
    """Give the rater's name; return what is shown then."""
    page.get_by_label("Your name").fill(rater)
    page.keyboard.press("Enter")
    return shown(page)


def shown(page: Page, before: str = "") -> str:
    """Wait for another pair than `before`, or the end; return its ticket, or `done`."""
    page.wait_for_function(SHOWN, arg=before)
    return page.evaluate("document.body.dataset.shown")


def press(page: Page, keys: list[str], pair: str) -> str:
    for key in keys:
        page.keyboard.press(key)
        pair = shown(page, pair)
    return pair


@pytest.mark.slow
def test_two_raters_judge_by_keyboard_through_a_kill(
    browser: Browser, start: Start, tmp_path: Path, cli: Cli
) -> None:
    write_scores(tmp_path, prompts=3)
    file, bad = tmp_path / "pairs.jsonl", list[str]()
    process, address = start("--pairs", "5", "--repeat", "0")
    page = visit(browser, address, bad)
    pair = named(page, "ann")
    source = page.content()
    assert not any(word in source for word in ("ant", "bee", "cow", ".png"))
    pair = press(page, ["ArrowLeft", "ArrowRight", "s"], pair)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(file.read_text().splitlines()) == 3
    process, address = start("--pairs", "5", "--repeat", "0")
    page = visit(browser, address, bad)
    pair = named(page, "ann")
    expect(page.locator("#count")).to_have_text("2 of 5 pairs")
    pair = press(page, ["ArrowDown", "u", " ", "ArrowLeft", "ArrowLeft"], pair)
    assert pair == "done"
    expect(page.locator("#summary")).to_contain_text("5 pairs with 5 judgements of 1 rater")
    other = visit(browser, address, bad, width=390)
    named(other, "bob")
    assert other.evaluate("document.documentElement.scrollWidth") <= 390
    press(other, ["ArrowRight"], shown(other))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    sides = [row["overall"] for row in rows]
    assert sides == ["a", "b", None, "tie", "a", "a", "b"]
    assert len({row["index"] for row in rows}) == 7
    assert bad == []
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    done = cli("evaluate", file, "--scores", tmp_path / "scores.parquet", "--by", "choice")
    assert done.returncode == 0, done.stderr
    assert "6 pairs, 1 tie on" in done.stderr
    done = cli("calibrate", file, "--scores", tmp_path / "scores.parquet", "-o", tmp_path / "c")
    assert done.returncode != 0 and "at least 50" in done.stderr


def test_questions_zoom_and_undo(browser: Browser, start: Start, tmp_path: Path) -> None:
    write_scores(tmp_path, prompts=2)
    bad: list[str] = []
    _, address = start("--rater", "ann", "--axis", "overall", "--axis", "alignment")
    page = visit(browser, address, bad)
    pair = shown(page)
    expect(page.locator("#ask")).to_have_text("Which is better overall? (1 of 2)")
    page.keyboard.press("z")
    sizes = page.locator("figure img").evaluate_all("all => all.map(i => i.offsetWidth)")
    assert sizes == [24, 24]
    page.keyboard.press("z")
    assert page.locator("figure img").first.evaluate("i => i.offsetWidth") > 100
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#ask")).to_have_text("Which matches the prompt better? (2 of 2)")
    page.keyboard.press("u")
    expect(page.locator("#ask")).to_contain_text("(1 of 2)")
    page.get_by_role("button", name="Right").click()
    expect(page.locator("#ask")).to_contain_text("(2 of 2)")
    page.get_by_role("button", name="Equal").click()
    shown(page, pair)
    [row] = map(json.loads, (tmp_path / "pairs.jsonl").read_text().splitlines())
    assert (row["overall"], row["alignment"], row["rater"]) == ("b", "tie", "ann")
    assert bad == []
