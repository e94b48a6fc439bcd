"""The request of a run: paths and prompts, which a resumed run must repeat."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from librehps.choices import PromptFrom
from librehps.errors import UsageError
from librehps.items.prompts import PromptFinder, find_prompts
from librehps.items.source import Source, SourceOptions
from librehps.storage.places import is_remote, shown
from librehps.storage.url_path import AnyPath, as_path

STDIN = "-"


@dataclass(frozen=True)
class RunRequest:
    """The paths to score, how to read the paths, and where prompts come from."""

    paths: tuple[str, ...]
    source: SourceOptions = field(default_factory=SourceOptions)
    prompt: str | None = None
    prompt_from: PromptFrom | None = None
    max_prompt_tokens: int = 1024
    keep_markup: bool = False
    strip_weights: bool = False

    def facts(self) -> dict[str, Any]:
        """Return the request as JSON values; a resumed run must have the same values.

        `folder` is the base of relative paths, None without relative paths.
        """
        local = [p for p in self.paths if p != STDIN and not is_remote(p)]
        is_fixed = all(Path(path).is_absolute() for path in local) and STDIN not in self.paths
        return {
            "folder": None if is_fixed else str(Path.cwd()),
            "paths": list(map(shown, self.paths)),
            "shard": self.source.shard and "/".join(map(str, self.source.shard)),
            "prompt_from": self.prompt_from,
            "max_prompt_tokens": self.max_prompt_tokens,
            **self._prompt_facts(),
            **_source_facts(self.source),
        }

    def _prompt_facts(self) -> dict[str, Any]:
        if self.prompt is not None:
            # The text tells what became of its markup.
            return {"prompt": self.prompt_finder(has_prompts=False).scored_prompt}
        markup = {"keep_markup": self.keep_markup, "strip_weights": self.strip_weights}
        return {"prompt": None, **markup}

    def open_source(self) -> Source:
        """Return the source of items; raises UsageError if no option gives them a prompt."""
        source = Source(self.paths, self.source.for_prompts(self.prompt, self.prompt_from))
        source.check_prompts(self.prompt, self.prompt_from)
        return source

    def prompt_finder(self, has_prompts: bool) -> PromptFinder:
        """Return a function that finds prompts; `has_prompts`: the source may contain prompts."""
        return find_prompts(
            self.prompt, self.prompt_from, has_prompts, self.keep_markup, self.strip_weights
        )

    def check_output(self, output: AnyPath) -> None:
        """Raise UsageError where the output is also one of the paths to score."""
        if output.absolute() in {as_path(path).absolute() for path in self.paths}:
            raise UsageError(
                f"{output} is both an input and the output", hint="Choose another output."
            )


def as_paths(paths: str | Path | Iterable[str | Path]) -> tuple[str, ...]:
    """Return one path, or several, as a tuple of text."""
    given = [paths] if isinstance(paths, str | Path) else paths
    return tuple(os.fspath(path) for path in given)


def _source_facts(options: SourceOptions) -> Mapping[str, Any]:
    columns = options.columns
    return {
        "media_column": columns.media,
        "prompt_column": columns.prompt,
        "id_column": columns.id,
        "group_column": columns.group,
        "rename": [f"{old}={new}" for old, new in columns.rename.items()] or None,
        "root": options.root and shown(options.root),
        "null": options.null,
        "allow_remote": options.allow_remote,
    }
