"""The pictures of the report: `python tools/report_picture.py results/published/report/index.html`.

They are taken at the width at which README.md shows them, two pixels for one, so that their text can be read there.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT = 700, 760
STYLE = """
  .glance caption, .glance .where { display: none !important }
  .glance { padding: 0 0.8rem; }
  .glance tbody tr { padding: 0.3rem 0 !important; }
  .group { display: flex !important; align-items: baseline; }
  .whose { flex: none; }
  .marks a { padding: 0 0.16em !important; font-size: 0.92rem !important; }
"""
"""Leaves the marks, a line for each group where they fit."""
POINT = "#paper=svrpo&point=svrpo/returns/0/24"


def main() -> None:
    """Photograph the papers at a glance, and a figure with the run card of one of its points."""
    page = Path(sys.argv[1]).resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=2, color_scheme="light")
        tab.goto(page)
        tab.add_style_tag(content=STYLE)
        save(tab.locator(".glance").screenshot(), DOCS / "report.png")
        tab.goto(page + POINT)
        tab.reload()
        save(at_the_figure(tab), DOCS / "report-point.png")
        browser.close()


def at_the_figure(tab: Page) -> bytes:
    """The figure of the point in the address, above its run card."""
    tab.add_style_tag(content="#inspector { max-height: 46vh !important }")
    tab.evaluate("document.querySelector('#figure-svrpo-returns .panels').scrollIntoView({behavior: 'instant'})")
    tab.evaluate("document.activeElement.blur()")
    tab.wait_for_timeout(300)
    return tab.screenshot()


def save(shot: bytes, target: Path) -> None:
    """Write a picture with few colours, which is small."""
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3).save(target, optimize=True)  # k-means keeps pale bands


if __name__ == "__main__":
    main()
