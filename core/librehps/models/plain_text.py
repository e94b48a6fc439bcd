"""Tokenisation of prompts as plain text: the token ids never include a control token."""

import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from librehps.errors import CheckpointError, EmptyPromptError, PromptError, PromptTooLongError

# Largest number of characters that a normalizer composes to one; other normalizers are unknown.
MAX_COMPOSED_CHARS = {None: 1, "NFC": 4}


class PlainTextTokenizer:
    """A checkpoint's tokenizer that reads control tokens in a prompt as plain text.

    `control` maps each control token to its id. Other added tokens are read as by the checkpoint's
    tokenizer.
    """

    def __init__(
        self, spec: Mapping[str, Any], control: Collection[str], max_prompt_tokens: int
    ) -> None:
        from tokenizers import Tokenizer

        self.max_prompt_tokens = max_prompt_tokens
        added = [dict(token) for token in spec["added_tokens"]]
        ids = added_ids(spec)
        self.control = {token: ids[token] for token in control}
        # Kept, so that ids do not change, but as special tokens, which are then read as text.
        for token in added:
            token["special"] = token.get("special", False) or token["content"] in self.control
        self._text = Tokenizer.from_str(json.dumps({**spec, "added_tokens": added}))
        self._text.encode_special_tokens = True
        # Training may have saved both; a prompt must be neither truncated nor padded.
        self._text.no_truncation()
        self._text.no_padding()
        self._widest = _widest_token(spec)
        self._controls = re.compile(f"({'|'.join(map(re.escape, self.control))})")

    def encode(self, text: str) -> list[int]:
        """Return the token ids of plain text."""
        ids: list[int] = self._text.encode(text, add_special_tokens=False).ids
        return ids

    def words(self, text: str) -> list[tuple[int, int]]:
        """Return (token id, word index) of each token of plain text; no token spans two words."""
        encoding = self._text.encode(text, add_special_tokens=False)
        words = [0 if word is None else word for word in encoding.word_ids]
        return list(zip(encoding.ids, words, strict=True))

    def split_controls(self, text: str) -> list[str]:
        """Return a template split into text, control token, text, ..., text."""
        return self._controls.split(text)

    def encode_template(self, text: str) -> list[int]:
        """Return the token ids of a template's text, with control tokens as single ids."""
        ids: list[int] = []
        for at, part in enumerate(self.split_controls(text)):
            ids += [self.control[part]] if at % 2 else self.encode(part)
        return ids

    def checked(self, prompt: str | None) -> str:
        """Return the prompt; raises PromptError if it is not text, empty, or far too long."""
        if not isinstance(prompt, str | None):
            raise PromptError(f"expected text as prompt, got {type(prompt).__name__}")
        if prompt is None or not prompt.strip():
            raise EmptyPromptError("the prompt is empty")
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise PromptError(f"the prompt is not valid Unicode text: {error.reason}") from error
        # Tokenising megabytes takes seconds and blocks every thread.
        if len(prompt) > self.max_prompt_tokens * self._widest:
            raise self._too_long(f"{len(prompt)} characters")
        return prompt

    def checked_ids(self, ids: list[int]) -> list[int]:
        """Return the ids of a prompt; raises PromptError for too many, or a control token."""
        if len(ids) > self.max_prompt_tokens:
            raise self._too_long(f"{len(ids)} tokens")
        if not {*self.control.values()}.isdisjoint(ids):
            raise PromptError("the tokenizer turns text of this prompt into a control token")
        return ids

    def _too_long(self, length: str) -> PromptTooLongError:
        return PromptTooLongError(
            f"the prompt is too long ({length}; at most {self.max_prompt_tokens} tokens): "
            "shorten the prompt, or raise --max-prompt-tokens; prompts are never truncated"
        )


def added_ids(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids of the tokens that a tokenizer.json adds to its vocabulary."""
    return {token["content"]: int(token["id"]) for token in spec.get("added_tokens", [])}


def read_spec(path: Path, control: Collection[str], family: str) -> dict[str, Any]:
    """Return a tokenizer.json; raises CheckpointError if a token of `control` is missing."""
    try:
        spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} not found", hint="Copy the published tokenizer.json into this folder."
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    ids = added_ids(spec)
    missing = [token for token in control if token not in ids]
    if missing:
        raise CheckpointError(
            f"{path} does not define {', '.join(missing)}",
            hint=f"This is not the tokenizer of a {family} checkpoint; use the published folder.",
        )
    return spec


def _widest_token(spec: Mapping[str, Any]) -> float:
    """Return the most characters that one token can stand for; infinity if unknown.

    Tokens are made of bytes, at least one per character.
    """
    added = spec["added_tokens"]
    normalizer = (spec.get("normalizer") or {"type": None})["type"]
    if normalizer not in MAX_COMPOSED_CHARS or any(
        t.get("lstrip") or t.get("rstrip") for t in added
    ):
        return math.inf
    spelled = [*spec["model"]["vocab"], *(token["content"] for token in added)]
    return MAX_COMPOSED_CHARS[normalizer] * max(map(len, spelled))
