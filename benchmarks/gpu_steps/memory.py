"""Halved batches when device memory runs out, and how pixels reach the device."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from gpu_steps.base import Figures, Where, check
from gpu_steps.speed import pictures
from librehps import LibreHPS
from librehps.bench.clock import Clock
from librehps.bench.random_model import random_scorer
from librehps.engine import device as engine_device
from librehps.models import device as model_device
from librehps.models.base import Prepared

MU = 2e-3
# A batch of LARGE needs several times the memory that is left, a batch of SMALL fits.
SMALL, LARGE = {"cuda": 8, "cpu": 2}, {"cuda": 64, "cpu": 8}
TRANSFERS = 32


def halving(where: Where) -> Figures:
    """Score a batch too large for the free memory; its rows must be those of small batches."""
    kind = torch.device(where.device).type
    config = "47m" if kind == "cuda" else where.config
    scorer = random_scorer(config, device=where.device, dtype="float32")
    items = [turned(one, turn) for turn in range(LARGE[kind] // 4) for one in pictures(scorer)]
    small = _mus(scorer, items, SMALL[kind])
    with scarce_memory(scorer, items[: SMALL[kind]]), _warnings() as warnings:
        large = _mus(scorer, items, LARGE[kind])
    again = _mus(scorer, items, SMALL[kind])
    figures = {
        "batch_size": LARGE[kind],
        "reserved": kind == "cuda",
        "halvings": [text for text in warnings if "out of memory" in text],
        "mu": float((small - large).abs().max()),
        "mu_afterwards": float((small - again).abs().max()),
    }
    missing = 0.0 if figures["halvings"] else 1.0
    return check(
        figures,
        {
            "mu": (figures["mu"], MU),
            "mu_afterwards": (figures["mu_afterwards"], MU),
            "the batch was never halved": (missing, 0.0),
        },
    )


def turned(one: Prepared, turn: int) -> Prepared:
    """Return the picture moved to the side, so that each row has a score of its own."""
    return Prepared(one.pixels.roll(7 * turn, -1), one.ids, one.positions, one.vision)


def _mus(scorer: LibreHPS, items: list[Prepared], batch_size: int) -> torch.Tensor:
    """Return mu of each item, scored by the engine's launcher in batches of this size."""
    import threading

    launcher = engine_device.Launcher(scorer._model, batch_size, threading.Event())
    try:
        starts = range(0, len(items), batch_size)
        futures = launcher.submit([items[at : at + batch_size] for at in starts])
        rows = [row for future in futures for row in future.result()]
    finally:
        launcher.close()
    errors = [row for row in rows if isinstance(row, Exception)]
    if errors:
        raise errors[0]
    assert len(rows) == len(items)
    return torch.tensor([row.mu for row in rows])


@contextmanager
def scarce_memory(scorer: LibreHPS, fits: list[Prepared]) -> Iterator[None]:
    """Leave only about twice the memory that a batch of `fits` needs; a CPU only pretends."""
    device, launch = scorer.device, scorer._model.launch
    if device.type != "cuda":

        def limited(batch: list[Prepared]) -> object:
            if len(batch) > len(fits):
                raise torch.OutOfMemoryError("out of memory")
            return launch(batch)

        with mock.patch.object(scorer._model, "launch", limited):
            yield
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    resident = torch.cuda.memory_allocated(device)
    launch(fits)()
    needed = torch.cuda.max_memory_allocated(device) - resident
    torch.cuda.empty_cache()
    # The allocator takes memory in blocks of up to 20 MiB, and two lanes run at the same time.
    left = 2 * needed + (256 << 20)
    free = torch.cuda.mem_get_info(device)[0]
    reserved = torch.empty(max(0, free - left), dtype=torch.uint8, device=device)
    try:
        yield
    finally:
        del reserved
        torch.cuda.empty_cache()


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect the library's warnings."""
    texts: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("librehps")
    log.addHandler(handler)
    try:
        yield texts
    finally:
        log.removeHandler(handler)


def lanes(where: Where) -> Figures:
    """Return images/s of the engine's launcher with one and two lanes, and of the transfers."""
    scorer = random_scorer(where.config, device=where.device)
    kind = scorer.device.type
    items, size = pictures(scorer), LARGE[kind] // 2
    items = [items[at % len(items)] for at in range(8 * size if kind == "cuda" else size)]
    clock, figures = Clock(scorer.device), {"batch_size": size}
    for count in (1, 2):
        with mock.patch.object(engine_device, "lanes_of", lambda *_, count=count: count):
            took = clock.median(lambda: _mus(scorer, items, size), 1)
        figures[f"lanes_{count}_images_per_s"] = len(items) / took
    pixels = [one.pixels for one in items[:TRANSFERS]]
    for name, send in (("pinned", model_device.moved), ("pageable", torch.Tensor.to)):
        took = clock.median(lambda send=send: [send(x, scorer.device) for x in pixels], 3)
        figures[f"{name}_images_per_s"] = len(pixels) / max(took, 1e-9)
    return figures
