"""A server under load, and against requests made up from its own description."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import serve_load
from serve_client import Server

# Of Unicode, which take longer to make than all requests.
TABLES = str(Path(sys.prefix, ".hypothesis"))


@pytest.mark.slow
def test_load() -> None:
    plan = serve_load.Plan("tiny", "binary", clients=8, items=2, seconds=2, rounds=2)
    report = serve_load.run(plan)
    print(report.text())
    assert not report.tally.wrong
    assert report.tally.kinds["ok"] > 100 and report.tally.kinds["broken"] > 0
    assert report.rss[-1] < 1.15 * report.rss[0]


@pytest.mark.slow
def test_requests_of_its_own_description(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    server = Server.start("--max-items", "8", "--token-file", token)
    # No schema says which text is a picture: valid text may be an unreadable side of a pair.
    (tmp_path / "schemathesis.toml").write_text(
        "[checks.positive_data_acceptance]\nexpected-statuses = ['2xx', 401, 404, 422, 429]\n"
    )
    try:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("schemathesis")), "run",
             f"http://127.0.0.1:{server.port}/openapi.json", "--max-examples", "10",
             "--header", "Authorization: Bearer 0123456789abcdef", "--mode", "all",
             "--checks", "all", "--seed", "1", "--suppress-health-check", "all",
             "--generation-database", "none"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
            env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": TABLES},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    finally:
        assert server.stop() == 0
    assert "Traceback" not in "".join(server.said)
