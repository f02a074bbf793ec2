"""Recordings whose rate is below the model's: what is above half their rate is empty in all of their windows."""

from collections import defaultdict

import numpy as np
import pyarrow as pa

from features.frontend.spec import FeatureSpec
from features.runtime.quantities import counted
from features.sources.paths import csv_path
from model.scoring.plan import Plan

_MOST_FOLDERS = 10


def low_rates(plan: Plan, spec: FeatureSpec) -> list[str]:
    """Returns a line for each folder with such recordings, in the order of the folders.

    Args:
        plan: with the rate of each file.
        spec: the front end.
    """
    numbers = np.flatnonzero((plan.rates_hz > 0) & (plan.rates_hz < spec.sample_rate_hz))
    rates: dict[str, list[int]] = defaultdict(list)
    paths = plan.paths.take(pa.array(numbers)).to_pylist()
    for path, rate_hz in zip(paths, plan.rates_hz[numbers].tolist(), strict=True):
        rates[path.rpartition("/")[0]].append(rate_hz)
    lines = [_line(folder, of_folder, spec) for folder, of_folder in list(rates.items())[:_MOST_FOLDERS]]
    if more := list(rates.values())[_MOST_FOLDERS:]:
        recordings = counted(sum(map(len, more)), "recording")
        lines.append(f"{recordings} in {counted(len(more), 'more folder')} below the model's rate")
    return lines


def _line(folder: str, rates_hz: list[int], spec: FeatureSpec) -> str:
    least, most = min(rates_hz), max(rates_hz)
    rates = f"{least:,} Hz" if least == most else f"{least:,} to {most:,} Hz"
    where = f" in {csv_path(folder)}" if folder else ""
    lost = "its bands {} are" if spec.network_name is None else "what its network hears {} is"
    return (
        f"{counted(len(rates_hz), 'recording')}{where} of {rates}, below the {spec.sample_rate_hz:,} Hz of the model: "
        f"{lost.format(f'above {most // 2:,} Hz')} empty there"
    )
