"""Take pictures of a report in headless Chromium, to look at: 1280 and 360 pixels wide, light and dark, and a PDF.

python -m scripts.report_pictures report.html FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.chromium import chromium

HIGH = 1700
"""A page is cut into pictures of so many pixels."""


def main() -> int:
    report, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as page:
        page.open(report.resolve().as_uri())
        for width in (1280, 360):
            for dark in (False, True):
                page.look(width, dark=dark)
                height = int(page.run("document.documentElement.scrollHeight"))
                for number, start in enumerate(range(0, height, HIGH), 1):
                    path = folder / f"{width}-{'dark' if dark else 'light'}-{number}.png"
                    page.picture(path, from_y=start, height=min(HIGH, height - start))
                    print(path)
        (folder / "report.pdf").write_bytes(page.pdf())
        print(folder / "report.pdf")
    return 0


if __name__ == "__main__":
    sys.exit(main())
