"""The supported model families, and the family of a checkpoint folder."""

from pathlib import Path
from typing import Any

from librehps.errors import CheckpointError
from librehps.models.base import Checkpoint, Family
from librehps.models.hpsv3.family import HPSv3Family
from librehps.models.librehps.family import LibreHPSFamily
from librehps.models.memory_need import Footprint
from librehps.models.weight_files import read_json

FAMILIES: tuple[Family, ...] = (LibreHPSFamily(), HPSv3Family())


def open_checkpoint(folder: Path, base: Path | None = None) -> Checkpoint:
    """Return the checkpoint in a folder, opened by its family.

    `base` is the folder of config and tokenizer, if it is another folder. Raises CheckpointError,
    naming file and cause.
    """
    return family_of(folder, base).open(folder, base)


def family_of(folder: Path, base: Path | None = None) -> Family:
    """Return the family that a checkpoint folder's config.json belongs to.

    Raises CheckpointError, naming the model type found and the supported families.
    """
    return _matching(base or folder, folder)[0]


def footprint_of(config_file: Path) -> Footprint:
    """Return the sizes that determine the memory of a model, from its config.json alone.

    Raises CheckpointError.
    """
    family, config = _matching(config_file.parent, config_file.parent)
    return family.footprint(config_file, config)


def _matching(base: Path, folder: Path) -> tuple[Family, dict[str, Any]]:
    file = base / "config.json"
    config = read_json(file)
    for family in FAMILIES:
        if family.matches(folder, config):
            return family, config
    raise CheckpointError(
        f"{file}: unsupported model type {config.get('model_type')!r}; "
        f"supported families: {', '.join(family.name for family in FAMILIES)}",
        hint="Give a LibreHPS or HPSv3 checkpoint: a folder or a hub id.",
    )
