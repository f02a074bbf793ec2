"""What a network gives for the windows of clips, computed batch after batch of one size.

The last digits of a network's values depend on the shape of what it is given. Every batch has the same number of
windows, of whatever clips, and zeros where there are fewer: so a clip's values do not depend on what came with it.
"""

import os
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.io.filesystem import Location
from features.networks.network import NetworkRunner, open_network
from features.networks.network_file import DamagedNetworkError, read_kept_network
from features.networks.pool import RunnerPool

EMBEDDING_BATCH_WINDOWS = 4
"""Windows that a network is given at a time, always; another number changes last digits: then the spec must say it."""

_Windows = NDArray[np.float32]
_CHECK_SEED = 2**16
_CHECK_AMPLITUDE = 0.1


class Embedder:
    """Computes the features of clips by the network of a spec, in memory that it keeps."""

    def __init__(self, spec: FeatureSpec, networks: Location | None) -> None:
        """Reads the network, but where this process has it already.

        Args:
            spec: the front end.
            networks: folder with the file `spec.network_name`, None where the process has the network.

        Raises:
            UsageError: the file is missing or damaged.
        """
        self._spec = spec
        self._runners = _runners(spec, networks)
        self._batch = np.zeros((EMBEDDING_BATCH_WINDOWS, spec.window_samples), dtype=np.float32)

    def compute(self, waveforms: Sequence[NDArray[np.float32]] | _Windows, out: NDArray[np.floating]) -> None:
        """Writes the features of clips, each (samples,), into `out`: (clips, *spec.shape)."""
        spec = self._spec
        counts = [spec.count_frames(len(waveform)) for waveform in waveforms]
        values = np.empty((sum(counts), spec.num_bands), dtype=np.float32)
        with self._runners.taken() as runner:
            done = waiting = 0
            for waveform, count in zip(waveforms, counts, strict=True):
                for window in range(count):
                    self._fill(waiting, waveform[window * spec.hop_samples :][: spec.window_samples])
                    waiting += 1
                    if waiting == EMBEDDING_BATCH_WINDOWS:
                        values[done : done + waiting] = runner.run(self._batch)
                        done, waiting = done + waiting, 0
            if waiting:
                self._batch[waiting:] = 0
                values[done:] = runner.run(self._batch)[:waiting]
        end = 0
        for row, count in enumerate(counts):
            begin, end = end, end + count
            out[row] = _pooled(values[begin:end], spec)

    def _fill(self, row: int, samples: NDArray[np.float32]) -> None:
        """Puts the samples of a window into a row of the batch, and zeros behind them."""
        self._batch[row, : len(samples)] = samples
        self._batch[row, len(samples) :] = 0
        if self._spec.input_scale is not None:
            self._batch[row] *= np.float32(self._spec.input_scale)


def check_network(content: bytes, spec: FeatureSpec) -> None:
    """Opens and runs the network of a spec, before anything is computed by it.

    Args:
        content: of the network's file.
        spec: the front end.

    Raises:
        UsageError: it is no network that can be run, hears or gives other shapes than the spec says, gives no finite
            values for silence nor for noise, or gives a window other values beside other windows.
    """
    runner = _open(content, spec)
    try:
        shape = EMBEDDING_BATCH_WINDOWS, spec.window_samples
        noise = np.random.default_rng(_CHECK_SEED).uniform(-_CHECK_AMPLITUDE, _CHECK_AMPLITUDE, shape)
        windows = (noise * (spec.input_scale or 1.0)).astype(np.float32)
        silence = runner.run(np.zeros(shape, np.float32)).copy()
        values = runner.run(windows).copy()
        if not np.isfinite(silence).any() and not np.isfinite(values).any():
            raise UsageError("the network gives no finite number, for silence and for noise: it cannot be a front end")
        # A network that looks at its batch as a whole, for the loudest of it say, would mix clips.
        alone = np.zeros_like(windows)
        alone[1] = windows[0]
        if not np.array_equal(runner.run(alone)[1], values[0], equal_nan=True):
            raise UsageError(
                "the network gives a window other values beside other windows, so that a clip's features would depend "
                "on its neighbours; take one whose input is one window, of shape (samples,)"
            )
    finally:
        runner.close()


def _pooled(values: NDArray[np.float32], spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns the features of a clip from its windows: (windows, values) to spec.shape."""
    if spec.pool == "mean":
        return np.asarray(values.mean(axis=0, dtype=np.float64), dtype=np.float32)
    return values if spec.pool is None else np.asarray(values.max(axis=0))


def _open(content: bytes, spec: FeatureSpec) -> NetworkRunner:
    """Opens the network of a spec; raises `UsageError` where it hears or gives other shapes than the spec says."""
    runner = open_network(
        content, spec.network_format or "", spec.network_output, EMBEDDING_BATCH_WINDOWS, spec.window_samples
    )
    for name, taken, given in (
        ("window_samples", "takes windows of {:,} samples", runner.input_samples),
        ("embedding_size", "gives {:,} values a window", runner.size),
    ):
        if getattr(spec, name) != given:
            runner.close()
            raise UsageError(f"the network {taken.format(given)}, but the spec says {name}={getattr(spec, name)}, at "
                             f"{spec.sample_rate_hz:,} Hz; give {name} = {given}, and the sample rate that the network "
                             "was trained with")  # fmt: skip
    return runner


_pools: dict[tuple[object, ...], RunnerPool[NetworkRunner]] = {}
_pools_lock = threading.Lock()


def _start_anew() -> None:
    global _pools_lock
    _pools_lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_start_anew)


def _runners(spec: FeatureSpec, networks: Location | None) -> RunnerPool[NetworkRunner]:
    """Returns the runners of this process of a spec's network: it is large, and not read anew for each shard."""
    key = spec.network_sha256, spec.network_output, spec.window_samples, spec.embedding_size
    with _pools_lock:
        if key not in _pools:
            content = read_front_end_network(spec, networks)
            _pools[key] = RunnerPool(lambda: _open(content, spec))
        return _pools[key]


def read_front_end_network(spec: FeatureSpec, networks: Location | None) -> bytes:
    """Returns the content of the network that a front end runs.

    Args:
        spec: the front end.
        networks: folder of a feature set, a run or a job with the file `spec.network_name`.

    Raises:
        UsageError: the file is missing or damaged.
    """
    name = spec.network_name or ""
    if networks is None:
        raise UsageError(f"the front end is the network {name}, and no folder was given that has it; give the folder")
    try:
        return read_kept_network(networks / name)
    except DamagedNetworkError as error:
        raise UsageError(f"{networks / name}: {error}; put a whole copy of the network there") from error
