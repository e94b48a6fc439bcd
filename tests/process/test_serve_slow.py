"""A server under load, and against requests made up from its own description."""

import subprocess
import sys
from pathlib import Path

import pytest

import serve_load
from serve_client import Server


@pytest.mark.slow
def test_load() -> None:
    report = serve_load.run("tiny", clients=8, items=2, seconds=2, rounds=2)
    print(report.text())
    assert not report.tally.wrong
    assert report.tally.kinds["ok"] > 100 and report.tally.kinds["broken"] > 0
    assert report.rss[-1] < 1.15 * report.rss[0]


@pytest.mark.slow
def test_requests_of_its_own_description(tmp_path: Path) -> None:
    server = Server.start("--max-items", "8")
    try:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("schemathesis")), "run",
             f"http://127.0.0.1:{server.port}/openapi.json", "--max-examples", "25",
             "--phases", "examples,coverage,fuzzing", "--seed", "1", "--suppress-health-check",
             "all", "--checks", "not_a_server_error,status_code_conformance,"
             "content_type_conformance,response_schema_conformance"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    finally:
        assert server.stop() == 0
    assert "Traceback" not in "".join(server.said)
