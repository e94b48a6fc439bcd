"""A command with `--device cpu,cpu` that is interrupted or killed, and a server that loses one."""

import json
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import forks
from conftest import Cli
from run_data import MODEL, assert_same, rows_of
from serve_client import SERVE, Server, png_b64

pytestmark = pytest.mark.slow

RUNNER = Path(__file__).parents[1] / "support" / "device_runner.py"


def command(folder: Path, moments: str, number: str = "SIGINT", count: int = 0) -> list[str]:
    folder.mkdir()
    python = json.dumps(forks.python())
    return [*forks.python(), str(RUNNER), python, str(folder), moments, number, str(count)]


def gone(folder: Path) -> bool:
    """Wait for the end of every process of a device; True if all have ended."""
    pids = [int(file.name) for file in folder.iterdir() if file.name.isdigit()]
    assert len(pids) == 2
    alive = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            alive.append(psutil.Process(pid))
    return not psutil.wait_procs(alive, timeout=60)[1]


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGKILL", -signal.SIGKILL)])
def test_an_interrupted_run_leaves_no_process_and_resumes(
    run_folder: Path, whole_run: list[dict], tmp_path: Path, cli: Cli, number: str, code: int
) -> None:
    output, folder = tmp_path / "x.parquet", tmp_path / "killer"
    arguments = ["score", run_folder, "--prompt", "x", *MODEL, "--batch-size", 1, "-o", output]
    main = command(folder, "", number, 1)
    done = subprocess.run(
        [*main, *map(str, arguments), "--device", "cpu,cpu"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert gone(folder)
    assert not output.exists()
    resumed = cli(*arguments, "--resume")
    assert resumed.returncode == 3, resumed.stderr
    assert_same(rows_of(output), whole_run)


def test_a_server_answers_when_a_process_dies(tmp_path: Path) -> None:
    folder = tmp_path / "killer"
    main = command(folder, "batch")
    server = Server.start(command=(*main, *SERVE, "--device", "cpu,cpu"))
    items = [{"prompt": "x", "image_b64": png_b64(seed)} for seed in range(6)]
    try:
        for _ in range(2):
            answer = server.post("/score", {"items": items})
            assert answer.status == 200
            assert [row["status"] for row in answer.json["items"]] == ["ok"] * 6
    finally:
        assert server.stop() == 0
    said = server.all_said()
    assert "on cpu, cpu at http" in said
    assert said.count("the process died (killed by SIGKILL") == 1
