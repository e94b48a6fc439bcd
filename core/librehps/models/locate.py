"""From what the user calls a model to a folder on this machine."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from librehps.errors import CheckpointError, DownloadNeededError, ModelNotFoundError
from librehps.models.hpsv3 import published as hpsv3
from librehps.models.weight_files import read_json, shard_paths
from librehps.settings import DEFAULT_MODEL, DEFAULT_MODEL_SIZE, TINY

EMBEDDED = Path(__file__).parents[1] / "embedded"
# Never the pickled weights that may lie beside them.
HUB_FILES = ("*.json", "*.safetensors")
WHOLE = ("config.json", "tokenizer.json")
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


@dataclass(frozen=True)
class Located:
    """A checkpoint's folder, and the name that scores are labelled with.

    `base` is the folder of config and tokenizer where they are published in another repository.
    """

    folder: Path
    name: str
    base: Path | None = None


@dataclass(frozen=True)
class HubFiles:
    """What is needed of a repository: the files named, or a whole checkpoint (`names` is None)."""

    repo: str
    size: str = "all of its weights"
    names: tuple[str, ...] | None = None

    def are_in(self, folder: Path) -> bool:
        """Return whether the folder holds these files, and every shard of an index."""
        if not all((folder / name).exists() for name in self.names or WHOLE):
            return False
        try:
            return self.names is not None or bool(shard_paths(folder))
        except CheckpointError:
            return False


PUBLISHED = {
    DEFAULT_MODEL: HubFiles(DEFAULT_MODEL, DEFAULT_MODEL_SIZE),
    hpsv3.REPO: HubFiles(hpsv3.REPO, hpsv3.SIZE, (hpsv3.WEIGHTS_FILE,)),
}
BASES = {hpsv3.REPO: HubFiles(hpsv3.BASE_REPO, hpsv3.BASE_SIZE, hpsv3.BASE_FILES)}


def locate(model: str | Path, revision: str | None = None, download: bool = True) -> Located:
    """`tiny`, a folder, or a hub id; a hub id comes from the cache where it is there and whole.

    Raises ModelNotFoundError, and DownloadNeededError where it would have to be downloaded and
    `download` is false.
    """
    if model == TINY:
        return Located(EMBEDDED, _name(EMBEDDED))
    try:
        folder = Path(model).expanduser()
        is_folder, exists = folder.is_dir(), folder.exists()
    except (RuntimeError, OSError):
        # No such user's home, or a name too long to be a path.
        is_folder = exists = False
    if is_folder and str(model):
        return Located(folder, _name(folder))
    if not _HUB_ID.fullmatch(str(model)) or exists:
        raise ModelNotFoundError(
            f"{model} is neither a folder nor a hub id",
            hint=f"Give a checkpoint's folder, an id such as {DEFAULT_MODEL}, or `{TINY}`.",
        )
    repo = str(model)
    folder = _from_hub(PUBLISHED.get(repo, HubFiles(repo)), revision, download)
    base = BASES.get(repo)
    return Located(folder, repo, None if base is None else _from_hub(base, None, download))


def _name(folder: Path) -> str:
    own = read_json(folder / "config.json").get("librehps")
    named = own.get("name") if isinstance(own, dict) else None
    return str(named or folder.resolve().name)


def _from_hub(files: HubFiles, revision: str | None, download: bool) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError

    repo, patterns = files.repo, list(files.names or HUB_FILES)

    def fetch(local: bool) -> Path:
        return Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=patterns, local_files_only=local
            )
        )

    try:
        cached = fetch(local=True)
        if files.are_in(cached):
            return cached
    except FileNotFoundError:
        # Nothing of it is in the cache.
        pass
    except HFValidationError as error:
        raise ModelNotFoundError(f"{repo} is no hub id: {_first_line(error)}") from error
    if constants.HF_HUB_OFFLINE:
        raise ModelNotFoundError(
            f"{repo} is not whole on this machine, and HF_HUB_OFFLINE forbids to fetch it",
            hint="Download it where there is a network, or give a folder.",
        )
    if not download:
        raise DownloadNeededError(
            f"{repo} is not on this machine: {files.size} would be downloaded",
            hint=f"Agree with --download, or try `--model {TINY}` (needs no download).",
        )
    with _hub_errors(repo):
        return fetch(local=False)


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """The hub client's errors in our words."""
    from huggingface_hub import errors

    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelNotFoundError(
            f"the hub has no {repo}, or not this revision: {_first_line(error)}",
            hint="Check the id; a private one needs `hf auth login`.",
        ) from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        raise ModelNotFoundError(
            f"{repo} could not be downloaded: {_first_line(error)}",
            hint="What has arrived is kept: run the same command again.",
        ) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
