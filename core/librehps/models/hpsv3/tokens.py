"""The token stream of one HPSv3 item: template, image, prompt, reward token."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from librehps.errors import CheckpointError, PromptError
from librehps.models.base import MAX_PROMPT_TOKENS
from librehps.models.hpsv3.template import IMAGE_PAD, REWARD, Template
from librehps.models.plain_text import PlainTextTokenizer, added_ids, read_spec

PUBLISHED = (
    *("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *(IMAGE_PAD, "<|video_pad|>"),
)
CONTROLS = (*PUBLISHED, REWARD)


class StreamEncoder:
    """An encoder of prompts and token streams, from Qwen2-VL's tokenizer.json and a template.

    The reward token, which that file lacks, gets the next free id. As in the package hpsv3, the
    text between the control tokens around the prompt is tokenised as one text, so that the ends of
    a prompt may merge with the neighbouring words.
    """

    def __init__(
        self, tokenizer_file: Path, template: Template, max_prompt_tokens: int = MAX_PROMPT_TOKENS
    ) -> None:
        spec = with_reward_token(read_spec(tokenizer_file, PUBLISHED, "HPSv3"))
        self._text = PlainTextTokenizer(spec, CONTROLS, max_prompt_tokens)
        self.reward, self._pad = (self._text.control[token] for token in (REWARD, IMAGE_PAD))
        *opening, self._before = self._text.split_controls(template.after_image)
        # A causal model cannot see the text after the reward token, so it is dropped.
        rated, _ = template.after_prompt.split(REWARD)
        self._after, *closing = self._text.split_controls(rated + REWARD)
        self._before_image = self._text.encode_template(template.before_image)
        self._opening = self._text.encode_template("".join(opening))
        self._closing = self._text.encode_template("".join(closing))
        # Tokens of the template's words, without the word that the prompt may merge with.
        before, after = self._text.words(self._before), self._text.words(self._after)
        self._head = [token for token, word in before if word < before[-1][1]]
        self._tail = [token for token, word in after if word > after[0][1]]

    def encode_prompt(self, prompt: str | None) -> list[int]:
        """Return the token ids of the prompt, with the template words that it may merge with.

        Raises PromptError.
        """
        checked = self._text.checked(prompt)
        ids = self._text.encode(self._before + checked + self._after)
        end = len(ids) - len(self._tail)
        if ids[: len(self._head)] != self._head or ids[end:] != self._tail:
            raise PromptError("the tokenizer merges this prompt with the words around it")
        return self._text.checked_ids(ids[len(self._head) : end])

    def stream(self, image_tokens: int, prompt_ids: list[int]) -> tuple[Tensor, Tensor]:
        """Return the ids up to the reward token (length,), and the vision tokens' indices (V,)."""
        start = len(self._before_image)
        ids = [
            *self._before_image,
            *[self._pad] * image_tokens,
            *self._opening,
            *self._head,
            *prompt_ids,
            *self._tail,
            *self._closing,
        ]
        return torch.tensor(ids), torch.arange(start, start + image_tokens)

    def check_rows(self, rows: int, source: Path) -> None:
        """Raise CheckpointError unless the reward token is the last of `rows` embedding rows."""
        if self.reward != rows - 1:
            raise CheckpointError(
                f"{source}: expected id {rows - 1} for {REWARD}, the last of {rows} embedding "
                f"rows, got {self.reward}",
                hint="The tokenizer and the weights seem to come from different models.",
            )


def with_reward_token(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tokenizer.json with the reward token, added at the next free id if missing."""
    added = added_ids(spec)
    if REWARD in added:
        return dict(spec)
    free = max([*spec["model"]["vocab"].values(), *added.values()]) + 1
    token = {
        **{"id": free, "content": REWARD, "special": True, "normalized": False},
        **{"single_word": False, "lstrip": False, "rstrip": False},
    }
    return {**spec, "added_tokens": [*spec["added_tokens"], token]}
