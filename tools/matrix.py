"""Golden tests on every Python and `transformers` we support: `make test-matrix`.

Makes an environment for each; interpreters that are not on this machine are named and passed over.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OLDEST, NEWEST = "5.5.4", "5.23.0"
CASES = [
    ("python3.11", OLDEST),
    ("python3.11", NEWEST),
    ("python3.12", NEWEST),
    ("python3.13", NEWEST),
]
TESTS = [
    f"tests/unit/test_{name}.py"
    for name in ("golden", "scorer", "delta", "checkpoint", "attention", "prompt", "network")
]


def runs(python: str) -> bool:
    """Return True if the interpreter runs; a broken shim does not."""
    if shutil.which(python) is None:
        return False
    done = subprocess.run([python, "-c", "import venv"], capture_output=True, check=False)
    return done.returncode == 0


def prepare(python: str, transformers: str) -> Path:
    """An environment with the constraints, but for the one version under test."""
    folder = ROOT / "build" / "matrix" / f"{python}-{transformers}"
    if not (folder / "bin" / "python").exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
    pins = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith(("transformers==", "huggingface_hub==", "tokenizers=="))
    ]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join([*pins, f"transformers=={transformers}"]) + "\n")
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-c", constraints, "-e", f"{ROOT}[dev]"], check=True)
    return folder / "bin" / "python"


def main() -> int:
    failed = []
    for python, transformers in CASES:
        name = f"{python}, transformers {transformers}"
        if not runs(python):
            print(f"{name}: no such interpreter here, passed over", flush=True)
            continue
        interpreter = prepare(python, transformers)
        command = [interpreter, "-m", "pytest", "-q", "-m", "not slow", *TESTS]
        done = subprocess.run(command, cwd=ROOT, check=False)
        print(f"{name}: {'passed' if done.returncode == 0 else 'FAILED'}", flush=True)
        if done.returncode:
            failed.append(name)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
