"""Commands in pipelines: what a shell joins, and readers that go away."""

import json
import os
import select
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

import forks
from conftest import CHECKPOINT
from make_media import clip, picture
from report_data import scored, write_scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, a clip, and a file that is none."""
    media = tmp_path_factory.mktemp("media")
    for index in range(12):
        picture(96, 96, seed=index).save(media / f"{index:02}.png")
    clip(media / "clip.mp4")
    (media / "empty.png").write_bytes(b"")
    return media


PIPES = {
    "null": (
        "find . -name '*.png' -size +0 -print0 | sort -z | librehps score --null - --prompt x "
        "--model tiny -q | jq -r 'select(.status == \"ok\") | .id' | head -3",
        ["00.png", "01.png", "02.png"],
    ),
    "jsonl": (
        'echo \'{"image": "00.png", "prompt": "x", "n": 1}\' | librehps score - --model tiny -q '
        "| jq .n",
        ["1"],
    ),
    "filter": (
        "librehps score . --prompt x --model tiny -q -o $T/x.jsonl; "
        "librehps filter $T/x.jsonl --top 2 --null | xargs -0 -n1 basename | wc -l",
        ["2"],
    ),
}


@pytest.mark.skipif(shutil.which("jq") is None, reason="the pipelines of the README use jq")
@pytest.mark.parametrize("name", PIPES)
def test_pipelines(folder: Path, tmp_path: Path, name: str) -> None:
    script, expected = PIPES[name]
    alias = f'librehps() {{ {shlex.join(forks.librehps())} "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", alias + script],
        capture_output=True, text=True, cwd=folder, env={**os.environ, "T": str(tmp_path)},
        check=False,
    )  # fmt: skip
    assert done.stdout.split() == expected, done.stderr
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr


def test_a_closed_pipe_is_quiet(folder: Path) -> None:
    command = f"{sys.executable} -m librehps_cli score {folder} --prompt x --model {CHECKPOINT} -q"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


ROW_TIMEOUT_S = 120.0


@pytest.mark.parametrize("style", ["lines", "null", "json", "blank lines"])
def test_rows_come_while_the_input_stays_open(folder: Path, style: str) -> None:
    """Each row is written before the next line arrives, on a pipe that is never closed."""
    line = {"lines": "{}\n", "null": "{}\0", "json": '{{"media": "{}", "prompt": "x"}}\n'}
    options = {"null": ("--null", "--prompt", "x"), "json": ()}.get(style, ("--prompt", "x"))
    command = [*forks.librehps(), "score", "-", *options, "--model", "tiny", "-o", "-", "-q"]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            # One path, one path, then two at once, the second of them in two pieces.
            for names, cut in ((["00.png"], None), (["01.png"], None), (["02.png", "clip.mp4"], 9)):
                text = "".join(line.get(style, "{}\n\n").format(name) for name in names).encode()
                process.stdin.write(text[:cut])
                rows = [_row(process.stdout)] if cut and style != "json" else []
                process.stdin.write(text[cut:] if cut else b"")
                rows += [_row(process.stdout) for _ in names[len(rows) :]]
                assert [row["id"] for row in rows] == names
                assert all(row["status"] == "ok" for row in rows)
            # A line that came before costs its own row.
            for name, status in (("00.png", "DuplicateIdError"), ("03.png", None)):
                process.stdin.write(line.get(style, "{}\n\n").format(name).encode())
                assert _row(process.stdout)["error_type"] == status
            process.terminate()
            assert process.wait(ROW_TIMEOUT_S) == 130
        finally:
            process.kill()


def _row(stream: IO[bytes]) -> dict[str, Any]:
    """The next row; a test that waits in vain fails rather than hangs."""
    readable, _, _ = select.select([stream], [], [], ROW_TIMEOUT_S)
    assert readable, "no row came"
    return json.loads(stream.readline())


@pytest.mark.parametrize("options", ["", "--null", "--json"])
def test_a_reader_that_goes_away(tmp_path: Path, options: str) -> None:
    """A reader leaves before the end of more rows than a pipe holds."""
    (tmp_path / "a.png").touch()
    media = [str(tmp_path / "a.png")] * 30_000
    scores = write_scores(scored(media, ["a cat"] * len(media)), tmp_path / "s.parquet")
    command = [*forks.librehps(), "filter", scores, "--ok-only"]
    with subprocess.Popen(
        [*command, *options.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(8) != b""
        process.stdout.close()
        assert process.stderr.read() == b""
