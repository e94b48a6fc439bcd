"""Fixtures: the golden checkpoint, LibreHPS-Tiny, the command line within and as a process."""

import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Read once, when the hub's client is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# Bounds and files of the tests hold for float32; a CPU with bfloat16 arithmetic would choose that.
os.environ["LIBREHPS_DTYPE"] = "float32"
# Triton reads it when it is imported, which other packages do too.
os.environ["TRITON_INTERPRET"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core; torch reads this once, as do the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import forks
import in_process
from librehps import LibreHPS
from paths import CHECKPOINT, EXAMPLES, GOLDEN, MEDIA
from run_data import undisturbed, write_folder

__all__ = ["CHECKPOINT", "EXAMPLES", "GOLDEN", "MEDIA", "Cli"]

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reaches the network, or the caches of whoever runs it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hf"))
    monkeypatch.delenv("LIBREHPS_MODEL", raising=False)
    monkeypatch.delenv("LIBREHPS_CACHE", raising=False)


@pytest.fixture(autouse=True)
def _each_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows do not grow, and are written at once, as they are where a window takes long."""
    monkeypatch.setattr("librehps.runs.gathered.HOLD_S", 0.0)
    monkeypatch.setattr("librehps.engine.window_size.QUICK_S", 0.0)


@pytest.fixture(autouse=True)
def _own_notes() -> Iterator[None]:
    """A command that runs within a test takes the library's warnings, and must give them back."""
    logger = logging.getLogger("librehps")
    handlers, propagate = logger.handlers, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate


def pytest_sessionfinish() -> None:
    in_process.forget()


# Programs that some tests need, and the command that brings them all.
PROGRAMS = ("chromium", "exiftool", "ffmpeg", "jq")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line which programs are missing, whose tests were skipped."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        names = " ".join(missing)
        terminalreporter.write_line(
            f"not found: {', '.join(missing)}; tests that need them were skipped "
            f"(apt-get install {names})"
        )


@pytest.fixture(scope="session")
def golden() -> LibreHPS:
    """The golden checkpoint with the reference's way from files to pixels."""
    return LibreHPS.from_pretrained(
        CHECKPOINT, device="cpu", dtype="float32", background="keep", color_management=False
    )


@pytest.fixture(scope="session")
def tiny() -> LibreHPS:
    return LibreHPS.from_pretrained("tiny")


@pytest.fixture(scope="session")
def expected() -> dict:
    return json.loads((GOLDEN / "expected.json").read_text())


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of media for runs, see run_data.py; nobody may change it."""
    return write_folder(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def whole_run(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The rows of the folder from a run that nothing disturbed."""
    return undisturbed(run_folder, tmp_path_factory.mktemp("whole") / "x.parquet")


@pytest.fixture
def cli() -> Cli:
    """Runs `librehps ARGS` within this process, see in_process.py; stdout and stderr are files."""

    def run(*args: object, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return in_process.run(args, stdin, **environment)

    return run


@pytest.fixture
def process() -> Cli:
    """Runs `librehps ARGS` as a process that is forked, see forks.py; its streams are pipes."""
    return runner(*forks.librehps())


@pytest.fixture(scope="session")
def forked_ray() -> Iterator[None]:
    """Ray's workers are forked too, as its variable for a job's environment has it."""
    environment = {"py_executable": " ".join(forks.python())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": environment}))
        # Whatever token this machine has for clusters of its own.
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


def runner(*command: str) -> Cli:
    def run(*args: object, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *map(str, args)],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "120", **environment},
            check=False,
        )

    return run
