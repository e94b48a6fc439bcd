"""The items of paths, for tests."""

from pathlib import Path

from librehps import Item
from librehps.items.source import Source, SourceOptions


def items_of(*paths: Path | str, **options: object) -> list[Item]:
    return list(Source([str(p) for p in paths], SourceOptions(**options)).items())  # type: ignore[arg-type]
