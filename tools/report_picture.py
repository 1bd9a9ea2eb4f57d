"""The picture of the report in README.md: `python tools/report_picture.py results/published/report/index.html`."""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

TARGET = Path(__file__).parents[1] / "docs" / "report.png"
VIEWS = ("#", "#paper=svrpo&point=svrpo/returns/0/24")
FIGURE = "document.querySelector('[data-view=paper] section:not([hidden]) figure')?.scrollIntoView()"
WIDTH, HEIGHT, GAP = 1240, 900, 24


def main() -> None:
    """Photograph the overview, and beside it a figure with the run card of one of its points."""
    page = Path(sys.argv[1]).resolve().as_uri()
    shots = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        for view in VIEWS:
            tab.goto(page + view)
            tab.evaluate(FIGURE)
            tab.evaluate("document.activeElement.blur()")
            tab.wait_for_timeout(300)
            shots.append(Image.open(io.BytesIO(tab.screenshot())))
        browser.close()
    whole = Image.new("RGB", (2 * WIDTH + GAP, HEIGHT), "#d9d7cf")
    for place, shot in enumerate(shots):
        whole.paste(shot, (place * (WIDTH + GAP), 0))
    small = whole.resize((whole.width * 3 // 5, whole.height * 3 // 5), Image.Resampling.LANCZOS)
    small.quantize(200, Image.Quantize.MAXCOVERAGE).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
