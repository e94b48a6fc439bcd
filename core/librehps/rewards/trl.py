"""Reward functions as TRL's trainers call them (GRPO, RLOO and others)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from librehps import errors
from librehps.errors import ItemError, MediaError, UnsupportedMediaError, UsageError
from librehps.rewards.client import RewardClient
from librehps.rewards.pictures import check_range, completion_text, is_words, item_of
from librehps.rewards.reward_spec import SUFFIX, RewardOptions, read_reward_options
from librehps.rewards.rows import Rewarder, Row, rows_by
from librehps.scores.columns import axes_in_rows
from librehps.types import Item

if TYPE_CHECKING:
    import torch

    from librehps.scorer import LibreHPS

# What a renderer raises for a completion that cannot be shown; anything else is a fault of its own.
UNRENDERED = (ItemError, ValueError, OSError, SyntaxError)


@dataclass(frozen=True)
class ColumnNames:
    """Where a sample's picture and prompt are: `to_image`, a column, or what the trainer has."""

    to_image: Callable[..., Any] | None = None
    image_column: str | None = None
    prompt_column: str | None = None
    unrendered: float | None = None

    def __post_init__(self) -> None:
        if self.to_image is not None and self.image_column is not None:
            raise UsageError("the picture comes from to_image or from image_column, not from both")
        if self.unrendered is None:
            return
        if self.to_image is None:
            raise UsageError(
                "unrendered is the reward where to_image gives no picture, and there is no to_image"
            )
        if not math.isfinite(self.unrendered):
            raise UsageError(f"unrendered is a finite number, not {self.unrendered}")

    def items(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> list[Item]:
        """The item of each sample, in order; raises UsageError where the call makes no sense."""
        pictures = self._column(self.image_column, columns, completions)
        texts = self._column(self.prompt_column, columns, prompts)
        if {len(completions), len(pictures), len(texts)} != {len(prompts)}:
            raise UsageError(
                f"{len(completions)} completions, {len(pictures)} pictures and {len(texts)} texts "
                f"for {len(prompts)} prompts"
            )
        if self.to_image is None:
            return self._given(pictures, texts)
        rows = _rows(columns, prompts)
        return [
            self._rendered(self.to_image, i, *sample)
            for i, sample in enumerate(zip(completions, texts, rows, strict=True))
        ]

    def instead(self, row: Row) -> float | None:
        """The reward of a row without a score: `unrendered` where the render is no picture."""
        kind = getattr(errors, str(row.get("error_type")), None)
        is_unshown = isinstance(kind, type) and issubclass(kind, MediaError)
        return self.unrendered if is_unshown else None

    def _given(self, pictures: Sequence[Any], texts: Sequence[Any]) -> list[Item]:
        is_completion = self.image_column is None
        if is_completion and len(pictures) and all(map(is_words, pictures)):
            raise UsageError(
                "the completions are text, not pictures, and text is not read as a file's name",
                hint="Give to_image, which renders a completion, or image_column.",
            )
        # A policy that writes the name of a good picture shall not be rewarded for it.
        pairs = enumerate(zip(pictures, texts, strict=True))
        items = [item_of(i, *pair, names=not is_completion) for i, pair in pairs]
        check_range(items)
        return items

    def _rendered(
        self, to_image: Callable[..., Any], at: int, completion: Any, prompt: Any, row: Row
    ) -> Item:
        try:
            picture = to_image(completion_text(completion), **row)
        except UNRENDERED as error:
            reason = f"to_image: {type(error).__name__}: {error}"
            return Item(str(at), None, None, problem=UnsupportedMediaError(reason))
        return item_of(at, picture, prompt)

    def _column(
        self, name: str | None, columns: Mapping[str, Any], default: Sequence[Any]
    ) -> Sequence[Any]:
        if name is None:
            return default
        if name not in columns:
            raise UsageError(
                f"the dataset has no column {name!r}: {', '.join(columns) or 'no further column'}",
                hint="Trainers pass on only what remove_unused_columns=False keeps.",
            )
        column: Sequence[Any] = columns[name]
        return column


class TRLReward:
    """Callable by keyword as TRL's trainers do it; see `trl_reward`."""

    def __init__(self, rewarder: Rewarder, places: ColumnNames, name: str) -> None:
        self._rewarder, self._places = rewarder, places
        # By this TRL names the reward in its logs.
        self.__name__ = name

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Any = None,
        trainer_state: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """A reward for each completion, None where there is none."""
        items = self._places.items(prompts, completions, columns)
        rewards, rows = self._rewarder.rewards(items)
        if log_metric is not None and rows:
            self._log(rewards, rows, log_metric)
        return [
            self._places.instead(row) if reward is None else reward
            for row, reward in zip(rows, rewards, strict=True)
        ]

    def _log(
        self, rewards: list[float | None], rows: list[Row], log_metric: Callable[[str, float], None]
    ) -> None:
        log_metric(f"{self.__name__}/scored", sum(r is not None for r in rewards) / len(rewards))
        for axis in axes_in_rows(rows):
            column = f"{axis}{SUFFIX[self._rewarder.goal.scale]}"
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
    name: str | None = None,
    device: "str | torch.device | None" = None,
    **aim: Unpack[RewardOptions],
) -> TRLReward:
    """A reward function for TRL, by a loaded model, a model's name, or a `RewardClient`.

    The picture is what `to_image(completion, prompt=.., **columns of the dataset)` gives, or the
    cell of image_column, or the completion itself (also in chat messages). It may be all that
    `score_image` takes, an (H, W, 3) array, or a clip; text is a path, but never in a completion.
    `to_image` gives None, or raises ValueError, OSError, SyntaxError or ItemError, for what it
    cannot render. The prompt is the trainer's or that of prompt_column; of chat messages, what the
    user said last. What cannot be scored gets None, and the log says why; but what to_image gave no
    usable picture of gets `unrendered`: from None a policy does not learn to avoid it.
    `name` ("librehps_overall_mu", by axis and scale) is that of the reward in TRL's logs; two in
    one run need two. `device` is where a model that is named is loaded. A loaded model cannot be
    pickled: across processes use a `RewardClient`. Of `aim` see `RewardOptions`.
    """
    places = ColumnNames(to_image, image_column, prompt_column, unrendered)
    goal, resize = read_reward_options(aim)
    if device is not None and not isinstance(model, str | Path):
        raise UsageError("device is where a model that is named is loaded; this one is elsewhere")
    rewarder = Rewarder(rows_by(model, resize, device), goal)
    return TRLReward(rewarder, places, f"librehps_{goal.name}" if name is None else name)


def _rows(columns: Mapping[str, Any], prompts: Sequence[Any]) -> list[dict[str, Any]]:
    """The columns of each sample, and its prompt."""
    count = len(prompts)
    cells: dict[str, Sequence[Any]]
    cells = {k: v for k, v in columns.items() if isinstance(v, list | tuple) and len(v) == count}
    cells["prompt"] = prompts
    return [{name: values[at] for name, values in cells.items()} for at in range(count)]
