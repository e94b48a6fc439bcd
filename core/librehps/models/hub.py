"""Downloads from the Hugging Face hub, with an error of one line for each reason to fail."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from librehps.errors import ModelNotFoundError

LOG_IN = "hf auth login"
AGAIN = "Run the same command again."
LATER = "Wait a few minutes, then run the same command again."
BUSY_STATUSES = (429, 500, 502, 503, 504)
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)
MAX_REASON_CHARS = 160


class Problem(NamedTuple):
    """Message and hint of a failed download."""

    message: str
    hint: str


def cached_or_downloaded(
    repo: str, revision: str | None, patterns: Iterable[str], local: bool
) -> Path:
    """Return the folder of a repository's files; with `local` from the cache alone.

    Raises ModelNotFoundError for a failed download, FileNotFoundError with `local`.
    """
    from huggingface_hub import snapshot_download

    def fetch() -> Path:
        return Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=list(patterns), local_files_only=local
            )
        )

    if local:
        return fetch()
    with _hub_errors(repo, revision):
        return fetch()


@contextmanager
def _hub_errors(repo: str, revision: str | None) -> Iterator[None]:
    """Raise ModelNotFoundError in place of what the hub's client raises."""
    from huggingface_hub import errors

    try:
        yield
    # hf_xet, which fetches large files, raises RuntimeError.
    except (errors.HTTPError, OSError, RuntimeError) as error:  # type: ignore[attr-defined]
        problem = _problem(error, repo, revision)
        raise ModelNotFoundError(problem.message, hint=problem.hint) from error


def _problem(error: Exception, repo: str, revision: str | None) -> Problem:
    from huggingface_hub import errors

    # The client says that nothing is cached, and why in the cause.
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(error, repo, revision)
    if isinstance(error, errors.HTTPError):  # type: ignore[attr-defined]
        return _network_problem(error, repo)
    if getattr(error, "errno", None) in DISK_ERRORS or "No space left" in str(error):
        return Problem(
            f"{repo}: no space left on the disk of {_cache()}",
            f"Free space there, or set HF_HOME to a folder on a larger disk.{_kept(repo)}",
        )
    if isinstance(error, PermissionError):
        return Problem(
            f"{repo}: permission denied: {error.filename or _cache()}",
            "Set HF_HOME to a folder that you can write to.",
        )
    return Problem(f"{repo}: download failed: {_first_line(error)}", f"{AGAIN}{_kept(repo)}")


def _refusal(error: Exception, repo: str, revision: str | None) -> Problem:
    """Return why the hub answered with an error status."""
    from huggingface_hub import constants, errors

    status: int = error.response.status_code  # type: ignore[attr-defined]
    if isinstance(error, errors.GatedRepoError):
        return Problem(
            f"{repo}: access denied: the model is gated ({status})",
            f"Accept its licence at {constants.ENDPOINT}/{repo}, then: {LOG_IN}",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return Problem(
            f"{repo}: not found on the hub, or private ({status})",
            f"Check the spelling of the id. For a private model: {LOG_IN}",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return Problem(
            f"{repo}: revision not found: {revision or 'main'} ({status})",
            f"Check --revision against {constants.ENDPOINT}/{repo}/commits/main.",
        )
    if status == 401:
        unset = ", or unset HF_TOKEN" if os.environ.get("HF_TOKEN") else ""
        return Problem(
            f"{repo}: the hub rejected your token (401)", f"Log in again{unset}: {LOG_IN}"
        )
    if status == 403:
        return Problem(
            f"{repo}: permission denied for your token (403)",
            f"Use a token that can read this model: {LOG_IN}",
        )
    hint = LATER if status in BUSY_STATUSES else AGAIN
    return Problem(f"{repo}: download failed: the hub answered {status}", f"{hint}{_kept(repo)}")


def _network_problem(error: Exception, repo: str) -> Problem:
    from huggingface_hub import constants

    if kept := _kept(repo):
        return Problem(
            f"{repo}: download interrupted: {_first_line(error)}",
            f"{AGAIN}{kept}",
        )
    return Problem(
        f"{repo}: cannot reach {constants.ENDPOINT}: {_first_line(error)}",
        "Check the network and the proxy (HTTPS_PROXY), or use a folder: --model FOLDER.",
    )


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _kept(repo: str) -> str:
    """Return a sentence where files of the repository were downloaded before it failed."""
    from huggingface_hub.file_download import repo_folder_name

    blobs = Path(_cache(), repo_folder_name(repo_id=repo, repo_type="model"), "blobs")
    is_any = blobs.is_dir() and any(f.suffix != ".incomplete" for f in blobs.iterdir())
    return " Downloaded files are kept." if is_any else ""


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:MAX_REASON_CHARS] if text else type(error).__name__
