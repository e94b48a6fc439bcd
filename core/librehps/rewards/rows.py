"""Items become scored rows, by a model in this process or by a server."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.choices import ResizeDevice
from librehps.errors import UsageError
from librehps.rewards.client import RewardClient
from librehps.rewards.reward_spec import RewardSpec
from librehps.scores.columns import axes_in_rows
from librehps.types import Item

if TYPE_CHECKING:
    import torch

    from librehps.scorer import LibreHPS

log = logging.getLogger("librehps")

# Reasons of one kind that are each told when they first come.
FEW = 3

Row = Mapping[str, Any]
ToRows = Callable[[list[Item]], list[Row]]


def rows_by(
    model: "LibreHPS | RewardClient | str | Path",
    resize: ResizeDevice = "cpu",
    device: "str | torch.device | None" = None,
) -> ToRows:
    """What makes a row of each item, in order; a model that is named is loaded, on `device`."""
    if isinstance(model, RewardClient):
        if resize == "device":
            raise UsageError("a server resizes on its own CPU: resize='device' needs a model here")
        return ServerRows(model)
    if isinstance(model, str | Path):
        from librehps.scorer import LibreHPS

        model = LibreHPS.from_pretrained(model, device=device)
    return LocalRows(model, resize)


@dataclass(frozen=True)
class ServerRows:
    """Rows by a server; raises UsageError where it could be sent nothing, all being clips."""

    client: RewardClient

    def __call__(self, items: list[Item]) -> list[Row]:
        media = [item.media for item in items if item.problem is None]
        if media and all(isinstance(one, list | tuple) for one in media):
            raise UsageError(
                "clips in memory cannot be sent to a server, which reads clips as files",
                hint="Give each clip as the path or bytes of a video file, or use a model here.",
            )
        return self.client.rows(items)


@dataclass(frozen=True)
class LocalRows:
    """Rows by a model in this process."""

    model: "LibreHPS"
    resize: ResizeDevice

    def __call__(self, items: Iterable[Item]) -> list[Row]:
        from librehps.scores.row import to_record

        on_device = self.model.device if self.resize == "device" else None
        engine, settings = self.model.engine(resize_on=on_device), self.model.settings
        return [to_record(row, settings) for row in engine.run(items)]


@dataclass(frozen=True)
class Rewarder:
    """Rewards of items by one goal.

    Why one has none is logged: of each kind the first few reasons that differ, then every tenfold.
    """

    to_rows: ToRows
    goal: RewardSpec
    counts: Counter[str] = field(default_factory=Counter)
    told: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A model here is asked at once; a server shows its axes with its first answer.
        if isinstance(self.to_rows, LocalRows):
            self.goal.check_axes(self.to_rows.model.axes)

    def rewards(self, items: list[Item]) -> tuple[list[float | None], list[Row]]:
        """(reward or None, row) of each item, in order."""
        rows = self.to_rows(items)
        if axes := axes_in_rows(rows):
            self.goal.check_axes(axes)
        rewards = [self.goal.reward(row) for row in rows]
        for reward, row in zip(rewards, rows, strict=True):
            if reward is None:
                self._tell(*self.goal.why_not(row))
        return rewards, rows

    def _tell(self, kind: str, reason: str) -> None:
        self.counts[kind] += 1
        count, told = self.counts[kind], self.told.setdefault(kind, set())
        is_new = reason not in told and len(told) < FEW
        if is_new or str(count).strip("0") == "1":
            if is_new:
                told.add(reason)
            log.warning("no reward: %s: %s (%d of this kind so far)", kind, reason, count)
