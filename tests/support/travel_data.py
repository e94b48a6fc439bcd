"""A project whose scored files are used from other folders: pictures in files, tars and Parquet."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from make_media import picture


def png(seed: int) -> bytes:
    held = io.BytesIO()
    picture(seed=seed).save(held, "PNG")
    return held.getvalue()


def tar_of(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def parquet_of(
    file: Path, cells: list[tuple[str | None, bytes | None]], column: str = "image"
) -> Path:
    """Rows of `{bytes, path}` cells and a prompt."""
    pictures = [{"bytes": content, "path": path} for path, content in cells]
    table = pa.table({column: pictures, "prompt": ["a red circle"] * len(cells)})
    pq.write_table(table, file, row_group_size=2)
    return file
