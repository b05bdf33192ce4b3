"""Pictures of a report, chapter by chapter, for a person to look at: at desktop and phone width, light and dark.

    .venv/bin/python -m tests.report.pictures results/report/report.html /tmp/pictures
    .venv/bin/python -m tests.report.pictures results/report/report.html docs/images/report.png

The second form is the picture in the README: the first screen. Needs Chromium.
"""

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

WIDTHS = {"desktop": 1400, "phone": 390}
SCHEMES = ("light", "dark")
MOST_PX = 1500
"""Height of a picture: a taller chapter becomes several."""
README_HEIGHT_PX = 860


@contextmanager
def opened(browser: Browser, report: Path, width: int, scheme: str) -> Iterator[Page]:
    """The report with all of its figures drawn: they are drawn when they come near the window."""
    page = browser.new_page(viewport={"width": width, "height": README_HEIGHT_PX}, color_scheme=scheme)
    page.goto(report.resolve().as_uri())
    page.evaluate("""async () => {
        for (const figure of document.querySelectorAll("figure")) {
            figure.scrollIntoView();
            for (let tries = 0; tries < 50 && !figure.matches(".drawn, details:not([open]) *"); tries++) {
                await new Promise((done) => setTimeout(done, 100));
            }
        }
        window.scrollTo(0, 0);
    }""")
    yield page
    page.close()


def shoot_chapters(page: Page, folder: Path, look: str) -> None:
    """A picture or several of each chapter: `{chapter}-{look}-{part}.png`."""
    for section in page.query_selector_all("section"):
        box = section.bounding_box()
        assert box is not None
        bottom = box["y"] + box["height"]
        for part, top in enumerate(range(int(box["y"]), int(bottom), MOST_PX)):
            clip = {
                "x": 0.0,
                "y": float(top),
                "width": page.viewport_size["width"],
                "height": min(MOST_PX, bottom - top),
            }
            path = folder / f"{section.get_attribute('id')}-{look}-{part}.png"
            page.screenshot(path=path, clip=clip, full_page=True)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("output", type=Path, help="a folder, or a .png for the first screen alone")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        if arguments.output.suffix == ".png":
            with opened(browser, arguments.report, 1200, "light") as page:
                page.screenshot(path=arguments.output)
        else:
            arguments.output.mkdir(parents=True, exist_ok=True)
            for (name, width), scheme in product(WIDTHS.items(), SCHEMES):
                with opened(browser, arguments.report, width, scheme) as page:
                    shoot_chapters(page, arguments.output, f"{name}-{scheme}")


if __name__ == "__main__":
    main()
