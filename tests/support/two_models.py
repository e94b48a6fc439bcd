"""Scored rows of two models for the same media, and the scores of their weighted sum by hand."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, PER_PROMPT = 60, 4


def scored(seed: int, scale: float = 1, model: str = "one/first") -> pa.Table:
    """Rows of two generators, with some errors; each prompt has PER_PROMPT rows, the last one."""
    rng = np.random.default_rng(seed)
    failed = rng.random(ROWS) < 0.05
    failed[-1] = False
    mu = (scale * rng.normal(size=ROWS)).astype(np.float32)
    prompts = [f"prompt {i // PER_PROMPT}" for i in range(ROWS - 1)] + ["alone"]
    table = pa.table(
        {
            "id": [f"{'xy'[i % 2]}/{i}.png" for i in range(ROWS)],
            "media": [f"outputs/{'xy'[i % 2]}/{i}.png" for i in range(ROWS)],
            "kind": ["image"] * ROWS,
            "prompt": prompts,
            "group": pa.nulls(ROWS, pa.string()),
            "overall": pa.array(1 / (1 + np.exp(-mu)), mask=failed),
            "overall_mu": pa.array(mu, mask=failed),
            "width": [64] * ROWS,
            "status": ["error" if one else "ok" for one in failed],
            "gen": ["xy"[i % 2] for i in range(ROWS)],
            "aesthetic": pa.array(rng.normal(5, 2, ROWS), mask=rng.random(ROWS) < 0.2),
        }
    )
    settings = {"model": model, "dtype": "float32", "axes": ["overall"]}
    return table.replace_schema_metadata({"librehps.settings": json.dumps(settings)})


def put(folder: Path, name: str, table: pa.Table) -> Path:
    pq.write_table(table, folder / name, row_group_size=25)
    return folder / name


def by_hand(
    rows: Sequence[Mapping[str, Any]], weights: Mapping[str, float], per: str | None
) -> list[float | None]:
    """The sum of weighted z-scores of columns, None for errors and missing values."""
    whole = [r["status"] == "ok" and all(r[name] is not None for name in weights) for r in rows]
    scores: list[float | None] = [0.0 if one else None for one in whole]
    for name, weight in weights.items():
        for group in {row[per] if per else None for row in rows}:
            at = [i for i, r in enumerate(rows) if whole[i] and (not per or r[per] == group)]
            for i, z in zip(at, zscores(rows[i][name] for i in at), strict=True):
                scores[i] = (scores[i] or 0.0) + weight * z
    return scores


def zscores(values: Iterable[float]) -> list[float]:
    known = list(values)
    if len(set(known)) < 2:
        return [0.0] * len(known)
    mean = fmean(known)
    deviation = fmean((value - mean) ** 2 for value in known) ** 0.5
    return [(value - mean) / deviation for value in known]
