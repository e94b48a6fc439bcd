"""Make the pool of media to judge, from scored files or from media with prompts."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from librehps.choices import PromptFrom
from librehps.decide.copy_media import media_named_in
from librehps.decide.generators import FOLDER, generators_of
from librehps.errors import UsageError
from librehps.files import path_text
from librehps.judge.beliefs import Codes, Floats
from librehps.judge.pool import Pool
from librehps.media.archived import ParquetCell, Remote, TarMember
from librehps.media.named import INSIDE, Found
from librehps.runs.options import SourceKeywords
from librehps.runs.prompts import list_prompts
from librehps.scores.key_codes import codes_of
from librehps.scores.read import are_scored
from librehps.scores.score_table import ScoreTable, read_scores
from librehps.scores.select import (
    number_column,
    scored_rows,
    sorted_labels,
    text_column,
    without_vanished,
)

log = logging.getLogger("librehps")

# People judge thousands of pairs, not millions: of more prompts and items a part is drawn.
MAX_PROMPTS, MAX_ITEMS = 20_000, 100_000
UNPACK = (
    "Unpack the media into files, and give their folder: librehps judge FOLDER --prompt-from .."
)


@dataclass(frozen=True)
class SourceOptions:
    """Options for gathering: where prompts come from, the column of generators, the axis.

    `source` are the keywords for reading manifests and lists; its `root` is also the folder in
    which the media of scored files lie now, and its `allow_remote` lets URLs be read.
    """

    by: str | None = None
    axis: str = "overall"
    seed: int = 0
    prompt: str | None = None
    prompt_from: PromptFrom | None = None
    keep_markup: bool = False
    strip_weights: bool = False
    source: SourceKeywords | None = None


def gather(paths: Sequence[str], output: Path, options: SourceOptions) -> Pool:
    """Return the pool of scored files, or of media with prompts.

    Media are named as a file of pairs at `output` names them. Raises UsageError where no prompt has
    two items to compare, and for media inside tars or Parquet files, which such a file cannot name.
    """
    home = output.absolute().parent
    if not are_scored(paths):
        return _from_media(paths, home, options)
    if options.prompt is not None or options.prompt_from is not None:
        raise UsageError(
            f"--prompt and --prompt-from: not allowed with the scored file {paths[0]}",
            hint="Remove these flags: the file has its prompts.",
        )
    return _from_scores(read_scores(paths), home, options)


def _from_scores(scores: ScoreTable, home: Path, options: SourceOptions) -> Pool:
    axis, source = options.axis, options.source or {}
    table = without_vanished(scores.source, scores.origin)
    rows = scored_rows(table, scores.origin, ("prompt", "media", f"{axis}_mu"))
    codes, generators = _contestants(rows, options.by)
    chosen = _chosen(codes_of(rows, "prompt").astype(np.int64), codes, options.seed)
    sigma = [f"{axis}_sigma"] if f"{axis}_sigma" in rows.column_names else []
    part = rows.select(["prompt", "media", f"{axis}_mu", *sigma]).take(pa.array(chosen))
    texts = text_column(part, "media").to_pylist()
    root, allow_remote = source.get("root"), source.get("allow_remote", False)
    _refuse_members(scores, texts)

    def find(texts: Sequence[str]) -> list[Found | None]:
        return media_named_in(scores, texts, root, allow_remote)

    folder = scores.folder.under(root)
    named = [_name(folder.whole(text), home) for text in texts]
    return _pool(
        part, named, _numbers(codes, chosen), generators,
        _log_odds(part, axis), lambda at: _first(find([texts[at]]), texts[at]),
    )  # fmt: skip


def _from_media(paths: Sequence[str], home: Path, options: SourceOptions) -> Pool:
    listed = list_prompts(
        paths,
        prompt=options.prompt,
        prompt_from=options.prompt_from,
        keep_markup=options.keep_markup,
        strip_weights=options.strip_weights,
        **options.source or {},
    )
    items = [row.item for row in listed if row.error is None and row.item.prompt]
    for note in listed.notes():
        log.warning(note)
    for reason, count in listed.reasons.most_common():
        log.warning("%d items left out: %s", count, reason)
    inside = next((i for i in items if isinstance(i.media, TarMember | ParquetCell)), None)
    if inside is not None:
        raise _unnamed(str(inside.media))
    names = {name for item in items for name in item.extra}
    table = pa.table({
        "id": pa.array([item.id for item in items], pa.string()),
        "prompt": pa.array([item.prompt for item in items], pa.string()),
        **{name: _column([item.extra.get(name) for item in items]) for name in names},
    })  # fmt: skip
    codes, generators = _contestants(table, options.by)
    chosen = _chosen(codes_of(table, "prompt").astype(np.int64), codes, options.seed)
    media: list[Found] = [
        Path(one) if isinstance(one, str) else one
        for one in (items[at].media for at in chosen.tolist())
    ]
    named = [_name(one.url if isinstance(one, Remote) else str(one), home) for one in media]
    part = table.take(pa.array(chosen))
    return _pool(part, named, _numbers(codes, chosen), generators, None, media.__getitem__)


def _column(values: list[Any]) -> Any:
    """Return the values as text, null for none: a column of generators may be of any kind."""
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _contestants(table: Any, by: str | None) -> tuple[Codes | None, list[str] | None]:
    """Return the code of each row's generator, -1 for none, and the generators; None without."""
    if by is None:
        return None, None
    is_folder = by == FOLDER and FOLDER not in table.column_names
    name = "id" if is_folder else by
    found, generators = sorted_labels(table, name, partial(generators_of, by=by))
    nameless = [at for at, text in enumerate(generators) if not text.strip()]
    codes: Codes = np.where(np.isin(found, nameless), -1, found).astype(np.int64)
    if bare := int((codes < 0).sum()):
        log.warning("%d of %d rows have no value of %s and are left out", bare, len(table), by)
    return codes, generators


def _numbers(codes: Codes | None, chosen: Codes) -> Codes:
    """Return the contestant of each chosen row: its generator, else its own number."""
    return np.arange(len(chosen)) if codes is None else codes[chosen]


def _chosen(prompt: Codes, generator: Codes | None, seed: int) -> Codes:
    """Return the rows of prompts with two contestants, by prompt; of many, some at random."""
    rng = np.random.default_rng([seed, 2])
    known = prompt >= 0 if generator is None else (prompt >= 0) & (generator >= 0)
    rows = np.flatnonzero(known)
    sides = rows if generator is None else generator[rows]
    pairs = np.unique(np.stack([prompt[rows], sides]), axis=1)[0]
    contests, counts = np.unique(pairs, return_counts=True)
    contests = contests[counts > 1]
    if not len(contests):
        what = "media" if generator is None else "generators"
        raise UsageError(
            f"no prompt has two {what} to compare",
            hint="Give media that share prompts, or another column with --by.",
        )
    if len(contests) > MAX_PROMPTS:
        contests = rng.permutation(contests)[:MAX_PROMPTS]
    rows = rows[np.isin(prompt[rows], contests)]
    if len(rows) > MAX_ITEMS:
        rows = np.sort(_evenly(rows, prompt, rng))
    return rows[np.argsort(prompt[rows], kind="stable")]


def _evenly(rows: Codes, prompt: Codes, rng: np.random.Generator) -> Codes:
    """Return MAX_ITEMS rows: the first of each prompt in a random order, then the second ..."""
    mixed = rng.permutation(rows)
    mixed = mixed[np.argsort(prompt[mixed], kind="stable")]
    _, first, counts = np.unique(prompt[mixed], return_index=True, return_counts=True)
    place = np.arange(len(mixed)) - np.repeat(first, counts)
    return mixed[np.argsort(place, kind="stable")[:MAX_ITEMS]]


def _pool(
    part: Any,
    media: list[str],
    contestant: Codes,
    generators: list[str] | None,
    mu: Floats | None,
    find: Callable[[int], Found],
) -> Pool:
    """Return the pool of rows that are sorted by prompt; a media in several rows counts once."""
    texts = text_column(part, "prompt").to_pylist()
    kept = list(dict(zip(reversed([*zip(texts, media, strict=True)]),
                         reversed(range(len(texts))), strict=True)).values())[::-1]  # fmt: skip
    if len(kept) < len(texts):
        log.warning("%d rows repeat media of other rows and are left out", len(texts) - len(kept))
    prompts = list(dict.fromkeys(texts))
    codes = {text: at for at, text in enumerate(prompts)}
    pool = Pool(
        prompts=prompts,
        prompt=np.array([codes[texts[at]] for at in kept], np.int64),
        contestant=np.arange(len(kept)) if generators is None else contestant[kept],
        mu=np.zeros(len(kept)) if mu is None else mu[kept],
        media=[media[at] for at in kept],
        find=lambda at: find(kept[at]),
        generators=generators,
        has_scores=mu is not None,
    )
    if not pool.size:
        raise UsageError("no prompt has two different media to compare")
    return pool


def _log_odds(part: Any, axis: str) -> Floats:
    """Return the scores in log-odds: by their sigmas, else by their spread within prompts."""
    mu = number_column(part, f"{axis}_mu").to_numpy().astype(np.float64)
    mu[~np.isfinite(mu)] = np.nanmean(mu[np.isfinite(mu)]) if np.isfinite(mu).any() else 0.0
    scale = 0.0
    if f"{axis}_sigma" in part.column_names:
        sigma = number_column(part, f"{axis}_sigma").to_numpy().astype(np.float64)
        scale = float(np.nanmedian(sigma)) * np.sqrt(2)
    if not scale > 0:
        texts = text_column(part, "prompt").combine_chunks().dictionary_encode()
        codes = texts.indices.to_numpy()
        means = np.bincount(codes, mu) / np.bincount(codes)
        scale = float((mu - means[codes]).std())
    return mu / scale if scale > 0 else np.zeros(len(mu))


def _first(found: Sequence[Found | None], text: str) -> Found:
    return next((one for one in found if one is not None), Path(text))


def _refuse_members(scores: ScoreTable, texts: Sequence[str]) -> None:
    for text in texts:
        if INSIDE in text and not Path(scores.folder.whole(text)).is_file():
            raise _unnamed(text)


def _unnamed(text: str) -> UsageError:
    return UsageError(
        f"{text}: media inside tars and Parquet files cannot be judged (expected files)",
        hint=UNPACK,
    )


def _name(place: str, home: Path) -> str:
    """Return the path as a file of pairs in `home` names it: relative below `home`."""
    if "://" in place:
        return place
    path = Path(place).absolute()
    named = path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)
    return path_text(named, path)
