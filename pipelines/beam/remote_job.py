"""A pipeline on a job server of Beam: what comes of it is told, and it is cancelled where the command ends first."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
from apache_beam.options.pipeline_options import FlinkRunnerOptions, GoogleCloudOptions, PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.portable_runner import TERMINAL_STATES, JobServiceHandle, PortableRunner

from features.io.atomic import writer_name
from features.runtime.log import LOG
from pipelines.beam.flink import FlinkJob, FlinkMaster, flink_master

_ANSWER_SECONDS = 3.0
_ENDING_SECONDS = 6.0  # of a job that is cancelled
_LOOK_SECONDS = 2.0
_WAITING_SECONDS, _STILL_WAITING_SECONDS = 10.0, 60.0
_TOLD = beam_job_api_pb2.JobMessage.JOB_MESSAGE_WARNING


class RemoteJob:
    """One job, from before it is handed over to its end."""

    def __init__(self, options: PipelineOptions, name: str) -> None:
        """Gives the job a name of its own, by which it is found at Flink.

        Args:
            options: of the pipeline; a name for the job that they have is what its name begins with.
            name: of the command.
        """
        named = options.view_as(GoogleCloudOptions)
        named.job_name = f"{named.job_name or f'soundmill-{name}'}-{writer_name()}"
        self._flink = flink_master(options.view_as(FlinkRunnerOptions).flink_master)
        self._stub: Any = None
        self._id: str | None = None
        self._cancelled = False
        self._submitted = threading.Event()

    def runner(self, kind: type[PortableRunner]) -> PortableRunner:
        """Returns a runner of this kind that says to the job what the job server does."""
        job = self

        class Runner(kind):
            def create_job_service_handle(self, job_service: Any, options: PipelineOptions) -> JobServiceHandle:
                return _Handle(job_service, options, job)

        result: PortableRunner = Runner()
        return result

    def begin(self, stub: Any, number: str) -> None:
        """Notes that the job server has the job, under this number."""
        self._stub, self._id = stub, number
        self._submitted.set()
        LOG.debug("the job is %s", number)
        if self._cancelled:
            self._ask_to_cancel()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Tells while the block runs what Flink does with the job; cancels it where the block ends by an exception."""
        stop = threading.Event()
        if self._flink:
            threading.Thread(target=self._watch, args=(self._flink, stop), name="flink", daemon=True).start()
        try:
            yield
        except BaseException:
            stop.set()
            self._cancel()
            raise
        finally:
            stop.set()

    def _cancel(self) -> None:
        """Has the job end, waits for that for some seconds, and says whether it did."""
        self._cancelled = True
        if not self._submitted.wait(_ENDING_SECONDS):
            return  # it was not handed over
        if self._has_ended():
            return
        self._ask_to_cancel()
        deadline = time.monotonic() + _ENDING_SECONDS
        while not (ended := self._has_ended()) and time.monotonic() < deadline:
            time.sleep(0.2)
        if ended and self._flink:
            LOG.info("the job was cancelled and has ended")
        elif ended:
            # Flink's and Spark's say so at once, and go on.
            LOG.info("the job server says that the job is cancelled; workers that are at a unit may still finish it, "
                     "and begin no other")  # fmt: skip
        else:
            LOG.warning("warning: it is not known whether the job has ended; workers that are at a unit may still "
                        "finish it, and begin no other")  # fmt: skip

    def _ask_to_cancel(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            self._stub.Cancel(beam_job_api_pb2.CancelJobRequest(job_id=self._id), timeout=_ANSWER_SECONDS)
        if self._flink and (job := self._at(self._flink)):
            with contextlib.suppress(OSError, ValueError):
                self._flink.cancel(job.number)

    def _has_ended(self) -> bool:
        """Returns whether the job has ended, of Flink's as Flink says; where that cannot be known it has not."""
        if self._flink:
            job = self._at(self._flink)
            return job is not None and job.has_ended
        try:
            request = beam_job_api_pb2.GetJobStateRequest(job_id=self._id)
            return self._stub.GetState(request, timeout=_ANSWER_SECONDS).state in TERMINAL_STATES
        except grpc.RpcError:
            return False

    def _at(self, flink: FlinkMaster) -> FlinkJob | None:
        # The number is the job's name and one of the job server's own.
        with contextlib.suppress(OSError, ValueError, LookupError):
            return flink.jobs.get(str(self._id).rpartition("_")[0])
        return None

    def _watch(self, flink: FlinkMaster, stop: threading.Event) -> None:
        """Tells of restarts, of TaskManagers that are lost, and of tasks that no slot is free for."""
        told: set[int] = set()
        managers = most = 0
        waiting, due = 0.0, _WAITING_SECONDS
        while not stop.wait(_LOOK_SECONDS):
            job = self._at(flink) if self._submitted.is_set() else None
            if job is None or job.has_ended:
                continue
            try:
                overview, failures = flink.overview, flink.failures(job.number)
            except (OSError, ValueError, LookupError):
                continue
            for when in sorted(failures.keys() - told):
                LOG.warning("warning: Flink restarts the job: %s", failures[when])
            told |= failures.keys()
            left = int(overview["taskmanagers"])
            if left < managers:
                # Of all that there were: several that are lost at once are missed one after the other.
                LOG.warning("warning: a worker was lost: Flink has %d of %d TaskManagers left", left, most)
            managers, most = left, max(most, left)
            waiting = waiting + _LOOK_SECONDS if job.waiting else 0.0
            if not waiting:
                due = _WAITING_SECONDS
            elif waiting >= due:
                due += _STILL_WAITING_SECONDS
                LOG.info("waiting for a worker: the job is %s, and %s of Flink's %s slots are free",
                         job.state, overview["slots-available"], overview["slots-total"])  # fmt: skip


class _Handle(JobServiceHandle):
    """Hands a job over, and says so to the `RemoteJob`."""

    def __init__(self, job_service: Any, options: PipelineOptions, job: RemoteJob) -> None:
        super().__init__(job_service, options)
        self._job = job

    def run(self, preparation_id: str) -> tuple[str, Any, Any]:
        number, messages, states = super().run(preparation_id)
        self._job.begin(self.job_service, number)
        return number, _logged(messages), states


def _logged(messages: Any) -> Iterator[Any]:
    for message in messages:
        if message.HasField("message_response"):
            said = message.message_response
            LOG.debug("the job server: %s", said.message_text)
        yield message
