"""Check that README.md and docs/ name every command, flag, public name and page, and no others."""

import re
import tomllib
from pathlib import Path

import pytest

import librehps
import librehps.rewards
import readme
from librehps_cli.main import app

PAGES = {page.relative_to(readme.ROOT).as_posix(): page.read_text() for page in readme.PAGES}
GUIDE = "\n".join(PAGES.values())
CONFIG = tomllib.loads((readme.ROOT / "zensical.toml").read_text())["project"]
PROJECT = tomllib.loads((readme.ROOT / "pyproject.toml").read_text())["project"]
# Flags of other programs in the pages' commands.
FOREIGN = {
    "--driver",
    "--ids",
    "--kill",
    "--paper",
    "--rounds",
    "--rows",
    "--extra-index-url",
    "--local-dir",
    "--no-deps",
    "--nproc-per-node",
    "--array",
}


def linked(markdown: str) -> list[str]:
    """Return the relative targets of the links and images in a page."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"`[^`]*`", "", markdown))
    return [target for target in targets if "://" not in target]


def navigated(nav: list[dict[str, object]]) -> set[str]:
    """Return the names of all pages in the site's navigation."""
    pages = set()
    for entry in nav:
        for value in entry.values():
            pages |= navigated(value) if isinstance(value, list) else {value}
    return pages


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_repository_pages_exist(page: str) -> None:
    for target in linked((readme.ROOT / page).read_text()):
        assert (readme.ROOT / target).exists(), target


def test_links_of_the_docs_exist() -> None:
    for page in readme.DOCS.glob("*.md"):
        for target in linked(page.read_text()):
            assert (readme.DOCS / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation() -> None:
    assert navigated(CONFIG["nav"]) == {page.name for page in readme.DOCS.glob("*.md")}


def test_every_command_is_in_the_readme_and_the_guide() -> None:
    names = [command.name for command in app.registered_commands]
    assert len(names) > 8
    for name in names:
        assert f"librehps {name}" in PAGES["README.md"], name
        assert f"librehps {name}" in GUIDE.replace(PAGES["README.md"], ""), name


def test_every_flag_of_the_pages_exists() -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", readme.CLI.read_text())) | FOREIGN
    prose = re.sub(
        r"^(openssl |curl |pip |sudo |hf |python examples/).*$", "", GUIDE, flags=re.MULTILINE
    )
    prose = re.sub(r"`python benchmarks/[^`]*`", "", prose)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose)) <= known


def test_every_public_name_is_in_the_python_reference() -> None:
    page = (readme.DOCS / "api.md").read_text()
    named = set(re.findall(r"librehps\.(?:rewards\.)?(\w+)", page)) - {"rewards"}
    assert named == {*librehps.__all__, *librehps.rewards.__all__}


def test_named_extras_targets_and_files_exist() -> None:
    extras = set(re.findall(r"'\.\[(\w+)\]'", GUIDE))
    assert extras
    assert extras <= PROJECT["optional-dependencies"].keys()
    makefile = (readme.ROOT / "Makefile").read_text()
    contributing = (readme.ROOT / "CONTRIBUTING.md").read_text()
    for target in re.findall(r"`make ([\w-]+)", GUIDE + contributing):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for file in re.findall(r"((?:benchmarks|tools|examples)/[\w/]+\.\w+)", GUIDE + contributing):
        assert (readme.ROOT / file).is_file(), file


def test_the_readme_is_short_and_its_lines_too() -> None:
    assert len(PAGES["README.md"].split()) <= 700
    for name, text in PAGES.items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        for line in prose.splitlines():
            assert len(line) <= 100 or line.startswith("|"), f"{name}: {line}"


def test_the_citation_names_this_version() -> None:
    citation = Path(readme.ROOT, "CITATION.cff").read_text()
    assert re.search(r"^cff-version: 1\.2\.0$", citation, re.MULTILINE)
    assert re.search(rf"^version: {re.escape(librehps.__version__)}$", citation, re.MULTILINE)
