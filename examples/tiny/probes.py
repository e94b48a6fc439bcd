"""Probes that say during training what the model should see; they are thrown away afterwards.

The pair loss alone is one bit a pair: with it the vision tower learns colours, shapes hardly at
all, and which thing stands where never.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import scenes
from drawing import MOTIONS, STYLES, Defects
from librehps.models.librehps.tokens import PromptEncoder

# Bins a side is cut into, and one more class for a thing that is not there.
BINS = 8
ABSENT = BINS
# Kinds of defect by axis.
DEFECTS = {"coherence": ("torn",), "style": STYLES, "temporal": MOTIONS}


class CellProbe(nn.Module):
    """Tells from each vision token the shape and the colour in its cell."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.shape = nn.Linear(hidden, 1 + len(scenes.SHAPES))
        self.colour = nn.Linear(hidden, 1 + len(scenes.COLOURS))

    def loss(self, tokens: Tensor, cells: Tensor) -> Tensor:
        """Cross-entropy of tokens (N, hidden) against classes (N, 2)."""
        shape = F.cross_entropy(self.shape(tokens), cells[:, 0])
        return shape + F.cross_entropy(self.colour(tokens), cells[:, 1])


class PlaceProbe(nn.Module):
    """Tells where a thing stands, or that it is absent, at the end of its name in the caption."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.across = nn.Linear(hidden, BINS + 1)
        self.down = nn.Linear(hidden, BINS + 1)

    def loss(self, hidden: Tensor, bins: Tensor) -> Tensor:
        """Cross-entropy of hidden states (N, hidden) against bins (N, 2)."""
        across = F.cross_entropy(self.across(hidden), bins[:, 0])
        return across + F.cross_entropy(self.down(hidden), bins[:, 1])


class DefectProbe(nn.Module):
    """Tells from each vision token what is wrong with its picture or clip, and how badly."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.kinds = nn.ModuleList(nn.Linear(hidden, 1 + len(kinds)) for kinds in DEFECTS.values())
        self.severity = nn.Linear(hidden, len(DEFECTS))

    def loss(self, tokens: Tensor, defects: list[Defects]) -> Tensor:
        """Cross-entropy of the kinds and absolute error of severities; tokens (N, T, hidden)."""
        count = tokens.shape[1]
        severity = torch.tensor([[d.severity.get(axis, 0.0) for axis in DEFECTS] for d in defects])
        total = F.l1_loss(self.severity(tokens), severity[:, None].expand(-1, count, -1))
        for at, (axis, kinds) in enumerate(DEFECTS.items()):
            truth = [1 + kinds.index(_kind(d, axis)) if axis in d.severity else 0 for d in defects]
            every = torch.tensor(truth).repeat_interleave(count)
            total = total + F.cross_entropy(self.kinds[at](tokens).flatten(0, 1), every)
        return total


def _kind(defects: Defects, axis: str) -> str:
    return {"coherence": "torn", "style": defects.style, "temporal": defects.motion}[axis]


@dataclass(frozen=True)
class Mention:
    """Index of a name's last token in the caption's ids, and the bins of its thing's place."""

    end: int
    bins: tuple[int, int]


def mentions(caption: scenes.Caption, shown: scenes.Scene, encoder: PromptEncoder) -> list[Mention]:
    """Return a mention for each name of the caption, with its place in the shown scene."""
    found, text = [], caption.text
    for colour, shape in caption.names:
        until = text.index(f"{colour} {shape}") + len(f"{colour} {shape}")
        place = scenes.place_of(shown, (colour, shape))
        bins = (ABSENT, ABSENT) if place is None else (_bin(place[0]), _bin(place[1]))
        found.append(Mention(len(encoder.encode_prompt(text[:until])) - 1, bins))
    return found


def _bin(share: float) -> int:
    return min(BINS - 1, max(0, int(share * BINS)))


def stack(pairs: list[tuple[int, int]]) -> Tensor:
    return torch.tensor(pairs)
