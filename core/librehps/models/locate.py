"""Model names: `tiny`, a folder, or a hub id, to the folder of the checkpoint."""

import re
from dataclasses import dataclass
from pathlib import Path

from librehps.errors import CheckpointError, DownloadNeededError, ModelNotFoundError
from librehps.models.hpsv3 import published as hpsv3
from librehps.models.hub import cached_or_downloaded
from librehps.models.weight_files import read_json, shard_paths
from librehps.settings import DEFAULT_MODEL, DEFAULT_MODEL_SIZE, TINY

EMBEDDED = Path(__file__).parents[1] / "embedded"
# Never pickled weights, even if the repository has some.
HUB_FILES = ("*.json", "*.safetensors")
CONFIG_FILE = "config.json"
CHECKPOINT_FILES = (CONFIG_FILE, "tokenizer.json")
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


@dataclass(frozen=True)
class Located:
    """A checkpoint's folder, and the model name that the settings of its scores hold.

    `base` is the folder of config and tokenizer if another repository publishes them.
    """

    folder: Path
    name: str
    base: Path | None = None


@dataclass(frozen=True)
class HubFiles:
    """The files of a repository that a model needs: `names`, or a whole checkpoint if None."""

    repo: str
    size: str = "all of its weights"
    names: tuple[str, ...] | None = None

    def are_in(self, folder: Path) -> bool:
        """Return whether the folder holds these files, and every file that a weight index names."""
        if not all((folder / name).exists() for name in self.names or CHECKPOINT_FILES):
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
    """Return the folder of `tiny`, of a folder's path, or of a hub id, cached or downloaded.

    Raises ModelNotFoundError, and DownloadNeededError for a hub id that is not completely in the
    cache if `download` is false.
    """
    folder = _local_folder(model)
    if folder is not None:
        return Located(folder, _name(folder))
    repo = str(model)
    folder = _from_hub(PUBLISHED.get(repo, HubFiles(repo)), revision, download)
    base = BASES.get(repo)
    return Located(folder, repo, None if base is None else _from_hub(base, None, download))


def locate_config(model: str | Path, revision: str | None = None, download: bool = True) -> Path:
    """Return the path of a model's config.json, of a hub id cached or downloaded without weights.

    Raises ModelNotFoundError, and DownloadNeededError if it is not in the cache and `download` is
    false.
    """
    folder = _local_folder(model)
    if folder is None:
        base = BASES.get(str(model))
        files = HubFiles(str(model) if base is None else base.repo, CONFIG_FILE, (CONFIG_FILE,))
        folder = _from_hub(files, revision if base is None else None, download)
    return folder / CONFIG_FILE


def _local_folder(model: str | Path) -> Path | None:
    """Return the folder of `tiny` or of a path, None for a hub id; raises ModelNotFoundError."""
    if model == TINY:
        return EMBEDDED
    try:
        folder = Path(model).expanduser()
        is_folder, exists = folder.is_dir(), folder.exists()
    except (RuntimeError, OSError):
        # Unknown user in ~user, or a name too long for a path.
        is_folder = exists = False
    if is_folder and str(model):
        return folder
    if not _HUB_ID.fullmatch(str(model)) or exists:
        raise ModelNotFoundError(
            f"model not found: {str(model)!r} is neither a folder nor a hub id",
            hint=f"Use --model with a folder, a hub id such as {DEFAULT_MODEL}, or `{TINY}`.",
        )
    return None


def _name(folder: Path) -> str:
    own = read_json(folder / "config.json").get("librehps")
    named = own.get("name") if isinstance(own, dict) else None
    return str(named or folder.resolve().name)


def _from_hub(files: HubFiles, revision: str | None, download: bool) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError

    repo, patterns = files.repo, files.names or HUB_FILES
    try:
        cached = cached_or_downloaded(repo, revision, patterns, local=True)
        if files.are_in(cached):
            return cached
    except FileNotFoundError:
        # Nothing of it is in the cache.
        pass
    except HFValidationError as error:
        reason = str(error).splitlines()[0]
        raise ModelNotFoundError(f"--model: invalid hub id {repo!r}: {reason}") from error
    if constants.HF_HUB_OFFLINE:
        raise ModelNotFoundError(
            f"{repo}: not in the cache, or incomplete, and HF_HUB_OFFLINE forbids a download",
            hint="Unset HF_HUB_OFFLINE, or use a folder: --model FOLDER.",
        )
    if not download:
        raise DownloadNeededError(
            f"{repo} is not on this machine: {files.size} would be downloaded",
            hint=f"Add --download to allow the download, or use --model {TINY}, which needs none.",
        )
    return cached_or_downloaded(repo, revision, patterns, local=False)
