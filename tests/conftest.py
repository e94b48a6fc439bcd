"""Fixtures: the golden checkpoint, LibreHPS-Tiny, and the command line as a real process."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from librehps import LibreHPS

# Read once, when the hub's client is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"

GOLDEN = Path(__file__).parent / "golden"
MEDIA = GOLDEN / "media"
CHECKPOINT = GOLDEN / "checkpoint"
EXAMPLES = Path(__file__).parents[1] / "examples"

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reaches the network, or the caches of whoever runs it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hf"))
    monkeypatch.delenv("LIBREHPS_MODEL", raising=False)


@pytest.fixture(autouse=True)
def _own_notes() -> Iterator[None]:
    """A command that runs within a test takes the library's warnings, and must give them back."""
    logger = logging.getLogger("librehps")
    handlers, propagate = logger.handlers, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate


@pytest.fixture(scope="session")
def golden() -> LibreHPS:
    return LibreHPS.from_pretrained(CHECKPOINT, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def tiny() -> LibreHPS:
    return LibreHPS.from_pretrained("tiny")


@pytest.fixture(scope="session")
def expected() -> dict:
    return json.loads((GOLDEN / "expected.json").read_text())


@pytest.fixture
def cli() -> Cli:
    """Runs `librehps ARGS` as its user would; stdout and stderr are pipes."""

    def run(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "librehps_cli", *map(str, args)],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "120", **environment},
            timeout=300,
            check=False,
        )

    return run
