"""What is said of pipelines that failed; the texts are those of Flink 1.19 behind Beam's job server, shortened."""

import pytest

from features.errors import RunError, UsageError
from pipelines.beam.failures import failure_message, failure_root

FULL = "no space is left on the device for /x; make room: what was finished is kept"
OF_A_WORKER = f"""Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
  File "build_shards.py", line 9, in process
    raise RunError(text)
features.errors.{{kind}}: {FULL}

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "sdk_worker.py", line 310, in _execute
    response = task()
features.errors.{{kind}}: {FULL} [while running 'BuildShards/ParDo(_BuildShard)']
"""
IN_JAVA = f"""\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.onNext(FnApiControlClient.java:180)
Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 1: {OF_A_WORKER}
\tat org.apache.flink.runtime.taskmanager.Task.run(Task.java:566)
"""
JOB = "Pipeline soundmill-1-ab_e3418224 failed in state FAILED: "
NO_WORKER = """java.lang.Exception: The user defined 'open()' method caused an exception: java.io.IOException: Cannot
\tat org.apache.flink.runtime.operators.BatchTask.run(BatchTask.java:510)
Caused by: org.apache.beam.vendor.UncheckedExecutionException: java.io.IOException: Cannot run program "/x": error=2
\tat org.apache.beam.vendor.LocalCache.getUnchecked(LocalCache.java:5022)
Caused by: java.io.IOException: Cannot run program "/x": error=2, No such file or directory
\t... 15 more
Caused by: java.io.IOException: error=2, No such file or directory
\tat java.base/java.lang.ProcessImpl.forkAndExec(Native Method)
"""


@pytest.mark.parametrize("kind", ["RunError", "UsageError"])
@pytest.mark.parametrize("text", [OF_A_WORKER, f"{JOB}java.lang.RuntimeException: {OF_A_WORKER}", JOB + IN_JAVA])
def test_an_error_of_our_own_is_said_in_its_words(text, kind):
    assert failure_message(RuntimeError(text.format(kind=kind))) == FULL
    assert failure_root(text.format(kind=kind)) == FULL


@pytest.mark.parametrize("kind", [RunError, UsageError])
def test_an_error_of_our_own_is_found_behind_others(kind):
    error = RuntimeError("of the runner")
    error.__cause__ = kind(FULL)
    assert failure_message(error) == FULL


RPC = """<_MultiThreadedRendezvous of RPC that terminated with:
\tstatus = StatusCode.UNAVAILABLE
\tdetails = "Socket closed"
\tdebug_error_string = "UNAVAILABLE:Error received from peer {grpc_status:14, grpc_message:"Socket closed"}"
>"""


@pytest.mark.parametrize(
    ("text", "root"),
    [
        (NO_WORKER, 'Cannot run program "/x": error=2, No such file or directory'),
        (f"{JOB}java.io.IOException: error=2, No such file or directory", "error=2, No such file or directory"),
        (f"{JOB}java.lang.Exception: no slot\n\tat a.b.C(D.java:1)", "no slot"),
        ("Pipeline a_b failed in state CANCELLED: unknown error", "its job was cancelled on the runner"),
        (OF_A_WORKER.replace("features.errors.{kind}", "ValueError"), f"ValueError: {FULL}"),
        (IN_JAVA.replace("features.errors.{kind}", "a.b.OddError"), f"a.b.OddError: {FULL}"),
        (RPC, "Beam's job server does not answer: Socket closed"),
        ("\n something is odd\nand more", "something is odd"),
        ("", ""),
    ],
)
def test_other_errors_by_the_line_that_says_what_went_wrong(text, root):
    assert failure_root(text) == root
    said = failure_message(RuntimeError(text))
    assert (
        said
        == f"the pipeline failed: {root or 'RuntimeError(' + repr(text) + ')'}; finished units are kept, run it again"
    )
    assert len(said.splitlines()) == 1
