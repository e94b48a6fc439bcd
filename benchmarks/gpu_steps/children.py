"""Run a step in a child process: return its result, or the reason why there is none."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from gpu_steps.base import Failed, Result, Skipped, Step, Where

TAIL_CHARS = 600


def run_here(step: Step, where: Where) -> Result:
    """Return the result of the step in this process; an exception fails the step alone."""
    start = time.perf_counter()
    result = Result(step.name, "passed")
    try:
        result.figures = step.run(where)
    except Skipped as reason:
        result.status, result.reason = "skipped", str(reason)
    except Failed as reason:
        result.status, result.reason, result.figures = "failed", str(reason), reason.figures
    except Exception as error:  # noqa: BLE001 - a step may fail in any way; the others still run
        result.status = "failed"
        result.reason = f"{type(error).__name__}: {str(error).strip()[-TAIL_CHARS:]}"
        result.figures = {"traceback": traceback.format_exc()[-2000:]}
    result.seconds = time.perf_counter() - start
    return result


def run_in_child(name: str, command: list[str], limit_s: float) -> Result:
    """Return the result that `command` writes to the file named by its last argument.

    The child and all its processes are stopped after `limit_s` seconds.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder, "result.json"), Path(folder, "log")
        with log.open("w") as sink:
            child = subprocess.Popen(
                [*command, str(output)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = child.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                stop(child)
        result = _read(name, output, code, limit_s, _tail(log))
    result.seconds = time.perf_counter() - start
    return result


def stop(child: subprocess.Popen) -> None:
    """End the child and every process that it started."""
    # The group outlives its leader: compilers, for one, may still run.
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def child_command(script: Path, name: str, where: Where) -> list[str]:
    """Return the command of a step's child, but for the file of the result."""
    flags = ["--device", where.device, "--config", where.config, "--every", str(where.every)]
    return [sys.executable, str(script), *flags, "--step", name, "--result"]


def _read(name: str, output: Path, code: int | None, limit_s: float, tail: str) -> Result:
    if code is None:
        return Result(name, "failed", f"stopped after {limit_s:.0f} s; last output: {tail}")
    try:
        return Result(**json.loads(output.read_text()))
    except (OSError, ValueError, TypeError):
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return Result(name, "failed", f"ended {how} without a result; last output: {tail}")


def _tail(log: Path) -> str:
    text = " ".join(log.read_text(errors="replace").split())
    return text[-TAIL_CHARS:] or "none"
