"""The model families that are known, and which of them a checkpoint folder belongs to."""

from pathlib import Path

from librehps.errors import CheckpointError
from librehps.models.base import Checkpoint, Family
from librehps.models.librehps.family import LibreHPSFamily
from librehps.models.weight_files import read_json

FAMILIES: tuple[Family, ...] = (LibreHPSFamily(),)


def open_checkpoint(folder: Path) -> Checkpoint:
    """Return the folder opened by its family; raises CheckpointError, naming file and cause."""
    config = read_json(folder / "config.json")
    for family in FAMILIES:
        if family.matches(folder, config):
            return family.open(folder)
    raise CheckpointError(
        f"{folder}/config.json describes a {config.get('model_type')!r} model, which no known "
        f"family can read: {', '.join(family.name for family in FAMILIES)}",
        hint="Give a LibreHPS checkpoint: a folder or a hub id.",
    )
