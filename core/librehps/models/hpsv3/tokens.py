"""The token stream of one item: template, picture, prompt, reward token."""

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
    """Token ids of prompts and streams, from the tokenizer.json of Qwen2-VL and a template.

    The reward token, which that file lacks, takes the next free id. The text from the last control
    token before the prompt to the first after it is tokenised as one, as the package does: the
    ends of a prompt may merge with the words beside them.
    """

    def __init__(
        self, tokenizer_file: Path, template: Template, max_prompt_tokens: int = MAX_PROMPT_TOKENS
    ) -> None:
        spec = with_reward_token(read_spec(tokenizer_file, PUBLISHED, "HPSv3"))
        self._text = PlainTextTokenizer(spec, CONTROLS, max_prompt_tokens)
        self.reward, self._pad = (self._text.control[token] for token in (REWARD, IMAGE_PAD))
        *opening, self._before = self._text.split_controls(template.after_image)
        # What follows the reward token cannot be seen from it: it is cut.
        rated, _ = template.after_prompt.split(REWARD)
        self._after, *closing = self._text.split_controls(rated + REWARD)
        self._before_image = self._text.encode_template(template.before_image)
        self._opening = self._text.encode_template("".join(opening))
        self._closing = self._text.encode_template("".join(closing))
        # Tokens of these words, but for the word that the prompt may merge with.
        before, after = self._text.words(self._before), self._text.words(self._after)
        self._head = [token for token, word in before if word < before[-1][1]]
        self._tail = [token for token, word in after if word > after[0][1]]

    def encode_prompt(self, prompt: str | None) -> list[int]:
        """Return the ids from the first that the prompt may touch to the last.

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
        """Raise CheckpointError unless the reward token has the last of `rows` embedding rows."""
        if self.reward != rows - 1:
            raise CheckpointError(
                f"{source}: {REWARD} gets the id {self.reward}, but the weights embed {rows} "
                f"tokens, so that the id {rows - 1} was expected",
                hint="The tokenizer and the weights seem to come from different models.",
            )


def with_reward_token(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tokenizer.json that defines the reward token, at the next free id unless it did."""
    added = added_ids(spec)
    if REWARD in added:
        return dict(spec)
    free = max([*spec["model"]["vocab"].values(), *added.values()]) + 1
    token = {
        **{"id": free, "content": REWARD, "special": True, "normalized": False},
        **{"single_word": False, "lstrip": False, "rstrip": False},
    }
    return {**spec, "added_tokens": [*spec["added_tokens"], token]}
