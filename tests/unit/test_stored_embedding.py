"""The embedding off the device: equal scores, and a shard that changes under a running process."""

import errno
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from checkpoints import rewrite
from conftest import CHECKPOINT, GOLDEN, MEDIA
from librehps import Item, LibreHPS
from librehps.errors import CheckpointError
from librehps.models import stored_embedding
from librehps.models.hpsv3.checkpoint import StoredModel
from librehps.models.librehps.checkpoint import Checkpoint
from librehps.models.stored_embedding import EMBEDDING, RowEmbedding, StoredRows
from librehps.models.weights import Stored, read_tensor

HPSV3 = GOLDEN.parent / "golden_hpsv3" / "checkpoint"
PROMPTS = ["a red square", "words of another prompt, which is longer", "a red square"]
CPU = torch.device("cpu")


def tensors_of(folder: Path) -> Stored:
    return (
        StoredModel.open(folder, folder).tensors
        if folder == HPSV3
        else Checkpoint.open(folder).tensors
    )


def scores(scorer: LibreHPS) -> list[object]:
    items = [Item(str(n), MEDIA / "small.png", prompt) for n, prompt in enumerate(PROMPTS)]
    return [row.score for row in scorer.score_items(items, batch_size=4)]


def with_embedding_in_memory(scorer: LibreHPS, folder: Path) -> LibreHPS:
    table = read_tensor(tensors_of(folder)[EMBEDDING], scorer.dtype, scorer.device)
    text = scorer._model.network.model.language_model
    text.embed_tokens = nn.Embedding.from_pretrained(table)
    scorer._model.embedding = None
    return scorer


@pytest.mark.parametrize("folder", [CHECKPOINT, HPSV3], ids=["librehps", "hpsv3"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_scores_are_equal_bit_for_bit(folder: Path, dtype: str) -> None:
    scorer = LibreHPS.from_pretrained(folder, device="cpu", dtype=dtype)
    names = [name for name, _ in scorer._model.network.named_parameters()]
    assert EMBEDDING not in names and len(names) > 50
    found = scores(scorer)
    assert None not in found
    assert found == scores(with_embedding_in_memory(scorer, folder))


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_cast_as_loading_casts_them(
    tmp_path: Path, stored: torch.dtype, dtype: torch.dtype
) -> None:
    noise = torch.randn(348, 64, dtype=torch.float64)
    folder = rewrite(tmp_path / "x", lambda t: {**t, EMBEDDING: (t[EMBEDDING] + noise).to(stored)})
    place = tensors_of(folder)[EMBEDDING]
    rows = StoredRows(place, dtype)
    whole = read_tensor(place, dtype, CPU)
    for ids in ([0, 7, 347], [7, 8], [*range(348)]):
        assert torch.equal(rows.read(torch.tensor(ids)), whole[ids])


def test_a_full_cache_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_embedding, "CACHE_BYTES", 3 * 64 * 4)
    place = tensors_of(CHECKPOINT)[EMBEDDING]
    rows, whole = StoredRows(place, torch.float32), read_tensor(place, torch.float32, CPU)
    for ids in ([1, 2], [2, 3], [4], [1, 2, 3, 4, 5, 6], [9], [1, 9]):
        assert torch.equal(rows.read(torch.tensor(ids)), whole[ids])


def test_a_replaced_or_deleted_shard_is_read_to_the_end(tmp_path: Path) -> None:
    folder = rewrite(tmp_path / "x", lambda t: t)
    scorer = LibreHPS.from_pretrained(folder, device="cpu", dtype="float32")
    other = rewrite(tmp_path / "y", lambda t: {n: v + 1 for n, v in t.items()})
    [shard], [fresh] = folder.glob("*.safetensors"), other.glob("*.safetensors")
    fresh.replace(shard)
    expected = scores(LibreHPS.from_pretrained(CHECKPOINT, device="cpu", dtype="float32"))
    assert scores(scorer) == expected
    shard.unlink()
    assert scores(scorer) == expected


def overwrite(shard: Path) -> None:
    size = shard.stat().st_size
    with shard.open("r+b") as file:
        file.write(bytes(size))
    os.utime(shard, ns=(1, 1))


@pytest.mark.parametrize(
    "change", [overwrite, lambda shard: os.truncate(shard, 1000)], ids=["overwritten", "truncated"]
)
def test_a_shard_that_is_overwritten_is_an_error(tmp_path: Path, change: object) -> None:
    folder = rewrite(tmp_path / "x", lambda t: t)
    [shard] = folder.glob("*.safetensors")
    scorer = LibreHPS.from_pretrained(folder, device="cpu", dtype="float32")
    change(shard)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=r"\.safetensors: .*overwritten while in use"):
        scores(scorer)


def test_a_file_system_without_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "posix_fadvise", refuse, raising=False)
    place = tensors_of(CHECKPOINT)[EMBEDDING]
    rows, whole = StoredRows(place, torch.float32), read_tensor(place, torch.float32, CPU)
    assert torch.equal(rows.read(torch.tensor([3, 4])), whole[[3, 4]])


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_the_file_is_closed_with_the_model() -> None:
    rows = StoredRows(tensors_of(CHECKPOINT)[EMBEDDING], torch.float32)
    file = rows._file
    del rows
    assert file.closed


def test_the_embedding_itself_takes_ids() -> None:
    """A caller of the network alone, without `collate`, has the same embeddings."""
    place = tensors_of(CHECKPOINT)[EMBEDDING]
    whole = read_tensor(place, torch.float32, CPU)
    ids = torch.tensor([[5, 5, 9], [0, 9, 1]])
    embedding = RowEmbedding(StoredRows(place, torch.float32).read, *whole.shape)
    assert torch.equal(embedding(ids), whole[ids])
    rows, index = embedding.lookup(ids)
    assert len(rows) == 4 and torch.equal(rows[index], whole[ids])
