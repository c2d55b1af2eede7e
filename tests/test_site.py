"""The documentation as a website: it builds without a warning, and is complete in itself."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import evo2_tasks
import evo2_tasks.evo2

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LONGEST = ["docs/columns", "docs/cli", "docs/configuration", "docs/api", "docs/tutorial", "README"]
"""Pages with long tables, lines of code and names."""
FROM_OTHER_SITES = {"a"}
"""Elements that may lead to another site. What a page loads has to be part of the site."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Sphinx ends with an error if it has a warning."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    folders = ["-c", str(ROOT / "docs"), "-d", str(out / "doctrees"), str(ROOT), str(out / "html")]
    built = subprocess.run(command + folders, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return out / "html"


class Page(HTMLParser):
    """The targets of a page: what it loads or leads to, and its anchors."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append((tag, value or ""))
            elif name in ("id", "name") and tag != "meta":
                self.anchors.add(value or "")


def test_the_links_of_the_site_lead_to_parts_of_the_site(site: Path) -> None:
    pages = {file: Page(file) for file in site.rglob("*.html")}
    assert len(pages) > 80
    wrong = []
    for file, page in pages.items():
        for tag, link in page.links:
            if re.match(r"(https?|mailto):", link):
                if tag not in FROM_OTHER_SITES:
                    wrong.append(f"{file.relative_to(site)}: {tag} loads {link}")
                continue
            path, _, anchor = link.partition("#")
            target = (file.parent / unquote(path.partition("?")[0])).resolve() if path else file
            if not target.is_file() or (
                target in pages and unquote(anchor) not in pages[target].anchors
            ):
                wrong.append(f"{file.relative_to(site)}: {link}")
    assert not wrong


def test_style_sheets_load_nothing_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.css"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", text), file


def test_links_to_files_that_are_no_pages_lead_to_copies(site: Path) -> None:
    (copy,) = site.glob("_downloads/*/config.calibration.yaml")
    assert copy.read_bytes() == (ROOT / "config.calibration.yaml").read_bytes()


def test_each_public_name_is_in_the_api(site: Path) -> None:
    page = (site / "docs" / "api.html").read_text(encoding="utf-8")
    for name in {*evo2_tasks.__all__, *evo2_tasks.evo2.__all__}:
        assert re.search(rf'id="evo2_tasks(\.\w+)*\.{name}"|evo2_tasks\.evo2\.{name}\b', page), name


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A page of a browser that has no network and reads the site from the disk."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        opened = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened.new_context(offline=True).new_page()
        opened.close()


in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")


@in_a_browser
@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_its_window(site: Path, page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for name in LONGEST:
        page.goto((site / f"{name}.html").as_uri())
        shown, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert shown <= window, name


@in_a_browser
@pytest.mark.browser
def test_the_search_needs_no_server(site: Path, page: Any) -> None:
    page.goto(f"{(site / 'search.html').as_uri()}?q=haplotype_of")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").all_text_contents()
    assert any("Haplotypes" in title for title in found)
