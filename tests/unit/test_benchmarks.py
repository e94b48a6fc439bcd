"""Random checkpoints of `random_4b.py` load; the table of `precision.py` counts right."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import precision
import random_4b
from conftest import EXAMPLES
from librehps import LibreHPS
from librehps.bench.configs import config_of
from librehps.models.weights import stored_shape, tensor_names
from librehps.types import Item

NAN = math.nan
# Three items a, b and c, and two that have no score in one of the two.
EXACT = np.array([1.0, 1.25, 3.0, 4.0, NAN])
OTHER = np.array([1.25, 1.0, 2.5, NAN, 5.0])
INDEX = np.array([[0, 1], [1, 0], [0, 2], [2, 1], [2, 3], [4, 2]])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random")
    random_4b.write_checkpoint(folder, random_4b.config_with("tiny", 2), 2e6)
    return folder


def test_random_checkpoint_has_the_published_layout(written: Path) -> None:
    index = json.loads((written / "model.safetensors.index.json").read_text())
    shards = sorted(set(index["weight_map"].values()))
    assert len(shards) > 1
    sizes = {}
    for shard in shards:
        for name in tensor_names(written / shard):
            sizes[name] = random_4b.stored_bytes(stored_shape((written / shard, name)))
    assert sizes.keys() == index["weight_map"].keys()
    assert sizes["lm_head.weight"] == sizes["model.language_model.embed_tokens.weight"]
    assert sum(sizes.values()) == index["metadata"]["total_size"]


def test_random_checkpoint_gives_each_picture_its_score(written: Path) -> None:
    scorer = LibreHPS.from_pretrained(written, device="cpu", dtype="float32")
    pictures = sorted(EXAMPLES.glob("*.png"))[:3]
    mus = [
        row.raw_mean for row in (scorer.score_image(p, "a red circle").overall for p in pictures)
    ]
    assert all(map(math.isfinite, mus)) and len({*mus}) == len(mus)


def test_the_4b_is_written_in_its_true_size() -> None:
    shapes = random_4b.tensor_shapes(config_of("4b"))
    assert sum(map(random_4b.stored_bytes, shapes.values())) == pytest.approx(20.7e9, rel=1e-3)
    parts = random_4b.shards(shapes, 5e9)
    assert [name for names in parts for name in names] == list(shapes)
    assert all(sum(random_4b.stored_bytes(shapes[n]) for n in names) <= 5e9 for names in parts)


def test_flips_count_changed_winners_and_the_gap_that_was() -> None:
    changed = precision.flips(EXACT, OTHER, INDEX)
    assert changed == precision.Flips(count=2, pairs=4, largest_gap=0.25)
    assert precision.flips(EXACT, EXACT, INDEX) == precision.Flips(0, 5, 0.0)


def test_table_row() -> None:
    items = [Item(str(at), Path("x.png"), "x") for at in range(5)]
    human = np.array([1.0, 0.0, 0.0, 0.5, NAN, 1.0])
    pairs = precision.Pairs(items, INDEX, human)
    exact, other = (precision.Scored(mu, mu / 10) for mu in (EXACT, OTHER))
    cells = precision.row("int8", "float32", exact, other, other, pairs)
    assert cells == [
        *("int8", "float32", "0.250 / 0.495 / 0.500", "0.050", "2 of 4 (50.00%)", "0.250"),
        *("0.0000", "0", "100.00%"),
    ]


def test_pairs_of_a_file_give_accuracy(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a red circle", "media_a": a, "media_b": "torn.png", "overall": "a"}
        for a in ("match.png", "blurred.png")
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = precision.read_pairs(file, EXAMPLES)
    assert [item.media.name for item in pairs.items] == ["match.png", "torn.png", "blurred.png"]
    assert pairs.index.tolist() == [[0, 1], [2, 1]] and pairs.human.tolist() == [1.0, 1.0]
    assert precision.accuracy(np.array([2.0, 1.0, 0.0]), pairs) == 0.5
