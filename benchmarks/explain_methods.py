"""Compare methods of captum, and RISE, that map a score to the picture, on defects of known place.

    pip install captum
    python benchmarks/explain_methods.py --count 40 --seed A

A method maps the picture to points of mu; its maximum must lie in the defect's box, grown by a
tenth. `windows (librehps)` is the method of librehps. A gradient counts as two forwards.
"""

import argparse
import json
import logging
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import (
    GradientShap,
    IntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from torch import Tensor

import explain as scenes_of
from librehps import LibreHPS
from librehps.explain.regions import explain_regions
from librehps.models.librehps.batch import collate
from librehps.models.vision import unfold

WINDOW, STRIDE = 32, 16
STEPS, SAMPLES = 12, 8
# Noise of SmoothGrad, in levels of a pixel; and sigma of the blur before the maximum, in pixels.
NOISE, BLUR = 12.0, 4
# RISE: random masks, cells along a side of a mask, and the share of cells that are kept.
MASKS, MASK_CELLS, MASK_KEPT = 100, 8, 0.5
BATCH = 16


@dataclass
class Scored:
    """A picture whose score on an axis is a function of its pixels, (N, 3, H, W) floats."""

    subject: scenes_of.MeasuredSubject
    network: torch.nn.Module
    axis: str

    def __call__(self, pixels: Tensor) -> Tensor:
        subject = self.subject
        item = subject.processor.prepare(
            subject.pixels, "image", subject.processor.encode(subject.prompt)
        )
        batch = collate([replace(item) for _ in pixels], torch.device("cpu"))
        patches = torch.cat([unfold(one[None], 16, 2) for one in pixels]) / 127.5 - 1
        return self.network(replace(batch, patches=patches)).mu[:, subject.axis(self.axis)]

    @property
    def pixels(self) -> Tensor:
        return self.subject.pixels.float()

    @property
    def mean(self) -> Tensor:
        return self.pixels.mean((-2, -1), keepdim=True).expand_as(self.pixels)


def saliency(scored):
    return Saliency(scored).attribute(scored.pixels.requires_grad_()), 2


def integrated(scored, base):
    found = IntegratedGradients(scored).attribute(scored.pixels, base, n_steps=STEPS)
    return -found, 2 * STEPS


def smooth(scored):
    tunnel = NoiseTunnel(Saliency(scored))
    return tunnel.attribute(scored.pixels, nt_samples=SAMPLES, stdevs=NOISE), 2 * SAMPLES


def shap_of_gradients(scored):
    found = GradientShap(scored).attribute(
        scored.pixels, torch.cat([scored.mean, scored.mean]), n_samples=SAMPLES, stdevs=NOISE
    )
    return -found, 2 * SAMPLES


def grad_cam(scored):
    tower = scored.network.model.visual
    tokens = []
    hook = tower.merger.register_forward_hook(lambda _, __, out: tokens.append(out))
    (grads,) = torch.autograd.grad(scored(scored.pixels.requires_grad_())[0], tokens[0])
    hook.remove()
    gained = (grads * (tokens[0].mean(0) - tokens[0])).sum(1).detach()
    rows = scored.pixels.shape[-2] // WINDOW
    return gained.view(1, 1, rows, -1), 2


def occlusion(scored):
    found = Occlusion(scored).attribute(
        scored.pixels, (3, WINDOW, WINDOW), (3, STRIDE, STRIDE), scored.mean,
        perturbations_per_eval=BATCH,
    )  # fmt: skip
    # The score of the whole picture, and of each window.
    sides = [(side - WINDOW) // STRIDE + 1 for side in scored.pixels.shape[-2:]]
    return -found, 1 + sides[0] * sides[1]


def rise(scored):
    """Return the mean score under random smooth masks that keep a pixel: RISE."""
    grids = (torch.rand(MASKS, 1, MASK_CELLS, MASK_CELLS) < MASK_KEPT).float()
    masks = F.interpolate(grids, scored.pixels.shape[-2:], mode="bilinear")
    parts = [
        scored(scored.mean + mask * (scored.pixels - scored.mean)) for mask in masks.split(BATCH)
    ]
    scores = torch.cat(parts).detach()
    kept = (scores.view(-1, 1, 1, 1) * masks).sum(0) / masks.sum(0).clamp(min=1e-6)
    return -kept[None], MASKS


METHODS = {
    "Saliency": saliency,
    "Saliency, SmoothGrad": smooth,
    "IntegratedGradients from the mean colour": lambda one: integrated(one, one.mean),
    "IntegratedGradients from black": lambda one: integrated(one, 0 * one.mean),
    "GradientShap": shap_of_gradients,
    "gradient x vision tokens": grad_cam,
    "Occlusion": occlusion,
    "RISE": rise,
}


def peak_of(found: Tensor) -> tuple[float, float]:
    """Return where a map, smoothed if it has pixels, is largest, as shares of width and height."""
    flat = found.detach().sum(1, keepdim=True).float()
    if flat.shape[-1] > WINDOW:
        steps = torch.arange(-3 * BLUR, 3 * BLUR + 1)
        kernel = torch.exp(-((steps / BLUR) ** 2) / 2)
        kernel /= kernel.sum()
        padded = F.pad(flat, (3 * BLUR,) * 4, "replicate")
        flat = F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    values = flat[0, 0].numpy()
    y, x = (np.argwhere(values >= values.max() - 1e-6).mean(0) + 0.5) / values.shape
    return x, y


def measure(scorer: LibreHPS, kind: str, seed: str, count: int) -> dict:
    """Return the share of hits, the forwards and the seconds of each method."""
    torch.manual_seed(0)
    rows: dict[str, list] = {}
    network, axis = scorer._model.network.requires_grad_(False), scenes_of.AXIS[kind]
    for index in range(count):
        case = scenes_of.defective(seed, kind, index)
        subject = scenes_of._subject(scorer, case.picture, case.prompt)
        start = time.process_time()
        hit = case.holds(*explain_regions(subject, axis).peak)
        seconds = time.process_time() - start
        rows.setdefault("windows (librehps)", []).append((hit, subject.forwards, seconds))
        for name, method in METHODS.items():
            start = time.process_time()
            found, forwards = method(Scored(subject, network, axis))
            seconds = time.process_time() - start
            rows.setdefault(name, []).append((case.holds(*peak_of(found)), forwards, seconds))
    return {name: np.mean(values, axis=0).round(3).tolist() for name, values in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=[*scenes_of.AXIS])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", default="A")
    given = parser.parse_args()
    logging.getLogger("librehps").setLevel(logging.ERROR)
    scorer = LibreHPS.from_pretrained("tiny", dtype="float32")
    for kind in given.kinds:
        found = measure(scorer, kind, given.seed, given.count)
        print(json.dumps({"kind": kind, "hits_forwards_seconds": found}), flush=True)


if __name__ == "__main__":
    main()
