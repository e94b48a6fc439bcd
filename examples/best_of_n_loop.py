"""Best of N inside a sampling loop: stop once a sample is good enough, or more would gain little.

    python examples/best_of_n_loop.py [--model MODEL] [--good-enough 0.9] [--least-gain 0.05]

`sample_best` takes any callable generator(prompt, seed) -> image, of those that `score_image` takes
(a PIL image, a path, a tensor; an array by PIL's `Image.fromarray`); None ends the loop with an
error. Here it is the renderer of LibreHPS-Tiny's scenes, which often draws them wrongly. A
diffusers pipeline, whose second argument is no seed, is wrapped:

    lambda prompt, seed: pipe(prompt, generator=torch.manual_seed(seed)).images[0]
"""

import argparse
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from librehps import BatchItem, LibreHPS

sys.path.insert(0, str(Path(__file__).parent / "tiny"))
import drawing
import sampling
import scenes

Generator = Callable[[str, int], Any]


@dataclass(frozen=True)
class Rules:
    """The stopping rules: `most` samples, a mean of `good_enough`, or a small expected gain.

    `least_gain` is in mu; samples are scored in rounds of `batch`.
    """

    most: int = 16
    batch: int = 4
    good_enough: float = 1.0
    least_gain: float = 0.0


@dataclass(frozen=True)
class Best:
    """The best image, its seed and mean overall score, how many were tried, and why it ended."""

    image: Any
    seed: int
    mean: float
    tried: int
    why: str


def sample_best(model: LibreHPS, generator: Generator, prompt: str, rules: Rules) -> Best:
    """Samples of seeds 0, 1, ... until the rules say that it is enough."""
    best: tuple[float, float, int, Any] | None = None
    mus: list[float] = []
    while True:
        seeds = range(len(mus), min(rules.most, len(mus) + rules.batch))
        images = [generator(prompt, seed) for seed in seeds]
        scores = model.score_images_batch([BatchItem(image, prompt) for image in images])
        for seed, image, score in zip(seeds, images, scores, strict=True):
            mus.append(score.overall.raw_mean)
            # By mu, since means saturate.
            if best is None or score.overall.raw_mean > best[0]:
                best = score.overall.raw_mean, score.overall.mean, seed, image
        assert best is not None  # noqa: S101 - a round has at least one sample
        why = reason_to_stop(mus, best[1], rules)
        if why is not None:
            return Best(best[3], best[2], best[1], len(mus), why)


def reason_to_stop(mus: list[float], best_mean: float, rules: Rules) -> str | None:
    """Why to stop with these samples; None to go on."""
    if best_mean >= rules.good_enough:
        return "good enough"
    if len(mus) > 1 and last_gain(mus) < rules.least_gain:
        return "more would gain little"
    return "enough tried" if len(mus) >= rules.most else None


def last_gain(mus: list[float]) -> float:
    """Return the mean gain in mu by the last of n samples, over all orders of the samples.

    The last sample gains only if it is the best: then its lead over the second best.
    """
    second, best = sorted(mus)[-2:]
    return (best - second) / len(mus)


def careless_painter(caption: scenes.Caption) -> Generator:
    """A generator that draws the caption, with defects that its seed decides."""

    def generate(prompt: str, seed: int) -> Any:
        rng = random.Random(f"{prompt} {seed}")
        defects = sampling.random_defects(rng, clips=False)
        scene, _ = drawing.show(caption, defects, rng)
        return drawing.render(scene, defects, rng, side=160)

    return generate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--most", type=int, default=16)
    parser.add_argument("--good-enough", type=float, default=0.92, help="mean in [0, 1]")
    parser.add_argument("--least-gain", type=float, default=0.02, help="in mu")
    parser.add_argument("--save", type=Path, help="folder for the best of each prompt")
    arguments = parser.parse_args()
    if arguments.most < 1:
        parser.error("--most is 1 or more: at least one sample is drawn")
    rules = Rules(arguments.most, 4, arguments.good_enough, arguments.least_gain)
    model = LibreHPS.from_pretrained(arguments.model)
    rng, tried = random.Random(4), 0
    for index in range(6):
        caption = scenes.random_caption(rng)
        best = sample_best(model, careless_painter(caption), caption.text, rules)
        tried += best.tried
        print(f"{caption.text}: seed {best.seed} of {best.tried}, {best.mean:.3f}: {best.why}")
        if arguments.save is not None:
            arguments.save.mkdir(parents=True, exist_ok=True)
            best.image.save(arguments.save / f"{index}.png")
    print(f"{tried} samples drawn instead of {6 * rules.most}")


if __name__ == "__main__":
    main()
