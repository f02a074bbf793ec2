"""Runs commands against each other: whole processes in turns, their time, their cores' time, their memory."""

import contextlib
import ctypes
import datetime
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from features.errors import UsageError

# Has the system make what loses its parent a child of this process (Linux).
_SET_CHILD_SUBREAPER = 36
_ORPHANS_SECONDS = 10.0
# How often the memory of a tree of processes is added up while it runs.
_SAMPLE_SECONDS = 0.25
_HERE = Path(__file__).parent
PYTHON = sys.executable
# What there is to do at least for who looks for changed files.
WALK = """
import os, sys, time
started, folders, files = time.perf_counter(), [sys.argv[1]], 0
while folders:
    with os.scandir(folders.pop()) as entries:
        for entry in entries:
            if entry.is_dir():
                folders.append(entry.path)
            else:
                files += entry.stat().st_size > 0
print(files, time.perf_counter() - started)
"""
# Where `make peers` installs other projects' programs; SOUNDMILL_PEERS names another folder.
_PEERS = Path(os.environ.get("SOUNDMILL_PEERS") or _HERE.parent / ".peers")


@dataclass
class Contender:
    """A command that is timed.

    Attributes:
        name: in the table.
        command: what is run, as a whole process with its imports.
        clips: how many clips it goes through.
        writes: what it leaves, removed after each turn.
        tree: checkout whose code it runs, None for this one.
        reported: whether its time is the one that it prints, not that of the whole process.
        seconds: of each turn.
        cpu_seconds: of all its processes, per turn.
        peak_bytes: most memory of its tree of processes at an instant, PSS, over all turns.
    """

    name: str
    command: list[str]
    clips: int
    writes: Path | None = None
    reported: bool = False
    tree: Path | None = None
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def rates(self) -> list[float]:
        """Clips per second of each turn."""
        return [self.clips / seconds for seconds in self.seconds]


def peer(name: str, source: Path, output: Path, environment: str | None = None) -> list[str]:
    """Returns the command of a peer that runs with soundmill's Python, or in an environment of its own."""
    python = PYTHON if environment is None else peer_python(environment)
    return [python, str(_HERE / "peers.py"), name, str(source), str(output)]


def peer_python(environment: str) -> str:
    """Returns the Python of an environment of other projects' programs.

    Raises:
        UsageError: it is not set up.
    """
    if not (_PEERS / environment / ".installed").exists():
        raise UsageError(
            f"{_PEERS / environment} is not set up: `make peers benchmark-peers` does, to measure {environment} too"
        )
    return str(_PEERS / environment / "bin" / "python")


def alternate(contenders: Sequence[Contender], turns: int) -> None:
    """Runs all of them one after the other, so many times, so that what else the machine does meets all alike."""
    for turn in range(turns):
        for contender in contenders:
            seconds, cpu_seconds, peak, printed = run(contender.command, contender.tree)
            if contender.reported:
                seconds, cpu_seconds = map(float, printed.split()[-2:])
            contender.seconds.append(seconds)
            contender.cpu_seconds.append(cpu_seconds)
            contender.peak_bytes = max(contender.peak_bytes, peak)
            if contender.writes is not None and contender.writes.is_dir():
                shutil.rmtree(contender.writes)
            elif contender.writes is not None:
                contender.writes.unlink(missing_ok=True)
            print(f"turn {turn + 1}: {contender.name}: {seconds:.1f} s, {contender.clips / seconds:,.0f} clips/s",
                  file=sys.stderr, flush=True)  # fmt: skip


def run(command: Sequence[str], tree: Path | None = None) -> tuple[float, float, int, str]:
    """Runs a command; returns its seconds, CPU seconds of its processes, their peak in bytes, and what it printed.

    Args:
        command: what is run.
        tree: checkout whose code it runs, wherever this one is installed; None for whatever Python finds here.
    """
    environment = None if tree is None else {**os.environ, "PYTHONPATH": str(tree)}
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    others, before = _children(), _children_cpu_seconds()
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tree, env=environment
    )
    with _peak_of(process.pid) as peak:
        printed, said = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}:\n{said}")
    _wait_for_orphans(others)
    return seconds, _children_cpu_seconds() - before, peak(), printed


def _children() -> set[int]:
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            found |= {int(child) for child in (thread / "children").read_text(encoding="ascii").split()}
    return found


def _wait_for_orphans(others: set[int]) -> None:
    """Waits for processes that ended, or will, after who had started them, such as decoders: else none counts them."""
    until = time.monotonic() + _ORPHANS_SECONDS  # what a command has left to go on is not waited for
    while (orphans := _children() - others) and time.monotonic() < until:
        for orphan in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)
        time.sleep(0.01)


@contextlib.contextmanager
def _peak_of(root: int) -> Iterator[Callable[[], int]]:
    """Samples the memory of a process and all below it while the block runs."""
    stop, peak = threading.Event(), 0

    def sample() -> None:
        nonlocal peak
        while not stop.wait(_SAMPLE_SECONDS):
            peak = max(peak, tree_bytes(root))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield lambda: peak
    finally:
        stop.set()
        thread.join()


def tree_bytes(root: int) -> int:
    """Returns the memory of a process and all below it: what processes share is counted once (PSS)."""
    total = 0
    for process in _tree(root):
        with contextlib.suppress(OSError):  # it has ended
            for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += 1024 * int(line.split()[1])
    return total


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int(Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
                             .rpartition(")")[2].split()[1])  # fmt: skip
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += children.get(process, [])
    return found


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def table(contenders: Sequence[Contender], against: Sequence[Contender], cpu_against: Sequence[Contender] = ()) -> str:
    """Returns the contenders as Markdown, with ratios of rates and of CPU time to those of some, turn by turn."""
    header = ["", "clips", "clips/s (median, least to most)"]
    header += [f"times {other.name}" for other in against] + ["CPU µs a clip"]
    header += [f"CPU times {other.name}" for other in cpu_against] + ["peak memory"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for one in contenders:
        cells = [one.name, f"{one.clips:,}", spread(one.rates, 0 if min(one.rates) >= 10 else 2)]
        cells += [ratio(one, other) if one is not other else "1" for other in against]
        cells.append(f"{statistics.median(one.cpu_seconds) / one.clips * 1e6:,.0f}")
        cells += [cpu_ratio(one, other) if one is not other else "1" for other in cpu_against]
        cells.append(f"{one.peak_bytes / 2**20:,.0f} MiB")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio(one: Contender, other: Contender) -> str:
    """Returns how many times as fast one is as another, of runs that followed one another."""
    return spread([a / b for a, b in zip(one.rates, other.rates, strict=True)])


def cpu_ratio(one: Contender, other: Contender) -> str:
    """Returns how many times as much CPU time a clip one takes as another, of runs that followed one another."""
    pairs = zip(one.cpu_seconds, other.cpu_seconds, strict=True)
    return spread([(a / one.clips) / (b / other.clips) for a, b in pairs])


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Returns the median with the least and the most."""
    if len(values) < 2:
        return "".join(f"{value:,.{digits}f}" for value in values)
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def machine(*packages: str, peers: Sequence[str] = ()) -> str:
    """Returns where and when this was measured, with which versions of packages, and of peers in their environments."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")), "?")
    found = {name: version(name) for name in packages}
    for name in peers:
        question = f"from importlib.metadata import version; print(version({name!r}))"
        asked = subprocess.run([peer_python(name), "-c", question], capture_output=True, text=True, check=True)
        found[name] = asked.stdout.strip()
    versions = ", ".join(f"{name} {number}" for name, number in found.items())
    load = os.getloadavg()[0]
    return (f"{datetime.date.today()}, {os.cpu_count()} cores ({model}), load {load:.1f} before the start, "
            f"Linux {platform.release()}, Python {platform.python_version()}, {versions}")  # fmt: skip
