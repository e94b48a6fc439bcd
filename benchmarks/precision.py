"""Measure bfloat16 against float32, and in other batches: LibreHPS-Tiny on rendered pictures.

python benchmarks/precision.py
"""

import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np

from librehps import AXES, LibreHPS
from librehps.types import Item, score_columns

OUTPUTS = Path(__file__).parents[1] / "examples" / "tiny" / "outputs.py"
NAMES = [f"{axis}{suffix}" for axis in AXES[:4] for suffix in ("_mu", "")]


def scores(dtype: str, items: list[Item], batch_size: int | None = None) -> dict:
    """Each column, (items,)."""
    model = LibreHPS.from_pretrained("tiny", dtype=dtype)
    rows = [score_columns(row.score, model.axes) for row in model.score_items(items, batch_size)]
    return {name: np.array([row[name] for row in rows]) for name in NAMES}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, OUTPUTS, Path(folder, "outputs")], check=True)
        files = sorted(Path(folder, "outputs").rglob("*.png"))
        prompts = [file.with_suffix(".txt").read_text().strip() for file in files]
        pairs = zip(files, prompts, strict=True)
        items = [Item(str(i), file, prompt) for i, (file, prompt) in enumerate(pairs)]
        exact, half = scores("float32", items), scores("bfloat16", items)
        single = scores("bfloat16", items, 1)
    for what, a, b in (("float32", exact, half), ("another batch", half, single)):
        for suffix in ("_mu", ""):
            moved = np.stack([abs(a[n] - b[n]) for n in NAMES if n.endswith("_mu") == bool(suffix)])
            name = "mu" if suffix else "mean"
            print(f"{what}, {name}: middle {np.median(moved):.4f}, most {moved.max():.4f}")
    one, two = exact["overall_mu"], half["overall_mu"]
    same = [(i, j) for i, j in combinations(range(len(items)), 2) if prompts[i] == prompts[j]]
    turned = [abs(one[i] - one[j]) for i, j in same if (one[i] > one[j]) != (two[i] > two[j])]
    widest = max(turned, default=0.0)
    print(f"{len(turned)} of {len(same)} pairs change their winner; gaps of {widest:.3f} at most")


if __name__ == "__main__":
    main()
