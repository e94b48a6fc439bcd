"""GRPO with TRL, rewarded by LibreHPS: a language model learns to name what should be drawn.

    python examples/grpo_reward.py [--steps 4] [--reward MODEL | --server URL] [--policy HUB_ID]

The policy answers a caption in words; the words that name coloured shapes are drawn, and the
picture is scored against the caption. By default the policy is a toy with random weights, which
needs no download; --policy takes any causal language model. Needs `pip install trl`. The token of
the server at --server is read from LIBREHPS_TOKEN.
"""

import argparse
import os
import random
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer

from librehps.rewards import RewardClient, trl_reward

sys.path.insert(0, str(Path(__file__).parent / "tiny"))
import drawing
import scenes

WORDS = (*scenes.COLOURS, *scenes.SHAPES, "left of", "right of", "above", "below", "a", "an")
# Below the mu of any picture, so that it is better to draw something.
UNDRAWN = -10.0
ASKED = "Draw with at most eight words, as in: red circle left of blue square. Draw: "


def draw_words(completion: str, **row: Any) -> Any:
    """The scene that a completion names (`to_image` of the reward); None where it names none."""
    caption = caption_of(completion)
    if caption is None:
        return None
    # Of the completion alone, so that the same words always give the same picture.
    return drawing.draw(scenes.compose(caption, random.Random(completion)), 128)


def caption_of(text: str) -> scenes.Caption | None:
    """The first one or two coloured shapes that differ, and the relation between them."""
    words = text.lower().split()
    names = [
        (colour, shape)
        for colour, shape in pairwise(words)
        if colour in scenes.COLOURS and shape in scenes.SHAPES
    ]
    relation = next((r for r in scenes.RELATIONS if r in text.lower()), None)
    if len(names) > 1 and names[0] != names[1] and relation is not None:
        return scenes.Caption((names[0], names[1]), relation)
    return scenes.Caption((names[0],)) if names else None


def toy_policy() -> tuple[Any, Any]:
    """A language model of a few thousand random weights, and a tokenizer of the scenes' words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<eos>", "<unk>"]
    words = sorted({word for phrase in WORDS for word in phrase.split()})
    vocabulary = {word: at for at, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - no secret
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(zip(("pad_token", "eos_token", "unk_token"), special, strict=True))
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config), PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def captions(count: int, toy: bool) -> Dataset:
    """Rows of a prompt, and the caption that its pictures are scored against."""
    rng = random.Random(0)
    drawn = [scenes.random_caption(rng).text for _ in range(count)]
    return Dataset.from_list([{"prompt": c if toy else ASKED + c, "caption": c} for c in drawn])


def train(
    reward: Any, steps: int, output: str, policy: str | None = None, rate: float = 3e-3
) -> list[dict[str, Any]]:
    """A run of GRPO; gives the trainer's log, a row a step."""
    if policy is None:
        model, tokenizer = toy_policy()
    else:
        model = AutoModelForCausalLM.from_pretrained(policy)
        tokenizer = AutoTokenizer.from_pretrained(policy)
    config = GRPOConfig(
        output_dir=output,
        max_steps=steps,
        learning_rate=rate,
        per_device_train_batch_size=32,
        num_generations=8,
        max_completion_length=8 if policy is None else 32,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        beta=0.0,
        seed=0,
        disable_tqdm=True,
        bf16=torch.cuda.is_available(),
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=captions(256, policy is None),
        processing_class=tokenizer,
    )
    trainer.train()
    log: list[dict[str, Any]] = trainer.state.log_history
    return log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--policy", help="hub id or folder of a causal language model")
    parser.add_argument("--reward", default="tiny", help="the reward model")
    parser.add_argument("--server", help="URL of a `librehps serve` to ask instead")
    parser.add_argument("--learning-rate", type=float, help="default 3e-3, of a --policy 1e-6")
    arguments = parser.parse_args()
    rate = arguments.learning_rate or (1e-6 if arguments.policy else 3e-3)
    scorer: Any = arguments.reward
    if arguments.server:
        scorer = RewardClient(arguments.server, os.environ.get("LIBREHPS_TOKEN"))
    reward = trl_reward(scorer, to_image=draw_words, prompt_column="caption", unrendered=UNDRAWN)
    with tempfile.TemporaryDirectory() as output:
        log = train(reward, arguments.steps, output, arguments.policy, rate)
    for at, row in enumerate(row for row in log if "reward" in row):
        scored = row["librehps_overall_mu/scored"]
        print(f"step {at + 1}: reward {row['reward']:.3f}, {scored:.0%} could be drawn")


if __name__ == "__main__":
    main()
