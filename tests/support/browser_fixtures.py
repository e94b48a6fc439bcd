"""A browser, pages of reports, and a watch that nothing bad happens on a page."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, sync_playwright

from browser_pages import READY, Visit
from report_data import hostile_page, rich_page

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update",
         "--disable-sync")  # fmt: skip


# Not of the session: while Playwright runs, no other test of the process can use asyncio.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None and not os.environ.get("CI"):
        pytest.skip("no chromium")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        yield started
        started.close()


def watch(page: Page, address: str, bad: list[str]) -> None:
    """Note all that must not happen on the page; files next to the page may be loaded."""
    folder = address.rpartition("/")[0]

    def refuse(dialog: Dialog) -> None:
        bad.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def asked(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:", f"{folder}/")):
            bad.append(f"request for {request.url}")

    page.on("console", lambda message: bad.append(message.text))
    page.on("pageerror", lambda error: bad.append(str(error)))
    page.on("dialog", refuse)
    page.on("request", asked)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens a page and waits until it is drawn; at the end, nothing bad may have happened."""
    contexts: list[BrowserContext] = []
    bad: list[str] = []

    def go(file: Path, width: int = 1200, scheme: str = "light", state: str = "") -> Page:
        size = {"width": width, "height": 800}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        watch(page, file.as_uri(), bad)
        page.goto(file.as_uri() + state)
        page.wait_for_selector(READY, state="attached", timeout=30_000)
        return page

    yield go
    for context in contexts:
        context.close()
    assert bad == []


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rich_page(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_page(tmp_path_factory.mktemp("hostile"))
