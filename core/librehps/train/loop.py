"""The training loop: steps, held-out evaluation, saved state and the best checkpoint."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from librehps.errors import TrainingError
from librehps.preferences.pairs import Pair
from librehps.train.base import Base, trainable
from librehps.train.export import export
from librehps.train.feed import Feed, targets_of
from librehps.train.objective import held_out_sums, loss_terms
from librehps.train.options import TrainOptions, digest_of, rate_factor
from librehps.train.state import (
    find_state,
    keep_lines,
    load_state,
    log_line,
    save_state,
    seed_step,
)

METRICS_FILE, STATE_FOLDER = "metrics.jsonl", "state"
HEAD_PREFIXES = ("multi_axis_head.", "scalar_head.")
LOG_EVERY_STEPS = 10


@dataclass
class Progress:
    """The progress of a run, saved in its state; `best` is the step of the lowest held-out loss."""

    step: int = 0
    best: int | None = None
    best_loss: float = float("inf")
    finished: bool = False


class Trainer:
    """The training loop of one process, on its share of each batch."""

    def __init__(
        self,
        base: Base,
        feed: Feed,
        pairs: Sequence[Pair],
        held_out: Sequence[Pair],
        options: TrainOptions,
        folder: Path,
        accelerator: Any,
    ) -> None:
        self.base, self.feed, self.options, self.folder = base, feed, options, folder
        self.pairs, self.held_out, self.accelerator = pairs, held_out, accelerator
        self.steps, self.steps_per_epoch = options.schedule(len(pairs), accelerator.num_processes)
        self.parameters = trainable(feed.trainee)
        self.module, self.optimiser = accelerator.prepare(feed.trainee, self._optimiser())
        self.progress = Progress()

    def run(self, resume: bool) -> Iterator[dict[str, Any]]:
        """Train to the end; yields a record for each logged step and each evaluation.

        Raises TrainingError if the saved state has other options or data, or a loss is not finite.
        """
        if resume:
            self._resume()
        if self.progress.finished:
            return
        self.feed.open()
        record: dict[str, Any]
        started, metrics = time.monotonic(), self.folder / METRICS_FILE
        if self.accelerator.is_main_process:
            keep_lines(metrics, self.progress.step if resume else -1)
        first = self.progress.step
        if first == 0:
            record = {"step": 0, "held_out": self._evaluate()}
            self._log(record)
            yield record
        for step in range(first + 1, self.steps + 1):
            terms = self._step(step)
            record = {"step": step, "steps": self.steps, **terms}
            record["seconds_a_step"] = round((time.monotonic() - started) / (step - first), 3)
            self.progress.step = step
            if self._is_due(step):
                record["held_out"] = self._evaluate()
                self._keep_best(record["held_out"]["loss"])
            is_logged = "held_out" in record or step % LOG_EVERY_STEPS == 0
            if is_logged:
                # Before the state: a resumed run drops lines after its state, but adds none before.
                self._log(record)
            if "held_out" in record or step % self.options.save_every == 0:
                self.progress.finished = step == self.steps
                self._save()
            if is_logged:
                yield record

    def _step(self, step: int) -> dict[str, float]:
        options, process = self.options, self.accelerator.process_index
        seed_step(options.seed, step, process)
        factor = rate_factor(step, self.steps, options.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        self.module.train()
        self.optimiser.zero_grad()
        totals: dict[str, float] = {}
        for part in range(options.accumulate):
            chosen = self._chosen(step, part)
            last = part == options.accumulate - 1
            # Processes exchange gradients only once per step.
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                output = self.module(self.feed.inputs(chosen))
                targets = targets_of(chosen, self.base.device, self.base.checkpoint.axes)
                terms = loss_terms(output, targets, options)
                loss = torch.stack(list(terms.values())).sum() / options.accumulate
                self._check(loss, step)
                self.accelerator.backward(loss)
            for name, term in terms.items():
                totals[name] = totals.get(name, 0.0) + term.item() / options.accumulate
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), options.clip)
        self.optimiser.step()
        figures = {"loss": sum(totals.values()), **totals, "gradient": float(norm)}
        return {name: round(value, 6) for name, value in figures.items()}

    def _chosen(self, step: int, part: int) -> list[Pair]:
        """Return this process' pairs of one backward pass, determined by seed and step alone."""
        options, accelerator = self.options, self.accelerator
        epoch, at = divmod(step - 1, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.pairs), generator=generator).tolist()
        start = at * options.global_batch(accelerator.num_processes)
        start += part * options.batch_size * accelerator.num_processes
        share = range(accelerator.process_index, options.batch_size * accelerator.num_processes,
                      accelerator.num_processes)  # fmt: skip
        return [self.pairs[order[(start + i) % len(order)]] for i in share]

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        """Return the held-out loss and the accuracy on overall, over all processes."""
        accelerator, size = self.accelerator, self.options.batch_size
        mine = self.held_out[accelerator.process_index :: accelerator.num_processes]
        sums = torch.zeros(4, dtype=torch.float64, device=self.base.device)
        module = accelerator.unwrap_model(self.module).eval()
        for start in range(0, len(mine), size):
            part = mine[start : start + size]
            with accelerator.autocast():
                output = module(self.feed.inputs(part))
            sums += held_out_sums(
                output, targets_of(part, self.base.device, self.base.checkpoint.axes), self.options
            )
        loss, known, right, decided = accelerator.reduce(sums).tolist()
        return {
            "loss": loss / max(1.0, known),
            "accuracy": right / decided if decided else float("nan"),
            "pairs": len(self.held_out),
        }

    def _keep_best(self, loss: float) -> None:
        if loss < self.progress.best_loss:
            self.progress.best, self.progress.best_loss = self.progress.step, loss
            if self.accelerator.is_main_process:
                frames = self.base.decoder.num_frames
                export(self.base.model, self.base.checkpoint, self.folder, frames)

    def _is_due(self, step: int) -> bool:
        every = self.options.eval_every or self.steps_per_epoch
        return step % every == 0 or step == self.steps

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            record = {**vars(self.progress), "run": self._identity()}
            save_state(self.folder / STATE_FOLDER, self.parameters, self._inner(), record)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        state = find_state(self.folder / STATE_FOLDER)
        if state is None:
            return
        saved = load_state(state, self.parameters, self._inner())
        before, now = saved.pop("run"), self._identity()
        differ = [name for name in now if before.get(name) != now[name]]
        if differ:
            raise TrainingError(
                f"cannot resume {self.folder}: started with different {', '.join(differ)}",
                hint="Use the same options and pairs, or another output.",
            )
        self.progress = Progress(**saved)

    def _identity(self) -> dict[str, Any]:
        """Return the options and data that must be equal when a run is resumed."""
        identity = {
            **self.options.record(),
            "processes": self.accelerator.num_processes,
            "pairs": digest_of([*self.pairs, *self.held_out]),
            "base": self.base.fingerprint,
        }
        plain: dict[str, Any] = json.loads(json.dumps(identity))
        return plain

    def _optimiser(self) -> torch.optim.AdamW:
        """Return AdamW: separate rates for heads and backbone, no decay of norms and biases."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            is_head = name.startswith(HEAD_PREFIXES)
            rate = self.options.head_rate if is_head else self.options.backbone_rate
            decay = self.options.weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
        return torch.optim.AdamW(
            {"params": members, "lr": rate, "peak": rate, "weight_decay": decay}
            for (rate, decay), members in groups.items()
        )

    def _inner(self) -> torch.optim.Optimizer:
        inner: torch.optim.Optimizer = getattr(self.optimiser, "optimizer", self.optimiser)
        return inner

    def _check(self, loss: torch.Tensor, step: int) -> None:
        if not loss.isfinite():
            raise TrainingError(
                f"step {step}: loss is {loss.item()}",
                hint="Lower --rate and --head-rate, or --resume from the last saved state.",
            )

    def _log(self, record: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            log_line(self.folder / METRICS_FILE, record)
