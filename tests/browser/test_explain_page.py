"""The page of explanations, opened as its reader would: in a real browser, from the disk."""

import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from conftest import EXAMPLES
from librehps import LibreHPS
from librehps.errors import UnsupportedMediaError
from librehps.explain.anchors import anchor_of
from librehps.explain.unexplained import Unexplained
from librehps.explain.write import write_explanations
from librehps.types import Item

pytest_plugins = ["browser_fixtures"]
HOSTILE = 'torn & <b>50%2F"_é.png'


@pytest.fixture(scope="module")
def page_file(tiny: LibreHPS, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    picture = shutil.copy(EXAMPLES / "media" / "torn.png", folder / HOSTILE)
    prompt = "a red circle left of a <b>blue</b> square"
    rows = [
        Unexplained(Item(f"{at}.png", folder / f"{at}.png", prompt), UnsupportedMediaError("no"))
        for at in range(30)
    ]
    item = Item(HOSTILE, Path(picture), prompt, "image")
    write_explanations([*rows, tiny.explain_item(item)], folder / "why.html")
    return folder / "why.html"


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_a_link_opens_the_explanation_of_an_item(
    browser: Browser, page_file: Path, width: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    page, bad = context.new_page(), []
    page.on("console", lambda message: bad.append(message.text))
    page.on("pageerror", lambda error: bad.append(str(error)))
    page.on("dialog", lambda dialog: bad.append(dialog.message))
    page.goto(f"{page_file.as_uri()}#{anchor_of(HOSTILE)}")
    article = page.locator("article:target")
    assert article.count() == 1
    # The article is at the top of the window, or the page's end at its bottom.
    assert 0 <= article.bounding_box()["y"] < 800
    assert HOSTILE in article.locator("h2").inner_text()
    assert "<b>blue</b>" in article.locator(".prompt").inner_text()
    picture, layer = article.locator(".picture img").all()
    assert picture.bounding_box() == layer.bounding_box()
    inside, around = article.locator(".peak").bounding_box(), picture.bounding_box()
    assert around["x"] <= inside["x"] + 9 <= around["x"] + around["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("article .error").count() == 30
    context.close()
    assert bad == []


def test_another_page_links_to_an_explanation(
    browser: Browser, page_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.html"
    other.write_text(f'<a href="{quote(str(page_file))}#{anchor_of(HOSTILE)}">why</a>')
    page = browser.new_page()
    page.goto(other.as_uri())
    page.click("a")
    assert HOSTILE in page.locator("article:target h2").inner_text()
    page.close()
