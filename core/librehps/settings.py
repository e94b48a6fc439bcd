"""Settings: everything that a score depends on, and the short digest of it in each row."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from librehps.types import AXES, Animated, Sample

DEFAULT_MODEL = "LibreHPS/LibreHPS-4B-v1.1"
DEFAULT_MODEL_SIZE = "20.7 GB"
TINY = "tiny"
# Version of the computed numbers, raised only when a golden number changes: scores of different
# values cannot be compared.
NUMERICS = 2
# Version 0.1.0 put its version into the digest; numerics 1 keeps these digests.
FIRST_NUMERICS, FIRST_VERSION = 1, "0.1.0"
# How files became pixels under numerics 1, whose records do not say it.
FIRST_MEDIA = {
    "background": "keep",
    "color_management": False,
    "animated": "still",
    "sample": "index",
}
# What records say that have no `weights`; left out of the digest, which older files have.
FULL_WEIGHTS = {"weights": "full"}
# In the record of a table, the files joined to it: the name, the file, the key, the settings.
JOINED = "joined"
# In the record of a table, the weights by which its rows were chosen, and the normalisation.
WEIGHED = "weighed"
UNCOMPARED = ("version", "axes", JOINED, WEIGHED)


@dataclass(frozen=True)
class Settings:
    """The settings that a score depends on; only scores with equal settings can be compared.

    `version` and `axes` may differ. `pixel_budget` is in pixels per picture (0: only round the
    sides); `fingerprint` identifies the stored weights; `weights` says whether loading quantised
    them: full, int8 or nf4; `layout` identifies the configuration, tokenizer and template; `axes`
    are the checkpoint's. `background` to `sample` are those of `MediaOptions`.
    """

    model: str
    fingerprint: str
    layout: str
    dtype: str
    weights: str
    attention: str
    delta_rule: str
    pixel_budget: int
    num_frames: int
    background: str
    color_management: bool
    animated: Animated
    sample: Sample
    numerics: int
    version: str
    axes: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """12 hex digits, a hash of every field that scores depend on."""
        compared = comparable(self.record())
        if self.weights == FULL_WEIGHTS["weights"]:
            del compared["weights"]
        if self.numerics == FIRST_NUMERICS:
            for name in ("numerics", *FIRST_MEDIA):
                del compared[name]
            compared["version"] = FIRST_VERSION
        text = json.dumps(compared, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def record(self) -> dict[str, Any]:
        """Return every field as JSON values, as stored in the output file or its .settings.json."""
        return {**asdict(self), "axes": list(self.axes)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Settings":
        """Return the settings of a record, also of one that version 0.1.0 wrote."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in record.items() if name in known}
        axes = tuple(given.pop("axes", AXES))
        return cls(**{**_as_first(given), "axes": axes})


def comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a settings record that must be equal for scores to be compared."""
    kept = {name: value for name, value in record.items() if name not in UNCOMPARED}
    return _as_first(kept) if kept else {}


def united(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the record of the rows of several files, without weights that some did not have."""
    if not records:
        return {}
    weighed = [record.get(WEIGHED) for record in records]
    are_equal = all(one == weighed[0] for one in weighed)
    first = next(filter(comparable, records), records[0])
    return {name: value for name, value in first.items() if name != WEIGHED or are_equal}


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names of settings on which two records differ, sorted."""
    one, two = comparable(before), comparable(now)
    found = [name for name in one | two if one.get(name) != two.get(name)]
    theirs = {joined["name"]: joined["settings"] for joined in now.get(JOINED, ())}
    for joined in before.get(JOINED, ()):
        name, settings = joined["name"], joined["settings"]
        found += [f"{name}.{part}" for part in differing(settings, theirs.get(name, settings))]
    return sorted(found)


def _as_first(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with what earlier versions left out."""
    return {"numerics": FIRST_NUMERICS, **FIRST_MEDIA, **FULL_WEIGHTS, **record}
