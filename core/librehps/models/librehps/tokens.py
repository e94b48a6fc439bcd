"""The token stream of one LibreHPS item: template, vision placeholders, prompt, reward token."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from librehps.models.plain_text import PlainTextTokenizer, read_spec
from librehps.types import Kind

MAX_PROMPT_TOKENS = 1024
# Pictures of a run have few sizes.
MAX_CACHED_GRIDS = 32

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
PADS: dict[Kind, str] = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
REWARD = "<|Reward|>"
CONTROLS = (IM_START, IM_END, VISION_START, VISION_END, *PADS.values(), REWARD)


@dataclass(frozen=True)
class TokenStream:
    """A token stream: ids (length,), MRoPE positions (3, length), vision (V,) token indices."""

    ids: Tensor
    positions: Tensor
    vision: Tensor


class PromptEncoder:
    """An encoder of prompts and token streams, from a checkpoint's `tokenizer.json`.

    A control token in a prompt is read as plain text; other added tokens are read as by the
    checkpoint's tokenizer.
    """

    def __init__(self, tokenizer_file: Path, max_prompt_tokens: int = MAX_PROMPT_TOKENS) -> None:
        spec = read_spec(tokenizer_file, CONTROLS, "LibreHPS")
        self._text = PlainTextTokenizer(spec, CONTROLS, max_prompt_tokens)
        self.control = self._text.control
        self._user, self._newline, self._assistant = (
            self._text.encode(text) for text in ("user\n", "\n", "assistant\n")
        )

    def encode_prompt(self, prompt: str | None) -> list[int]:
        """Return the ids of the prompt as plain text; raises PromptError if empty or too long."""
        return self._text.checked_ids(self._text.encode(self._text.checked(prompt)))

    def stream(self, kind: Kind, grid: tuple[int, int, int], prompt_ids: list[int]) -> TokenStream:
        """Return the token stream for a grid of (time steps, rows, columns) in patches."""
        control = self.control
        begin = (control[IM_START], *self._user)
        marks = (control[VISION_START], control[PADS[kind]], control[VISION_END])
        vision, at = _vision_part(begin, marks, grid)
        text = [*prompt_ids, control[IM_END], *self._newline]
        text += [control[IM_START], *self._assistant, control[REWARD]]
        return TokenStream(
            torch.cat([vision.ids, torch.tensor(text)]),
            torch.cat([vision.positions, _text_positions(at, len(text))], 1),
            vision.vision,
        )


@lru_cache(MAX_CACHED_GRIDS)
def _vision_part(
    begin: tuple[int, ...], marks: tuple[int, int, int], grid: tuple[int, int, int]
) -> tuple[TokenStream, int]:
    """Return the stream of the text `begin` and the vision blocks, and the position after it.

    `marks` are the ids before a block, in it, and behind it. MRoPE positions: a text token advances
    all three axes by one; a block keeps time fixed, counts rows and columns from the current
    position, and advances that position by its longer side.
    """
    (start, pad, end), (steps, rows, columns) = marks, (grid[0], grid[1] // 2, grid[2] // 2)
    ids, vision = list(begin), list[Tensor]()
    positions, at = [_text_positions(0, len(begin))], len(begin)
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    block = torch.stack([torch.zeros_like(down), down, across]).flatten(1)
    for _ in range(steps):
        vision.append(torch.arange(len(ids) + 1, len(ids) + 1 + rows * columns))
        ids += [start, *[pad] * (rows * columns), end]
        after = at + 1 + max(rows, columns)
        positions += [_text_positions(at, 1), block + (at + 1), _text_positions(after, 1)]
        at = after + 1
    return TokenStream(torch.tensor(ids), torch.cat(positions, 1), torch.cat(vision)), at


def _text_positions(at: int, count: int) -> Tensor:
    return torch.arange(at, at + count).expand(3, -1)
