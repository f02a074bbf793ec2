"""Where the shards of a run are built: here, in one process or several, or on a runner of Beam."""

import functools
import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

from features.frontend.spec import FeatureSpec
from features.update.build_job import BuildJob
from pipelines.local.units import LocalRun

if TYPE_CHECKING:
    from features.update.build_in_turn import ShardsInTurn

# From so many clips on, by front end, several processes are sooner done than one, their start included.
_CLIPS_THAT_PAY = {"stft": 4_000, "log_mel": 2_500, "mfcc": 1_000, "embedding": 100}


def pays(spec: FeatureSpec, clips: int) -> bool:
    """Returns whether several processes compute so many clips sooner than one."""
    if spec.network_name is not None and spec.clip_samples is not None:
        clips *= spec.count_frames(spec.clip_samples)  # each window takes a network the same time
    return clips >= _CLIPS_THAT_PAY[spec.front_end]


def expect(local: LocalRun | None, spec: FeatureSpec, clips: int) -> None:
    """Has what computes so many clips loaded for workers, where there will be some on this machine.

    So it is there when the driver has planned.
    """
    if local is not None:
        local.expect(pays(spec, clips), functools.partial(_load, spec))


def _load(spec: FeatureSpec) -> None:
    import scipy.fft  # noqa: F401

    import features.update.build_in_turn  # noqa: F401
    from features.store.versions import library_versions

    library_versions(spec)  # which every worker compares with the driver's: ffmpeg is asked once


def _shards_in_turn(job: BuildJob) -> "ShardsInTurn":
    from features.update.build_in_turn import ShardsInTurn  # which a driver whose workers are others does not load

    return ShardsInTurn(job)


def build(
    job: BuildJob, numbers: Sequence[int], several_pay: bool, *, local: LocalRun | None, beam_options: Sequence[str]
) -> None:
    """Builds shards.

    Args:
        job: what they take.
        numbers: which units of its work list are to be built.
        several_pay: whether several processes are sooner done than one.
        local: what builds them on this machine, None where a runner of Beam does.
        beam_options: passed on to Beam.

    Raises:
        UsageError: Beam does not know an option or the runner.
        RunError: a unit failed, or a worker process died.
    """
    if local is not None:
        local.do(functools.partial(_shards_in_turn, job), numbers, several_pay, job.lease,
                 functools.partial(_load, job.spec))  # fmt: skip
        return
    # To garbage-collect all that Beam makes and keeps as it is loaded would take a quarter more.
    gc.disable()
    from pipelines.beam.build_shards import BuildShards
    from pipelines.beam.runners import run_units

    gc.enable()
    run_units(BuildShards(job), numbers, beam_options, job.lease)
