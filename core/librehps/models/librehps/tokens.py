"""The token stream of one item: template, vision placeholders, prompt, reward token."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from librehps.errors import CheckpointError, EmptyPromptError, PromptError, PromptTooLongError
from librehps.types import Kind

MAX_PROMPT_TOKENS = 1024

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
PADS: dict[Kind, str] = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
REWARD = "<|Reward|>"
CONTROLS = (IM_START, IM_END, VISION_START, VISION_END, *PADS.values(), REWARD)
# Characters that a normalizer makes one of, at most; those of others are not known.
COMPOSED = {None: 1, "NFC": 4}


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
        from tokenizers import Tokenizer

        self.max_prompt_tokens = max_prompt_tokens
        spec = _read_spec(tokenizer_file)
        ids = {token["content"]: int(token["id"]) for token in spec.get("added_tokens", [])}
        missing = [token for token in CONTROLS if token not in ids]
        if missing:
            raise CheckpointError(
                f"{tokenizer_file} does not define {', '.join(missing)}",
                hint="This is no tokenizer of a LibreHPS checkpoint; use the folder as published.",
            )
        self.control = {token: ids[token] for token in CONTROLS}
        # Kept, so that every id stays as it is, but special: those are then read as text.
        for token in spec["added_tokens"]:
            token["special"] = token.get("special", False) or token["content"] in self.control
        self._text = Tokenizer.from_str(json.dumps(spec))
        self._text.encode_special_tokens = True
        # Training may have saved these; a prompt is never cut and never padded.
        self._text.no_truncation()
        self._text.no_padding()
        self._special = {i for token, i in ids.items() if token in self.control}
        self._widest = _widest_token(spec)
        self._user, self._newline, self._assistant = (
            self._encode(text) for text in ("user\n", "\n", "assistant\n")
        )

    def encode_prompt(self, prompt: str | None) -> list[int]:
        """Ids of the prompt as plain text; raises PromptError where it is empty or too long."""
        if not isinstance(prompt, str | None):
            raise PromptError(f"the prompt is of type {type(prompt).__name__}, not text")
        if prompt is None or not prompt.strip():
            raise EmptyPromptError("the prompt is empty")
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise PromptError(f"the prompt is not valid Unicode text: {error.reason}") from error
        # The tokenizer takes seconds for megabytes, and every thread waits for it.
        if len(prompt) > self.max_prompt_tokens * self._widest:
            raise self._too_long(f"{len(prompt)} characters, more than fit into")
        ids = self._encode(prompt)
        if len(ids) > self.max_prompt_tokens:
            raise self._too_long(f"{len(ids)} tokens, more than")
        if not self._special.isdisjoint(ids):
            raise PromptError("the tokenizer turns text of this prompt into a control token")
        return ids

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

    def _too_long(self, length: str) -> PromptTooLongError:
        return PromptTooLongError(
            f"the prompt has {length} {self.max_prompt_tokens} tokens: it is never cut; "
            "shorten it, or raise --max-prompt-tokens where the command has that"
        )

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._text.encode(text, add_special_tokens=False).ids
        return ids


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


def _widest_token(spec: dict[str, Any]) -> float:
    """How many characters of a prompt one token stands for at most; infinity where none can tell.

    Tokens spell bytes, at least one a character.
    """
    added = spec["added_tokens"]
    normalizer = (spec.get("normalizer") or {"type": None})["type"]
    if normalizer not in COMPOSED or any(t.get("lstrip") or t.get("rstrip") for t in added):
        return math.inf
    spelled = [*spec["model"]["vocab"], *(token["content"] for token in added)]
    return COMPOSED[normalizer] * max(map(len, spelled))


def _read_spec(path: Path) -> dict[str, Any]:
    try:
        spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing", hint="The checkpoint needs its tokenizer.json."
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return spec
