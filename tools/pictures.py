"""Make the pictures of the docs from real runs: the report in a browser, a run on a terminal.

python tools/pictures.py      writes docs/*.png; needs chromium
"""

import fcntl
import os
import pty
import shutil
import struct
import tempfile
import termios
import time
from pathlib import Path

import pyte
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

from readme import ROOT, Shell

DOCS = ROOT / "docs"
ROWS, COLUMNS = 24, 80
# The progress line is photographed when this share of the run is finished.
PHOTOGRAPHED_SHARE = 0.4
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


def on_a_terminal(shell: Shell, command: str, total: int) -> Text:
    """Return the text that a terminal of 80 columns shows in the middle of a run."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(shell.folder)
        environment = {**shell.environment, "TERM": "xterm-256color"}
        os.execvpe("bash", ["bash", "-c", command], environment)  # noqa: S606
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    deadline = time.monotonic() + 120
    while _done(screen, total) < PHOTOGRAPHED_SHARE and time.monotonic() < deadline:
        stream.feed(os.read(master, 65_536))
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return _as_text(screen)


def _done(screen: pyte.Screen, total: int) -> float:
    """Return the share of the run that the progress line shows as finished."""
    for line in screen.display:
        before, slash, _ = line.partition(f"/{total}")
        if slash:
            return int(before.split()[-1]) / total
    return 0.0


def _as_text(screen: pyte.Screen) -> Text:
    lines = [at for at, line in enumerate(screen.display) if line.strip()]
    text = Text()
    for at in range(lines[-1] + 1):
        for column in range(COLUMNS):
            cell = screen.buffer[at][column]
            colour = (
                cell.fg if cell.fg == "default" else f"#{cell.fg}" if len(cell.fg) == 6 else cell.fg
            )
            style = "" if colour == "default" else colour.replace("brown", "yellow")
            text.append(cell.data, f"{style} {'bold' if cell.bold else ''}".strip() or None)
        text.append("\n")
    return text


def best_and_worst(page: Page, file: Path) -> None:
    """Write a picture of the first four prompts of an open report, best and worst image each."""
    boxes = [
        box for card in page.locator("#gallery .panel").all()[:4] if (box := card.bounding_box())
    ]
    left, top = min(box["x"] for box in boxes), min(box["y"] for box in boxes)
    right = max(box["x"] + box["width"] for box in boxes)
    bottom = max(box["y"] + box["height"] for box in boxes)
    clip = {"x": left - 12, "y": top - 12, "width": right - left + 24, "height": bottom - top + 24}
    page.screenshot(path=file, clip=clip, full_page=True)


def photograph(page: Page, html: str, file: Path) -> None:
    page.set_content(html)
    page.locator("pre").screenshot(path=file)


def as_html(command: str, text: Text) -> str:
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(f"[bold green]$[/] {command}")
        console.print(text, end="", highlight=False)
        code = console.export_html(inline_styles=True, code_format="{code}")
    style = "font:15px/1.45 monospace; padding:16px 20px; width:max-content; margin:0"
    return f"<body><pre style='{style}; background:#16181d; color:#e6e6e6'>{code}</pre>"


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as play:
        shell = Shell(Path(name))
        for command in (
            "export LIBREHPS_MODEL=tiny",
            "python examples/tiny/outputs.py outputs",
            "librehps score outputs/manifest.csv -o scores.parquet",
            "librehps report scores.parquet --by generator -o report.html",
        ):
            done = shell.run(command)
            if done.returncode:
                raise SystemExit(f"{command}\n{done.stderr}")
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        size = {"width": 1280, "height": 1560}
        page = browser.new_page(viewport=size, color_scheme="light", device_scale_factor=0.8)
        page.goto(f"file://{shell.folder}/report.html")
        page.wait_for_timeout(2000)
        page.screenshot(path=DOCS / "report.png")
        best_and_worst(page, DOCS / "best_and_worst.png")
        page.close()
        page = browser.new_page()
        command = "librehps score outputs/manifest.csv -o all.parquet"
        text = on_a_terminal(shell, command, 768)
        photograph(page, as_html(command, text), DOCS / "progress.png")
        browser.close()
    for file in DOCS.glob("*.png"):
        if file.stat().st_size > 300_000:
            raise SystemExit(f"{file} is larger than 300 KB")


if __name__ == "__main__":
    main()
