"""The token stream of one LibreHPS item: template, vision placeholders, prompt, reward token."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from librehps.models.plain_text import PlainTextTokenizer, read_spec
from librehps.types import Kind

MAX_PROMPT_TOKENS = 1024

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
        control, (steps, rows, columns) = self.control, grid
        block = (rows // 2, columns // 2)
        parts: list[list[int] | tuple[int, int]] = [[control[IM_START], *self._user]]
        for _ in range(steps):
            parts += [[control[VISION_START]], block, [control[VISION_END]]]
        parts.append([*prompt_ids, control[IM_END], *self._newline])
        parts.append([control[IM_START], *self._assistant, control[REWARD]])
        return _lay_out(parts, control[PADS[kind]])


def _lay_out(parts: list[list[int] | tuple[int, int]], pad: int) -> TokenStream:
    """Return the stream of parts: lists of text ids, and (rows, columns) of vision blocks.

    MRoPE positions: a text token advances all three axes by one; a block keeps time fixed, counts
    rows and columns from the current position, and advances that position by its longer side.
    """
    ids: list[int] = []
    positions: list[Tensor] = []
    vision: list[Tensor] = []
    at = 0
    for part in parts:
        if isinstance(part, list):
            ids += part
            positions.append(torch.arange(at, at + len(part)).expand(3, -1))
            at += len(part)
        else:
            rows, columns = part
            vision.append(torch.arange(len(ids), len(ids) + rows * columns))
            ids += [pad] * (rows * columns)
            down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            grid = torch.stack([torch.zeros_like(down), down, across]).flatten(1)
            positions.append(grid + at)
            at += max(rows, columns)
    return TokenStream(torch.tensor(ids), torch.cat(positions, 1), torch.cat(vision))
