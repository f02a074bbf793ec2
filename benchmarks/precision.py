"""Measures what int8 and embeddings do to a network's time, by each executor: python benchmarks/precision.py RUN...

The networks of runs that `model.quantize` has quantized, in one thread and in turns, on random features: what a batch
of 256 clips takes of a core.
"""

import argparse
import statistics
import time

import numpy as np
from measure import machine

from model.inference.artifact import read_description
from model.inference.embedding_output import with_embeddings
from model.inference.executor import EXECUTORS, Executor
from model.inference.litert import BATCH_CLIPS
from model.inference.precision import PRECISIONS, read_network

TURNS = 11


def measure(run: str) -> list[str]:
    """Returns the lines of a run's table."""
    description = read_description(run)
    contents = {precision: read_network(run, description, precision) for precision in PRECISIONS}
    contents["float32 with embeddings"] = with_embeddings(contents[PRECISIONS[0]])
    shape = (BATCH_CLIPS, *description.spec.shape)
    batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    lines = []
    for name in EXECUTORS:
        executors = {kind: Executor(content, description, name) for kind, content in contents.items()}
        times: dict[str, list[float]] = {kind: [] for kind in executors}
        for _ in range(TURNS):
            for kind, executor in executors.items():
                started = time.process_time()
                executor.outputs(batch)
                times[kind].append((time.process_time() - started) / BATCH_CLIPS * 1e6)
        for kind, taken in times.items():
            factors = [first / one for first, one in zip(times[PRECISIONS[0]], taken, strict=True)]
            middle, least, most = statistics.median(factors), *statistics.quantiles(factors, n=4)[::2]
            lines.append(f"| {description.network_name} | {name} | {kind} | {statistics.median(taken):,.0f} | "
                         f"{middle:.2f} ({least:.2f} to {most:.2f}) |")  # fmt: skip
    return lines


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder that model.quantize has quantized")
    lines = [line for run in parser.parse_args().runs for line in measure(run)]
    print(machine("ai-edge-litert", "openvino", "ai-edge-quantizer"))
    print("\n| network | executor | | CPU µs a clip | times float32 (median, quartiles) |")
    print("| --- | --- | --- | --- | --- |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
