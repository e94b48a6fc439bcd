"""CPU speed from files to Parquet, beside a plain `transformers` forward and the ceiling.

    python benchmarks/speed.py [--images 48] [--rounds 5]

A random checkpoint of 47 M parameters in float32; pictures of 1024 x 1024 as JPEG. The ceiling is
what the machine's own float32 matrix product would allow, for the linear layers alone. The second
share counts the products of attention and of the delta rule too: model-FLOP utilisation, as it is
usually defined. Decoding and writing are in the time of both. Other tenants of a machine change its
pace within seconds: the product is timed before and after each round, for seconds, as the rounds
are, and each round is set against those two. The share by CPU time, of all threads, is the one to
read on a machine that others use too.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from librehps import Item, LibreHPS
from librehps.bench.flops import count
from librehps.engine.engine import LocalEngine
from librehps.models.librehps.batch import grid_of
from librehps.models.librehps.checkpoint import Checkpoint, empty_model
from librehps.models.librehps.config import FULL
from librehps.models.stored_embedding import EMBEDDING
from librehps.models.weights import read_tensor
from librehps.scores.row import to_record
from librehps.scores.writer import open_sink

# Linear layers of one image, without those that the last layer leaves out.
LINEAR_GFLOP = 20.7
BATCH = 8
MATMUL_SECONDS = 2
GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "checkpoint"
TEXT = {
    "model_type": "qwen3_5_text", "vocab_size": 12000, "hidden_size": 512,
    "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 64, "linear_num_key_heads": 4,
    "linear_num_value_heads": 8, "linear_key_head_dim": 64, "linear_value_head_dim": 64,
    "full_attention_interval": 4,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0,
                        "partial_rotary_factor": 0.25, "mrope_section": [4, 2, 2],
                        "mrope_interleaved": True},
}  # fmt: skip
VISION = {
    "model_type": "qwen3_5", "depth": 6, "hidden_size": 256, "intermediate_size": 1024,
    "num_heads": 4, "out_hidden_size": 512, "num_position_embeddings": 2304, "patch_size": 16,
    "spatial_merge_size": 2, "temporal_patch_size": 2,
}  # fmt: skip


def write_checkpoint(folder: Path) -> None:
    """Every weight normal(0, 1.4 / sqrt(fan in)), rounded to bfloat16."""
    golden = json.loads((GOLDEN / "config.json").read_text())
    config = golden | {"text_config": TEXT, "vision_config": VISION}
    torch.manual_seed(0)
    state = {}
    for name, parameter in empty_model(config, "sdpa").named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        value = torch.randn(parameter.shape) * 1.4 / fan_in**0.5
        state[name] = value.to(torch.bfloat16)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(GOLDEN / "tokenizer.json", folder)


def write_images(folder: Path, count: int) -> list[Path]:
    """Smooth sines and noise of standard deviation 4, JPEG of quality 90."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:1024, 0:1024] / 1024
    paths = []
    for index in range(count):
        waves = [np.sin(6 * x * (c + 1) + index) + np.cos(5 * y * (c + 1)) for c in range(3)]
        pixels = 128 + 50 * np.stack(waves, -1) + rng.normal(0, 4, (1024, 1024, 3))
        paths.append(folder / f"{index:03}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def matmul_gflops() -> tuple[float, float]:
    """Return GFLOP per second of wall time, and of CPU time in all threads.

    float32, kept up for MATMUL_SECONDS; products of 2048 into the same memory.
    """
    a, b, c = torch.randn(3, 2048, 2048).unbind()
    count, start, cpu = 0, time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - start) < MATMUL_SECONDS:
        torch.mm(a, b, out=c)
        count += 1
    gflop = count * 2 * 2048**3 / 1e9
    return gflop / took, gflop / (time.process_time() - cpu)


def mixing_gflop(scorer: LibreHPS, item: Item) -> float:
    """Return the GFLOP of attention and of the delta rule for one image."""
    one, config = scorer._decoder().decode(item).prepared, scorer._model.network.model.config
    flops, layers = count(config, grid_of(one.pixels), one.cost), config.text_config.layer_types
    # The last layer attends with one token only.
    text = flops.full_attention * (1 - 1 / layers.count(FULL))
    return float(flops.vision_attention + text + flops.delta_rule) / 1e9


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def plain_forward(scorer: LibreHPS, items: list[Item]) -> float:
    """Images/s of stock `transformers` on one ready batch, its own kernels, middle of three."""
    from transformers import AutoModel, Qwen3_5Config

    from librehps.models.librehps.batch import collate

    config = Qwen3_5Config.from_dict(json.loads((scorer.folder / "config.json").read_text()))
    stock = AutoModel.from_config(config, attn_implementation="sdpa", dtype=torch.float32).eval()
    state = {n.removeprefix("model."): p for n, p in scorer._model.network.named_parameters()}
    place = Checkpoint.open(scorer.folder).tensors[EMBEDDING]
    state[EMBEDDING.removeprefix("model.")] = read_tensor(place, torch.float32, torch.device("cpu"))
    stock.load_state_dict({n: p for n, p in state.items() if "_head." not in n})
    decoder = scorer._decoder()
    batch = collate([decoder.decode(i).prepared for i in items[:BATCH]], torch.device("cpu"))
    types = torch.zeros_like(batch.input_ids)
    types.view(-1)[batch.vision_index] = 1
    tokens = types * config.image_token_id + (1 - types) * batch.input_ids

    def call() -> None:
        with torch.inference_mode():
            stock(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                pixel_values=batch.patches,
                image_grid_thw=torch.tensor(batch.grids),
                mm_token_type_ids=types,
                use_cache=False,
            )

    call()
    return BATCH / statistics.median(seconds(call) for _ in range(3))


def save(scorer: LibreHPS, engine: LocalEngine, items: list[Item], output: Path) -> None:
    with open_sink(output, scorer.settings) as sink:
        for row in engine.run(items):
            sink.write(to_record(row, scorer.settings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=48, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder)
        prompt = "a lighthouse on a cliff at dusk, waves below, oil on canvas"
        items = [Item(p.name, p, prompt) for p in write_images(folder, arguments.images)]
        scorer = LibreHPS.from_pretrained(folder, dtype="float32", device="cpu")
        rows = list(scorer.score_items(items[:BATCH]))
        print(f"prompt tokens {rows[0].prompt_tokens}, threads {torch.get_num_threads()}")
        mixing = mixing_gflop(scorer, items[0])
        shares = []
        before = matmul_gflops()
        for at in range(arguments.rounds):
            plain = plain_forward(scorer, items)
            engine = scorer.engine()
            start = time.process_time()
            took = seconds(lambda: save(scorer, engine, items, folder / f"{at}.parquet"))  # noqa: B023
            cpu = (time.process_time() - start) / len(items)
            after = matmul_gflops()
            ceiling, per_cpu = (
                statistics.mean(x) / LINEAR_GFLOP for x in zip(before, after, strict=True)
            )
            ours, share = len(items) / took, 1 / cpu / per_cpu
            shares.append((ours / ceiling, plain / ceiling, engine.work.forward / took, share))
            print(
                f"ceiling {ceiling:.2f} images/s, plain transformers forward {plain:.2f}, "
                f"librehps from files to Parquet {ours:.2f} = {ours / ceiling:.0%}; "
                f"CPU {cpu:.3f} s an image = {share:.0%}",
                flush=True,
            )
            before = after
    middle = [statistics.median(share) for share in zip(*shares, strict=True)]
    print(f"middle round: librehps {middle[0]:.0%} of the ceiling, plain forward {middle[1]:.0%}")
    print(f"by CPU time, of all threads: {middle[3]:.0%} of the ceiling")
    more = 1 + mixing / LINEAR_GFLOP
    print(
        f"all products, {LINEAR_GFLOP} GFLOP of linear layers and {mixing:.1f} of attention and of "
        f"the delta rule: {middle[0] * more:.0%}, by CPU time {middle[3] * more:.0%}"
    )
    print(f"forward busy {middle[2]:.0%} of the wall time")


if __name__ == "__main__":
    main()
