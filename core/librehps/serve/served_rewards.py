"""The rewards of a server: one with all parts, and one for each part."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class ServedRewards:
    """The rewards of a server: `name` has all `parts`, and `name.PART` has one of them."""

    name: str
    parts: tuple[str, ...]

    @cached_property
    def table(self) -> Mapping[str, tuple[str, ...]]:
        """The parts of each reward by its name; clients that read one number name one part."""
        return {self.name: self.parts, **{f"{self.name}.{part}": (part,) for part in self.parts}}

    @property
    def unknown(self) -> str:
        """The error of a reward that is not in the table."""
        parts = ", ".join(self.parts)
        return f"unknown reward (expected {self.name}, or {self.name}.PART with PART: {parts})"
