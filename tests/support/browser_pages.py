"""The rows and pictures that an open report shows."""

from collections.abc import Callable

from playwright.sync_api import Page

Visit = Callable[..., Page]
# What the page sets at the end of drawing, in milliseconds since it began to load.
READY = "html[data-ready]"


def shown(page: Page) -> list[int]:
    """The rows that the list of all rows shows, from the top."""
    return numbers(page, "#rows")


def numbers(page: Page, where: str) -> list[int]:
    code = "all => all.map(e => Number(e.dataset.row))"
    return page.locator(f"{where} [data-row]").evaluate_all(code)


def loaded(page: Page, where: str) -> list[bool]:
    """Return True for each picture in the element `where` that has pixels."""
    code = "all => Promise.all(all.map(i => { i.loading = 'eager'; return i.decode()" \
           ".then(() => i.naturalWidth > 0) }))"  # fmt: skip
    return page.locator(f"{where} img").evaluate_all(code)
