"""Prompts as plain text: token ids that never hold a control token, whatever a prompt spells."""

import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from librehps.errors import CheckpointError, EmptyPromptError, PromptError, PromptTooLongError

# Characters that a normalizer makes one of, at most; those of others are not known.
COMPOSED = {None: 1, "NFC": 4}


class PlainTextTokenizer:
    """Reads text by a checkpoint's tokenizer, with the `control` tokens (token -> id) as text.

    Other added tokens are read as the checkpoint's tokenizer reads them.
    """

    def __init__(
        self, spec: Mapping[str, Any], control: Collection[str], max_prompt_tokens: int
    ) -> None:
        from tokenizers import Tokenizer

        self.max_prompt_tokens = max_prompt_tokens
        added = [dict(token) for token in spec["added_tokens"]]
        ids = added_ids(spec)
        self.control = {token: ids[token] for token in control}
        # Kept, so that every id stays as it is, but special: those are then read as text.
        for token in added:
            token["special"] = token.get("special", False) or token["content"] in self.control
        self._text = Tokenizer.from_str(json.dumps({**spec, "added_tokens": added}))
        self._text.encode_special_tokens = True
        # Training may have saved these; a prompt is never cut and never padded.
        self._text.no_truncation()
        self._text.no_padding()
        self._widest = _widest_token(spec)
        self._controls = re.compile(f"({'|'.join(map(re.escape, self.control))})")

    def encode(self, text: str) -> list[int]:
        """Return the token ids of plain text."""
        ids: list[int] = self._text.encode(text, add_special_tokens=False).ids
        return ids

    def words(self, text: str) -> list[tuple[int, int]]:
        """Return (token id, index of its word) of plain text; tokens never span two words."""
        encoding = self._text.encode(text, add_special_tokens=False)
        words = [0 if word is None else word for word in encoding.word_ids]
        return list(zip(encoding.ids, words, strict=True))

    def split_controls(self, text: str) -> list[str]:
        """Return text, control token, text, ..., text, as a template spells them in turn."""
        return self._controls.split(text)

    def encode_template(self, text: str) -> list[int]:
        """Return the token ids of a template's text, in which control tokens count as such."""
        ids: list[int] = []
        for at, part in enumerate(self.split_controls(text)):
            ids += [self.control[part]] if at % 2 else self.encode(part)
        return ids

    def checked(self, prompt: str | None) -> str:
        """Return the prompt; raises PromptError where it is no text, empty, or far too long."""
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
        return prompt

    def checked_ids(self, ids: list[int]) -> list[int]:
        """Return the ids of a prompt; raises PromptError for too many, or a control token."""
        if len(ids) > self.max_prompt_tokens:
            raise self._too_long(f"{len(ids)} tokens, more than")
        if not {*self.control.values()}.isdisjoint(ids):
            raise PromptError("the tokenizer turns text of this prompt into a control token")
        return ids

    def _too_long(self, length: str) -> PromptTooLongError:
        return PromptTooLongError(
            f"the prompt has {length} {self.max_prompt_tokens} tokens: it is never cut; "
            "shorten it, or raise --max-prompt-tokens where the command has that"
        )


def added_ids(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids of the tokens that a tokenizer.json adds to its vocabulary."""
    return {token["content"]: int(token["id"]) for token in spec.get("added_tokens", [])}


def read_spec(path: Path, control: Collection[str], family: str) -> dict[str, Any]:
    """Return a tokenizer.json that defines the `control` tokens; raises CheckpointError."""
    try:
        spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing", hint="The checkpoint needs its tokenizer.json."
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    ids = added_ids(spec)
    missing = [token for token in control if token not in ids]
    if missing:
        raise CheckpointError(
            f"{path} does not define {', '.join(missing)}",
            hint=f"This is no tokenizer of a {family} checkpoint; use the folder as published.",
        )
    return spec


def _widest_token(spec: Mapping[str, Any]) -> float:
    """How many characters of a prompt one token stands for at most; infinity where none can tell.

    Tokens spell bytes, at least one a character.
    """
    added = spec["added_tokens"]
    normalizer = (spec.get("normalizer") or {"type": None})["type"]
    if normalizer not in COMPOSED or any(t.get("lstrip") or t.get("rstrip") for t in added):
        return math.inf
    spelled = [*spec["model"]["vocab"], *(token["content"] for token in added)]
    return COMPOSED[normalizer] * max(map(len, spelled))
