"""The model families that are known, and which of them a checkpoint folder belongs to."""

from pathlib import Path

from librehps.errors import CheckpointError
from librehps.models.base import Checkpoint, Family
from librehps.models.hpsv3.family import HPSv3Family
from librehps.models.librehps.family import LibreHPSFamily
from librehps.models.weight_files import read_json

FAMILIES: tuple[Family, ...] = (LibreHPSFamily(), HPSv3Family())


def open_checkpoint(folder: Path, base: Path | None = None) -> Checkpoint:
    """Return the folder opened by its family; raises CheckpointError, naming file and cause.

    `base` is the folder of config and tokenizer where it is another one.
    """
    return family_of(folder, base).open(folder, base)


def family_of(folder: Path, base: Path | None = None) -> Family:
    """Return the family that a checkpoint folder's config.json belongs to.

    Raises CheckpointError, naming what was found and the families that are known.
    """
    file = (base or folder) / "config.json"
    config = read_json(file)
    for family in FAMILIES:
        if family.matches(folder, config):
            return family
    raise CheckpointError(
        f"{file} describes a {config.get('model_type')!r} model, which no known "
        f"family can read: {', '.join(family.name for family in FAMILIES)}",
        hint="Give a LibreHPS or HPSv3 checkpoint: a folder or a hub id.",
    )
