"""Pairs with scores, as arrays."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.errors import PreferenceError
from librehps.preferences.media import Key, key_of, keys_of
from librehps.preferences.pairs import Pair
from librehps.scores.columns import axes_among
from librehps.scores.media_folder import MediaFolder
from librehps.storage.places import shown
from librehps.types import ScoredRow

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MediaScore:
    """The mu and sigma by axis, and the scalar (NaN: unknown), of one media under one prompt."""

    mu: Mapping[str, float]
    sigma: Mapping[str, float]
    scalar: float


@dataclass(frozen=True)
class ScoredPairs:
    """The arrays of n scored pairs; NaN stands for an unknown value.

    mu, sigma (n, 2, axes) over a, b and `axes`; preference (n, axes); scalar, rating (n, 2);
    prompt, benchmark (n,) text; index (n,); media (n, 2) keys; `columns` holds the file's other
    columns, each (n,).
    """

    axes: tuple[str, ...]
    mu: Floats
    sigma: Floats
    scalar: Floats
    preference: Floats
    rating: Floats
    prompt: NDArray[np.object_]
    benchmark: NDArray[np.object_]
    index: NDArray[np.int64]
    media: NDArray[np.object_]
    columns: Mapping[str, NDArray[np.object_]]

    def __len__(self) -> int:
        return len(self.index)

    def where(self, chosen: NDArray[np.bool_]) -> "ScoredPairs":
        """Return the pairs of a mask."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        columns = {name: values[chosen] for name, values in parts.pop("columns").items()}
        del parts["axes"]
        return replace(self, columns=columns, **{n: part[chosen] for n, part in parts.items()})

    def digest(self) -> str:
        """Return a digest of which pairs these are: equal in two runs on the same pairs."""
        names = sorted(f"{b}|{i}" for b, i in zip(self.benchmark, self.index, strict=True))
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]

    def gap(self, axis: str = "overall") -> Floats:
        """Return mu_a - mu_b on an axis, (n,)."""
        mu = self.mu[:, :, self.axes.index(axis)]
        gap: Floats = mu[:, 0] - mu[:, 1]
        return gap

    def spread(self, axis: str = "overall") -> Floats:
        """Return sqrt(sigma_a^2 + sigma_b^2) on an axis, (n,)."""
        sigma = self.sigma[:, :, self.axes.index(axis)]
        spread: Floats = np.hypot(sigma[:, 0], sigma[:, 1])
        return spread

    def preferred(self, axis: str = "overall") -> Floats:
        """Return the probability that people prefer a, (n,); 0.5: tie, NaN: unknown."""
        chosen: Floats = self.preference[:, self.axes.index(axis)]
        return chosen


def scores_of(rows: Iterable[ScoredRow], failed: list[ScoredRow]) -> dict[Key, MediaScore]:
    """Return scores by media and prompt; rows with errors are added to `failed`."""
    scores = {}
    for row in rows:
        if row.score is None:
            failed.append(row)
            continue
        scores[key_of(row.item.media, row.item.prompt or "")] = MediaScore(
            {name: axis.raw_mean for name, axis in row.score.items()},
            {name: axis.sigma for name, axis in row.score.items()},
            _real(row.score.scalar),
        )
    return scores


def scores_in(
    table: Any, origin: str, folder: MediaFolder, prompts: Collection[str]
) -> dict[Key, MediaScore]:
    """Return scores by media and prompt, under some prompts, from the table of a scored file.

    `table` is a `pyarrow.Table` or a FileTable, `folder` finds its media.
    """
    names, axes = set(table.column_names), axes_among(table.column_names)
    needed = {"id", "media", "prompt", "status", "overall_mu"}
    if not needed <= names:
        raise PreferenceError(
            f"{origin} lacks the columns {', '.join(sorted(needed - names))}",
            hint="Write the scored file with `librehps score -o`.",
        )
    mus, sigmas = ({a: f"{a}_{what}" for a in axes} for what in ("mu", "sigma"))
    wanted = (*mus.values(), *sigmas.values(), "scalar")
    kept = list(dict.fromkeys([*sorted(needed), *(n for n in wanted if n in names)]))
    scores = {}
    for row in _rows_under(prompts, table, kept):
        if row["status"] == "ok":
            mu, sigma = (
                {axis: _real(row.get(name)) for axis, name in found.items()}
                for found in (mus, sigmas)
            )
            score = MediaScore(mu, sigma, _real(row.get("scalar")))
            # For media in memory, `items_of` put the digest into the id.
            media, name = row["media"], row["id"].rpartition("#")[0]
            whole = folder.whole(media) if media else None
            key = (name, row["prompt"]) if whole is None else key_of(whole, row["prompt"])
            scores[key] = score
    return scores


def _rows_under(
    prompts: Collection[str], table: Any, names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the rows under some prompts, with some columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from librehps.scores.file_table import batches_of

    wanted = pa.array(sorted(prompts), pa.string())
    for batch in batches_of(table, names):
        found = batch.column(batch.schema.get_field_index("prompt")).cast(pa.string())
        yield from batch.filter(pc.is_in(found, wanted)).to_pylist()


def join(
    pairs: Sequence[Pair], scores: Mapping[Key, MediaScore], left_out: Counter[str]
) -> ScoredPairs:
    """Return the pairs with two scored media; raises PreferenceError if there are none."""
    found = []
    for pair in pairs:
        # A scored file holds URLs without what grants access.
        keys = [k if k in scores else (shown(k[0]), k[1]) for k in keys_of(pair)]
        if all(key in scores for key in keys):
            found.append((pair, keys))
        else:
            left_out["media without a score"] += 1
    if not found:
        raise PreferenceError(
            f"no pair of {len(pairs)} has scores for both media",
            hint="Check that the scores are of these files: paths and prompts must match.",
        )
    both = [[scores[key] for key in keys] for _, keys in found]
    names = sorted({name for pair, _ in found for name in pair.extra})
    axes = tuple(dict.fromkeys(axis for two in both for score in two for axis in score.mu))
    return ScoredPairs(
        axes=axes,
        mu=np.array([[[s.mu.get(a, np.nan) for a in axes] for s in two] for two in both]),
        sigma=np.array([[[s.sigma.get(a, np.nan) for a in axes] for s in two] for two in both]),
        scalar=np.array([[s.scalar for s in two] for two in both]),
        preference=np.array([[p.preference.get(a, np.nan) for a in axes] for p, _ in found]),
        rating=np.array([[_real(p.rating_a), _real(p.rating_b)] for p, _ in found]),
        prompt=_texts([p.prompt for p, _ in found]),
        benchmark=_texts([p.benchmark for p, _ in found]),
        index=np.array([p.index for p, _ in found]),
        media=np.array([[_joined(key) for key in keys] for _, keys in found], dtype=object),
        columns={name: _texts([p.extra.get(name) for p, _ in found]) for name in names},
    )


def _texts(values: list[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _real(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _joined(key: Key) -> str:
    return "\0".join(key)
