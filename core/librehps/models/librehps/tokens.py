"""The token stream of one item: template, vision placeholders, prompt, reward token."""

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
    """ids (length,), MRoPE positions (3, length), vision (V,) indices of the vision tokens."""

    ids: Tensor
    positions: Tensor
    vision: Tensor


class PromptEncoder:
    """Token ids of prompts and streams, from a checkpoint's `tokenizer.json`.

    A prompt that spells a special token stays text; other added tokens are read as the
    checkpoint's tokenizer reads them.
    """

    def __init__(self, tokenizer_file: Path, max_prompt_tokens: int = MAX_PROMPT_TOKENS) -> None:
        spec = read_spec(tokenizer_file, CONTROLS, "LibreHPS")
        self._text = PlainTextTokenizer(spec, CONTROLS, max_prompt_tokens)
        self.control = self._text.control
        self._user, self._newline, self._assistant = (
            self._text.encode(text) for text in ("user\n", "\n", "assistant\n")
        )

    def encode_prompt(self, prompt: str | None) -> list[int]:
        """Ids of the prompt as plain text; raises PromptError where it is empty or too long."""
        return self._text.checked_ids(self._text.encode(self._text.checked(prompt)))

    def stream(self, kind: Kind, grid: tuple[int, int, int], prompt_ids: list[int]) -> TokenStream:
        """The whole stream for a grid of (time steps, rows, columns) in patches."""
        control, (steps, rows, columns) = self.control, grid
        block = (rows // 2, columns // 2)
        parts: list[list[int] | tuple[int, int]] = [[control[IM_START], *self._user]]
        for _ in range(steps):
            parts += [[control[VISION_START]], block, [control[VISION_END]]]
        parts.append([*prompt_ids, control[IM_END], *self._newline])
        parts.append([control[IM_START], *self._assistant, control[REWARD]])
        return _lay_out(parts, control[PADS[kind]])


def _lay_out(parts: list[list[int] | tuple[int, int]], pad: int) -> TokenStream:
    """Ids, positions and vision indices; a part is text ids, or the (rows, columns) of a block.

    MRoPE: text advances all three axes by one; a block holds time still, counts rows and columns
    from the current position, and advances it by its longer side.
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
