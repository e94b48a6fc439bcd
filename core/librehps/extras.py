"""The optional dependencies (extras), and a check that the packages of an extra are installed."""

import importlib.util

from librehps.errors import ExtraNeededError

EXTRAS = {
    "formats": ("pi_heif", "pylibjxl"),
    "evaluate": ("scipy", "matplotlib"),
    "report": ("jinja2", "scipy", "matplotlib"),
    "ray": ("ray",),
    "remote": ("s3fs", "gcsfs", "adlfs", "aiohttp"),
    "judge": ("fastapi", "uvicorn", "h11", "prometheus_client", "nltk"),
    "serve": ("fastapi", "uvicorn", "h11", "prometheus_client"),
    "train": ("accelerate", "peft"),
    "quantize": ("torchao", "bitsandbytes"),
}


def require(extra: str, purpose: str, *packages: str) -> None:
    """Raise ExtraNeededError if a package of the extra, or of `packages`, is not installed."""
    missing = [name for name in packages or EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise ExtraNeededError(f"{purpose} needs {', '.join(missing)}", hint=install_hint(extra))


def install_hint(extra: str) -> str:
    """Return the command that installs an extra, as a sentence."""
    return (
        f"In a clone of the librehps repository, run: pip install -c constraints.txt '.[{extra}]'"
    )
