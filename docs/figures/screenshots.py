"""The screenshots of the reports, ``docs/figures/*.png``, by Debian's Chromium.

In a folder like the checkout, run the examples of README.md and of ``docs/tutorial.md``, and the
first ones of ``docs/haplotypes.md``. Then run in the checkout, with this folder:
``python docs/figures/screenshots.py FOLDER``.
"""

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
WIDTH = 1120
PICTURES = {  # page, the part of it, how many pixels of its height, and titles if only some stay
    "report.png": ("results/mitomap/report.html", "body", 1980, []),
    "calibration.png": (
        *("results/mitomap/report.html", "#calibrations", 2000),
        ["Scores of the background", "Likelihood ratios", "Thresholds of"],
    ),
    "haplotypes.png": (
        *("results/cohort/report.html", "#haplotypes", 1000),
        ["llr alone", "Change by the number", "Largest interactions"],
    ),
    "explain.png": ("explained.html", "body", 1300, []),
}
REMOVE = """([part, titles]) => {
  const parts = ["h2", "p", "figure", ".table"].map(name => `${part} ${name}`);
  for (const one of document.querySelectorAll(parts)) {
    const named = one.hasAttribute("aria-label") ? one : one.querySelector("[aria-label]");
    const title = named ? named.getAttribute("aria-label") : "";
    if (!titles.some(begin => title.startsWith(begin))) one.remove();
  }
  document.querySelectorAll(`${part} .grid:empty`).forEach(one => one.remove());
}"""


def draw(page: Page, part: str, most: int, titles: list[str], out: Path) -> None:
    """Write a picture of the upper pixels of a part of a page."""
    if titles:
        page.evaluate(REMOVE, [part, titles])
    box = page.locator(part).first.bounding_box()
    if box is None:
        raise ValueError(f"{page.url} has no visible {part}")
    clip = {"x": 0, "y": box["y"], "width": WIDTH, "height": min(box["height"], most)}
    page.screenshot(path=out, full_page=True, clip=clip)  # type: ignore[arg-type] # a plain dict


def main(folder: Path) -> None:
    """Write all pictures, from the pages of a folder."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        for name, (file, part, most, titles) in PICTURES.items():
            page.goto((folder / file).absolute().as_uri())
            page.wait_for_load_state("networkidle")
            draw(page, part, most, titles, Path(__file__).parent / name)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
