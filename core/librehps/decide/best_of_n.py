"""The best of each group of scored records."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from librehps.decide.probability import Platt

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Pick:
    """A group's best; `margin` in mu over the runner-up, None where nothing else was scored."""

    group: str
    winner: Record
    scored: int
    margin: float | None
    win_probability: float | None
    ties: tuple[Record, ...] = ()


def pick_best(records: Iterable[Record], calibrator: Platt | None = None) -> list[Pick]:
    """One pick a group (`group`, else the prompt) by the highest `overall_mu`, first seen first.

    Records with errors do not compete. `win_probability` is P(winner beats runner-up) by the
    calibrator, None without one.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record["status"] == "ok":
            name = record["group"] if record["group"] is not None else record["prompt"]
            groups.setdefault(name, []).append(record)
    return [_pick(name, members, calibrator) for name, members in groups.items()]


def _pick(name: str, members: list[Record], calibrator: Platt | None) -> Pick:
    ranked = sorted(members, key=lambda record: -record["overall_mu"])
    winner, rest = ranked[0], ranked[1:]
    if not rest:
        return Pick(name, winner, 1, None, None)
    margin = winner["overall_mu"] - rest[0]["overall_mu"]
    probability = None if calibrator is None else calibrator.probability(margin)
    ties = tuple(r for r in rest if r["overall_mu"] == winner["overall_mu"])
    return Pick(name, winner, len(ranked), margin, probability, ties)
