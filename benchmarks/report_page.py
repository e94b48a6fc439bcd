"""How long a browser takes until a report is drawn.

    python benchmarks/report_page.py [--rows 10000] [--rounds 3]

Needs chromium. Prints the size of the page in MB, and of each round the milliseconds from the
beginning of the load until all plots and lists are there.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from decisions import write_rows


def drawn_ms(page_file: Path, rounds: int) -> list[int]:
    """The page's own figure, in a fresh browser context each round."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        found = []
        for _ in range(rounds):
            page = browser.new_context().new_page()
            page.goto(page_file.as_uri())
            ready = page.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
            found.append(int(ready.get_attribute("data-ready")))
            page.context.close()
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scores, page = Path(folder, "scores.parquet"), Path(folder, "report.html")
        write_rows(scores, arguments.rows)
        command = ["report", scores, "--by", "generator", "--pictures", "0", "-q", "-o", page]
        subprocess.run([sys.executable, "-m", "librehps_cli", *command], check=True)
        times = drawn_ms(page, arguments.rounds)
        print(f"{arguments.rows} rows, {page.stat().st_size / 1e6:.1f} MB: drawn after {times} ms")


if __name__ == "__main__":
    main()
