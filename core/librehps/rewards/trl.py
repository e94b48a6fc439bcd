"""Reward functions for TRL's trainers (GRPO, RLOO and others)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from librehps import errors
from librehps.decide.reward_spec import COLUMN_SUFFIX, RewardOptions, read_reward_options
from librehps.errors import ItemError, MediaError, UnsupportedMediaError, UsageError
from librehps.rewards.client import RewardClient
from librehps.rewards.pictures import (
    check_batch,
    check_lengths,
    check_range,
    completion_text,
    is_words,
    item_of,
)
from librehps.rewards.rows import Rewarder, Row, rows_by
from librehps.scores.columns import axes_in_rows
from librehps.types import Item

if TYPE_CHECKING:
    from librehps.models.device_list import DeviceRequest
    from librehps.scorer import LibreHPS

# Errors of a renderer for a completion that cannot be rendered; other errors are bugs.
RENDER_ERRORS = (ItemError, ValueError, OSError, SyntaxError)

# The column of chat messages, prompt and completion, that ms-swift passes in place of prompts.
MESSAGES_COLUMN = "messages"


@dataclass(frozen=True)
class ColumnNames:
    """The sources of a sample's image and prompt: `to_image`, a dataset column, or the default."""

    to_image: Callable[..., Any] | None = None
    image_column: str | None = None
    prompt_column: str | None = None
    unrendered: float | None = None
    frames: bool = False

    def __post_init__(self) -> None:
        if self.to_image is not None and self.image_column is not None:
            raise UsageError("to_image and image_column cannot be combined")
        if self.unrendered is None:
            return
        if self.to_image is None:
            raise UsageError("unrendered needs to_image")
        if not math.isfinite(self.unrendered):
            raise UsageError(f"unrendered: expected a finite number, got {self.unrendered}")

    def items(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> list[Item]:
        """Return the item of each sample, in order; raises UsageError for an invalid call."""
        pictures = self._column(self.image_column, columns, completions)
        texts = self._column(self.prompt_column, columns, prompts)
        check_batch(pictures)
        check_lengths(completions=completions, images=pictures, texts=texts, prompts=prompts)
        if self.to_image is None:
            return self._given(pictures, texts)
        rows = _rows(columns, prompts)
        return [
            self._rendered(self.to_image, i, *sample)
            for i, sample in enumerate(zip(completions, texts, rows, strict=True))
        ]

    def prompts(self, columns: Mapping[str, Any]) -> Sequence[Any]:
        """Return the prompts of a trainer that passes none; raises UsageError."""
        if self.prompt_column is None and MESSAGES_COLUMN not in columns:
            raise UsageError(
                f"no prompts: expected prompts=, or the column {MESSAGES_COLUMN!r}",
                hint="Name the dataset's column of prompts: trl_reward(..., prompt_column=...).",
            )
        return self._column(self.prompt_column or MESSAGES_COLUMN, columns, ())

    def instead(self, row: Row) -> float | None:
        """Return the reward of a row without a score: `unrendered` for a media error, else None."""
        kind = getattr(errors, str(row.get("error_type")), None)
        is_unshown = isinstance(kind, type) and issubclass(kind, MediaError)
        return self.unrendered if is_unshown else None

    def _given(self, pictures: Sequence[Any], texts: Sequence[Any]) -> list[Item]:
        is_completion = self.image_column is None
        if is_completion and len(pictures) and all(map(is_words, pictures)):
            raise UsageError(
                "completions: expected images, got text, which is never read as a file name",
                hint="Pass to_image, which renders a completion, or image_column.",
            )
        # Otherwise a policy could earn reward by writing the file name of a good image.
        names = not is_completion
        pairs = enumerate(zip(pictures, texts, strict=True))
        items = [item_of(i, *pair, names=names, frames=self.frames) for i, pair in pairs]
        check_range(items)
        return items

    def _rendered(
        self, to_image: Callable[..., Any], at: int, completion: Any, prompt: Any, row: Row
    ) -> Item:
        try:
            picture = to_image(completion_text(completion), **row)
        except RENDER_ERRORS as error:
            reason = f"to_image: {type(error).__name__}: {error}"
            return Item(str(at), None, None, problem=UnsupportedMediaError(reason))
        return item_of(at, picture, prompt, frames=self.frames)

    def _column(
        self, name: str | None, columns: Mapping[str, Any], default: Sequence[Any]
    ) -> Sequence[Any]:
        if name is None:
            return default
        if name not in columns:
            raise UsageError(
                f"column not found: {name!r} (the dataset has {', '.join(columns) or 'none'})",
                hint="Set remove_unused_columns=False, so that the trainer passes on all columns.",
            )
        column: Sequence[Any] = columns[name]
        return column


class TRLReward:
    """A reward function that TRL's trainers can call; see `trl_reward`."""

    def __init__(self, rewarder: Rewarder, sources: ColumnNames, name: str) -> None:
        self._rewarder, self._sources = rewarder, sources
        # TRL names the reward in its logs by `__name__`.
        self.__name__ = name

    def __call__(
        self,
        *given: Sequence[Any],
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] | None = None,
        completion_ids: Any = None,
        trainer_state: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return the reward of each completion, None without a score.

        By position: (completions), or (prompts, completions). Without prompts, the prompts are the
        column `messages`, as ms-swift has it.
        """
        batch = _by_name(given, {"prompts": prompts, "completions": completions})
        if batch["prompts"] is None:
            batch["prompts"] = self._sources.prompts(columns)
        items = self._sources.items(batch["prompts"], batch["completions"], columns)
        rewards, rows = self._rewarder.rewards(items)
        if log_metric is not None and rows:
            self._log(rewards, rows, log_metric)
        return [
            self._sources.instead(row) if reward is None else reward
            for row, reward in zip(rows, rewards, strict=True)
        ]

    def _log(
        self, rewards: list[float | None], rows: list[Row], log_metric: Callable[[str, float], None]
    ) -> None:
        log_metric(f"{self.__name__}/scored", sum(r is not None for r in rewards) / len(rewards))
        for axis in axes_in_rows(rows):
            column = f"{axis}{COLUMN_SUFFIX[self._rewarder.spec.scale]}"
            found = [row[column] for row in rows if row.get(column) is not None]
            if found:
                log_metric(f"{self.__name__}/{column}", sum(found) / len(found))


def trl_reward(
    model: "LibreHPS | RewardClient | str | Path",
    *,
    to_image: Callable[..., Any] | None = None,
    image_column: str | None = None,
    prompt_column: str | None = None,
    unrendered: float | None = None,
    frames: bool = False,
    name: str | None = None,
    device: "DeviceRequest" = None,
    **options: Unpack[RewardOptions],
) -> TRLReward:
    """Return a reward function for TRL, from a loaded model, a model's name, or a `RewardClient`.

    The image is the result of `to_image(completion, prompt=.., **dataset columns)`, or the cell of
    image_column, or the completion itself (also in chat messages). An image may be anything that
    `score_image` accepts, pixels of any usual shape, or a clip. Several images in one cell are an
    error, unless with `frames` they are the frames of a clip. Text is a path, except in a
    completion. `to_image` returns None, or raises ValueError, OSError, SyntaxError or ItemError, if
    it cannot render. The prompt is the trainer's or the cell of prompt_column or of `messages`
    (ms-swift); for chat messages, the last user message. A sample that cannot be scored gets None,
    and the log has the reason; a completion without a usable image from to_image gets `unrendered`,
    since a policy learns nothing from None.
    `name` is the reward's name in TRL's logs (default: like "librehps_overall_mu", by axis and
    scale); two rewards in one run need two names. `device`: where a model's name is loaded. A
    loaded model cannot be pickled: across processes use a `RewardClient`. For `options` see
    `RewardOptions`.
    """
    sources = ColumnNames(to_image, image_column, prompt_column, unrendered, frames)
    spec, resize = read_reward_options(options)
    if device is not None and not isinstance(model, str | Path):
        raise UsageError("device is for a model's name only: this model is already loaded")
    rewarder = Rewarder(rows_by(model, resize, device), spec)
    return TRLReward(rewarder, sources, f"librehps_{spec.name}" if name is None else name)


def _by_name(given: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments `named`, with those given by position; raises UsageError.

    One argument by position is the completions, unless these are named; two are prompts first.
    """
    names = ["prompts", "completions"]
    if len(given) == 1 and named["completions"] is None:
        names = ["completions"]
    if len(given) > len(names):
        raise UsageError(
            f"{len(given)} arguments by position: expected (completions) or (prompts, completions)"
        )
    for name, value in zip(names, given, strict=False):
        if named[name] is not None:
            raise UsageError(f"{name}: given twice, by position and by name")
        named[name] = value
    return named


def _rows(columns: Mapping[str, Any], prompts: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the dataset columns and the prompt of each sample."""
    count = len(prompts)
    cells: dict[str, Sequence[Any]]
    cells = {k: v for k, v in columns.items() if isinstance(v, list | tuple) and len(v) == count}
    cells["prompt"] = prompts
    return [{name: values[at] for name, values in cells.items()} for at in range(count)]
