"""Measures featurize from an object store into one, by the latency of its answers: python benchmarks/object_store.py.

The server is the tests' own (`make s3-server`), behind their proxy, which waits before it passes a request on; both
share the cores with what is measured. What counts is the wall time with a latency against that without.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from clips import benchmark_parser, find_originals, made
from measure import PYTHON, machine, run, spread

from tests.object_store.faults import Faults, proxy
from tests.object_store.server import KEY, PROGRAM, SECRET, serving

PACKAGES = ("obstore", "numpy", "scipy")
LATENCIES = (0.0, 0.05)
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process: int) -> float:
    """Returns the CPU time that a process has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def featurize(source: str, output: str, environment: Mapping[str, str]) -> tuple[float, float]:
    """Returns wall and CPU seconds of the command with one worker."""
    os.environ.update(environment)
    wall, cpu, _, _ = run(
        [PYTHON, "-m", "pipelines.featurize", "--input", source, "--output", output, "--workers", "1"]
    )
    return wall, cpu


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=6_000, turns=3)
    parser.add_argument("--server", default=".s3-server", metavar="DIR", help=f"folder that holds {PROGRAM}")
    options = parser.parse_args()
    program = shutil.which(PROGRAM, path=options.server)
    if program is None:
        raise SystemExit(f"no {PROGRAM} in {options.server}: make s3-server builds it")
    where, work = machine(*PACKAGES), options.output / "store"
    clips = made(options.output / f"clips-{options.clips}", find_originals(options.data), options.clips)
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(clips, work / "root" / "bucket" / "clips")
    names = ["this machine", *(f"{1000 * latency:.0f} ms" for latency in LATENCIES)]
    walls, cpus, server_cpus, requests = ({name: [] for name in names} for _ in range(4))
    with serving(program, work / "root", work / "log") as server:
        for turn in range(options.turns):
            wall, cpu = featurize(str(clips), str(work / f"set-{turn}"), {})
            walls[names[0]].append(wall)
            cpus[names[0]].append(cpu)
            for name, latency in zip(names[1:], LATENCIES, strict=True):
                faults, before = Faults(latency_seconds=latency), cpu_seconds(server.process)
                with proxy(server.endpoint, faults) as endpoint:
                    environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1",
                                   "AWS_ENDPOINT_URL": endpoint}  # fmt: skip
                    output = f"s3://bucket/set-{turn}-{1000 * latency:.0f}"
                    wall, cpu = featurize("s3://bucket/clips", output, environment)
                walls[name].append(wall)
                cpus[name].append(cpu)
                server_cpus[name].append(cpu_seconds(server.process) - before)
                requests[name] = [faults.requests.total(), faults.most_at_once]
    shutil.rmtree(work)
    titles = "wall s | CPU s | the server's CPU s | requests, most at once"
    print(f"{where}.\n\n| {options.clips:,} clips, one worker | {titles} |\n|---|---|---|---|---|")
    for name in names:
        asked = ", ".join(f"{count:,}" for count in requests[name])
        print(f"| {name} | {spread(walls[name])} | {spread(cpus[name])} | "
              f"{spread(server_cpus[name]) if asked else ''} | {asked} |")  # fmt: skip
    ratios = [slow / fast for fast, slow in zip(walls[names[1]], walls[names[2]], strict=True)]
    local = [store / here for here, store in zip(walls[names[0]], walls[names[1]], strict=True)]
    print(f"\nWall time at {names[2]} against {names[1]}: {spread(ratios)}; at {names[1]} against this machine: "
          f"{spread(local)}.")  # fmt: skip


if __name__ == "__main__":
    main()
