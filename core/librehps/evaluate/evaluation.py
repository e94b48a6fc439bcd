"""Evaluate scored pairs: accuracy, calibration and correlation, as tables of plain values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from librehps.decide.calibrators import PlattCalibrators
from librehps.decide.standings import Interval
from librehps.errors import PreferenceError
from librehps.evaluate import metrics
from librehps.evaluate.metrics import Floats
from librehps.evaluate.scored_pairs import ScoredPairs
from librehps.types import DEFAULT_PROBABILITY_CUTOFF

Record = dict[str, Any]
# Metrics that the aggregate averages over benchmarks, weighted by n.
AGGREGATED = (
    *("pair_acc", "pair_acc_with_ties", "ece", "ece_calibrated", "brier", "brier_calibrated"),
    *("nll", "nll_calibrated", "confident_share", "confident_acc"),
)


@dataclass(frozen=True)
class Evaluation:
    """The metrics of `benchmarks` (on overall), their `aggregate`, of `axes`, and `by` column.

    A metric that cannot be computed is None; `x_ci` is the 95 % interval of x. `reliability` holds
    (mean p, mean outcome, count) of each bin, calibrated if there is a calibrator.
    """

    benchmarks: list[Record]
    aggregate: Record
    axes: list[Record]
    by: dict[str, list[Record]]
    reliability: list[tuple[float, float, int]]

    def records(self) -> list[Record]:
        """Return the rows of all tables; `table` is benchmark, aggregate, axis or `by NAME`.

        In the tables by a column, `value` is the value of that column.
        """
        rows = [{"table": "benchmark", **row} for row in self.benchmarks]
        rows.append({"table": "aggregate", **self.aggregate})
        rows += [{"table": "axis", **row} for row in self.axes]
        for name, found in self.by.items():
            for row in found:
                rest = {key: value for key, value in row.items() if key != name}
                rows.append({"table": f"by {name}", "value": str(row[name]), **rest})
        return rows


def evaluate(
    pairs: ScoredPairs, calibrators: PlattCalibrators | None = None, by: Sequence[str] = ()
) -> Evaluation:
    """Return every metric on the pairs; `by` names columns to report accuracy by.

    Raises PreferenceError for a column that is not found.
    """
    check_columns(pairs.columns, by)
    names = sorted(set(pairs.benchmark))
    parts = [pairs.where(pairs.benchmark == name) for name in names]
    benchmarks = [_benchmark(*named, calibrators) for named in zip(names, parts, strict=True)]
    return Evaluation(
        benchmarks=benchmarks,
        aggregate=_aggregate(benchmarks),
        axes=_axes(pairs),
        by={name: _by(pairs, name) for name in by},
        reliability=_reliability(pairs, calibrators),
    )


def check_columns(columns: Iterable[str], by: Sequence[str]) -> None:
    """Raise PreferenceError for a name in `by` that is not among the columns of the pairs."""
    known = dict.fromkeys(columns)
    if unknown := [name for name in by if name not in known]:
        raise PreferenceError(
            f"column not found in the pairs: {', '.join(unknown)}",
            hint=f"Columns to choose from: {', '.join(known) or 'none'}.",
        )


def probabilities(pairs: ScoredPairs, calibrators: PlattCalibrators | None) -> Floats:
    """Return P(a wins) on overall, symmetric in a and b; from sigmas without a calibrator."""
    gap = pairs.gap()
    if calibrators is None:
        return _sigmoid(gap / pairs.spread())
    fits = [calibrators.per_benchmark.get(b, calibrators.default) for b in pairs.benchmark]
    a, b = np.array([fit.a for fit in fits]), np.array([fit.b for fit in fits])
    symmetric: Floats = (_sigmoid(a * gap + b) + _sigmoid(a * gap - b)) / 2
    return symmetric


def _benchmark(name: str, pairs: ScoredPairs, calibrators: PlattCalibrators | None) -> Record:
    known = pairs.where(~np.isnan(pairs.preferred()))
    outcome = known.preferred()
    decided = known.where(outcome != 0.5)
    right = metrics.correctness(decided.gap(), decided.preferred())
    record: Record = {
        "benchmark": name,
        "n": len(decided),
        "ties": len(known) - len(decided),
        **_figure("pair_acc", metrics.mean_of(right, decided.prompt)),
    }
    for suffix, fit in (("", None), ("_calibrated", calibrators)):
        wanted = not suffix or fit is not None
        record |= _probability_metrics(suffix, decided if wanted else None, fit)
    best = probabilities(known, calibrators)
    record |= _verdict_metrics(best, known, decided, calibrators)
    record["sigma_auroc"] = _plain(metrics.sigma_auroc(decided.spread(), right))
    return record | _figure("spearman", _rating_correlation(pairs))


def _probability_metrics(
    suffix: str, decided: ScoredPairs | None, calibrators: PlattCalibrators | None
) -> Record:
    """Return a record of ECE, Brier and NLL; None without pairs or sigmas."""
    p = probabilities(decided, calibrators) if decided is not None else np.array([np.nan])
    if decided is None or not len(p) or np.isnan(p).any():
        figures = (("brier", _NOTHING), ("nll", _NOTHING))
        error = float("nan")
    else:
        outcome, prompt = decided.preferred(), decided.prompt
        error = metrics.ece(p, outcome)
        figures = (
            ("brier", metrics.mean_of(metrics.brier(p, outcome), prompt)),
            ("nll", metrics.mean_of(metrics.nll(p, outcome), prompt)),
        )
    record = {f"ece{suffix}": _plain(error)}
    for name, estimate in figures:
        record |= _figure(name + suffix, estimate)
    return record


def _verdict_metrics(
    p: Floats, known: ScoredPairs, decided: ScoredPairs, calibrators: PlattCalibrators | None
) -> Record:
    """Return a record of accuracy with ties, and of accuracy on confident verdicts only."""
    if np.isnan(p).any() or not len(p):
        names = ("pair_acc_with_ties", "confident_share", "confident_acc")
        return {key: value for name in names for key, value in _figure(name, _NOTHING).items()}
    ties = metrics.with_ties(p, known.preferred())
    sure_p = probabilities(decided, calibrators)
    sure = np.maximum(sure_p, 1 - sure_p) > DEFAULT_PROBABILITY_CUTOFF
    right = metrics.correctness(decided.gap(), decided.preferred())
    return {
        **_figure("pair_acc_with_ties", metrics.mean_of(ties, known.prompt)),
        **_figure("confident_share", metrics.mean_of(sure.astype(float), decided.prompt)),
        **_figure("confident_acc", metrics.mean_of(right[sure], decided.prompt[sure])),
    }


def _rating_correlation(pairs: ScoredPairs) -> Interval:
    """Return Spearman's correlation of mu of overall with absolute ratings, each media once."""
    rated = ~np.isnan(pairs.rating)
    media, mu, rating = pairs.media[rated], pairs.mu[:, :, 0][rated], pairs.rating[rated]
    _, first = np.unique(media.astype(str), return_index=True)
    return metrics.spearman(mu[first], rating[first])


def _aggregate(benchmarks: list[Record]) -> Record:
    """Return means over the benchmarks that have a metric, weighted by n."""
    total: Record = {"benchmark": "aggregate", "n": sum(r["n"] for r in benchmarks)}
    total["ties"] = sum(record["ties"] for record in benchmarks)
    for name in AGGREGATED:
        found = [(r[name], r["n"]) for r in benchmarks if r[name] is not None and r["n"]]
        weight = sum(n for _, n in found)
        total[name] = sum(value * n for value, n in found) / weight if found else None
    return total


def _axes(pairs: ScoredPairs) -> list[Record]:
    """Return the accuracy on each axis that has preferences."""
    return [record for axis in pairs.axes if (record := _axis(pairs, axis)) is not None]


def _axis(pairs: ScoredPairs, axis: str) -> Record | None:
    outcome, gap = pairs.preferred(axis), pairs.gap(axis)
    known = ~np.isnan(outcome) & ~np.isnan(gap)
    if not known.any():
        return None
    decided = known & (outcome != 0.5)
    right = metrics.correctness(gap[decided], outcome[decided])
    return {
        "axis": axis,
        "n": int(decided.sum()),
        "ties": int((known & ~decided).sum()),
        **_figure("pair_acc", metrics.mean_of(right, pairs.prompt[decided])),
    }


def _by(pairs: ScoredPairs, column: str) -> list[Record]:
    values = pairs.columns[column].astype(str)
    return [
        {column: value, **record}
        for value in sorted(set(values))
        for record in _axes(pairs.where(values == value))
    ]


def _reliability(
    pairs: ScoredPairs, calibrators: PlattCalibrators | None
) -> list[tuple[float, float, int]]:
    outcome = pairs.preferred()
    decided = pairs.where(~np.isnan(outcome) & (outcome != 0.5))
    p = probabilities(decided, calibrators)
    if np.isnan(p).any() or not len(p):
        return []
    return metrics.bins(metrics.both_orders(p), metrics.both_orders(decided.preferred()))


_NOTHING = Interval(float("nan"))


def _figure(name: str, estimate: Interval) -> Record:
    ends = [_plain(estimate.low), _plain(estimate.high)]
    return {name: _plain(estimate.value), f"{name}_ci": None if None in ends else ends}


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _sigmoid(x: Floats) -> Floats:
    halves: Floats = 0.5 * (1 + np.tanh(0.5 * x))
    return halves
