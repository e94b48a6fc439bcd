"""Controls: what pictures alone, or statistics of them alone, tell of a preference.

A benchmark that these solve does not show that a model reads prompts and sees defects.
"""

import json
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BINS = 4
FOLDS = 5
Row = dict[str, Any]
Floats = NDArray[np.float64]


def shuffle_prompts(rows: list[Row], most: int) -> list[Row]:
    """Up to `most` of the pairs that alignment decides, each with another pair's prompt."""
    rng = random.Random(0)
    chosen = [row for row in rows if row["alignment"] != 0.5][:most]
    return [
        {
            **{key: row[key] for key in ("media_a", "media_b", "alignment", "benchmark", "index")},
            "prompt": rng.choice([r["prompt"] for r in chosen if r["prompt"] != row["prompt"]]),
        }
        for row in chosen
    ]


def statistics_accuracy(rows: list[Row], root: Path, axes: list[str]) -> dict[str, float]:
    """Axis -> accuracy of a logistic regression on colour histograms and edge energy, 5 folds.

    Its input is the difference of the two media's statistics, so neither order is favoured.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    files = [root / row[side] for row in rows for side in ("media_a", "media_b")]
    with ProcessPoolExecutor() as pool:
        found = np.stack(list(pool.map(statistics, files, chunksize=50)))
    gaps, accuracy = found[0::2] - found[1::2], {}
    for axis in axes:
        outcome = np.array([row[axis] for row in rows], dtype=float)
        x, y = gaps[outcome != 0.5], outcome[outcome != 0.5] == 1
        right = 0
        for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(x):
            fit = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
            fit.fit(np.concatenate((x[train], -x[train])), np.concatenate((y[train], ~y[train])))
            right += int((fit.predict(x[test]) == y[test]).sum())
        accuracy[axis] = right / len(x)
    return accuracy


def statistics(file: Path) -> Floats:
    """Share of each of 64 colours, and the mean step between neighbours; (65,), mean of frames."""
    if file.suffix == ".mp4":
        with av.open(str(file)) as clip:
            frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    else:
        frames = [np.asarray(Image.open(file).convert("RGB"))]
    mean: Floats = np.mean([_of_frame(frame) for frame in frames], axis=0)
    return mean


def _of_frame(frame: NDArray[np.uint8]) -> Floats:
    coarse = frame.astype(int) * BINS // 256
    colour = (coarse * (BINS**2, BINS, 1)).sum(-1).ravel()
    shares = np.bincount(colour, minlength=BINS**3) / colour.size
    grey = frame.mean(-1)
    edges = sum(np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1))
    return np.append(shares, edges)


def read_rows(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text().splitlines()]
