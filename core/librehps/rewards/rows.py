"""Score items to rows and rewards, with a model in this process or a server."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.choices import ResizeDevice
from librehps.decide.reward_spec import RewardSpec
from librehps.errors import UsageError
from librehps.rewards.client import AsyncRewardClient, RewardClient
from librehps.scores.columns import axes_in_rows
from librehps.types import Item

if TYPE_CHECKING:
    from librehps.models.device_list import DeviceRequest
    from librehps.scorer import LibreHPS

log = logging.getLogger("librehps")

# Different reasons of one kind that are logged when they first occur.
MAX_LOGGED_REASONS = 3

Row = Mapping[str, Any]
ToRows = Callable[[list[Item]], list[Row]]


def rows_by(
    model: "LibreHPS | RewardClient | str | Path",
    resize: ResizeDevice = "cpu",
    device: "DeviceRequest" = None,
) -> ToRows:
    """Return a function from items to rows, in order; loads a model's name on `device`."""
    if isinstance(model, RewardClient):
        if resize == "device":
            raise UsageError(
                "resize='device' is unsupported with a server: use a model in this process"
            )
        return ServerRows(model)
    if isinstance(model, AsyncRewardClient):
        raise UsageError("unsupported AsyncRewardClient: use a RewardClient, which does not await")
    if isinstance(model, str | Path):
        from librehps.scorer import LibreHPS

        model = LibreHPS.from_pretrained(model, device=device)
    return LocalRows(model, resize)


@dataclass(frozen=True)
class ServerRows:
    """A function that scores items on a server."""

    client: RewardClient

    def __call__(self, items: list[Item]) -> list[Row]:
        return self.client.rows(items)


@dataclass(frozen=True)
class LocalRows:
    """A function that scores items with a model in this process."""

    model: "LibreHPS"
    resize: ResizeDevice

    def __post_init__(self) -> None:
        if self.resize == "device" and len(self.model.devices) > 1:
            raise UsageError(
                "resize='device': unsupported for a model on several devices",
                hint="Leave out resize, or load the model on one device.",
            )

    def __call__(self, items: Iterable[Item]) -> list[Row]:
        from librehps.scores.row import to_record

        on_device = self.model.device if self.resize == "device" else None
        engine, settings = self.model.engine(resize_on=on_device), self.model.settings
        return [to_record(row, settings) for row in engine.run(items)]


@dataclass(frozen=True)
class Rewarder:
    """A function that returns rewards of items, by one RewardSpec.

    Missing rewards are logged: of each kind of error the first few different reasons, then the
    10th, 100th, 1000th and so on.
    """

    to_rows: ToRows
    spec: RewardSpec
    counts: Counter[str] = field(default_factory=Counter)
    logged: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A server shows its axes only with its first answer.
        if isinstance(self.to_rows, LocalRows):
            self.spec.check_axes(self.to_rows.model.axes)

    def rewards(self, items: list[Item]) -> tuple[list[float | None], list[Row]]:
        """Return the reward (or None) and the row of each item, in order."""
        rows = self.to_rows(items)
        if axes := axes_in_rows(rows):
            self.spec.check_axes(axes)
        rewards = [self.spec.reward(row) for row in rows]
        for reward, row in zip(rewards, rows, strict=True):
            if reward is None:
                self._log_missing(*self.spec.why_not(row))
        return rewards, rows

    def _log_missing(self, kind: str, reason: str) -> None:
        self.counts[kind] += 1
        count, logged = self.counts[kind], self.logged.setdefault(kind, set())
        is_new = reason not in logged and len(logged) < MAX_LOGGED_REASONS
        if is_new or str(count).strip("0") == "1":
            if is_new:
                logged.add(reason)
            log.warning("no reward: %s: %s (%d of this kind so far)", kind, reason, count)
