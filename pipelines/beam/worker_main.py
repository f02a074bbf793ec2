"""The worker processes of a local run: python -m pipelines.beam.worker_main DRIVER WORKERS COMMAND.

`Workers` starts it. It loads once what every worker needs, while the driver loads the same for itself, and forks a
worker for each line of its standard input: a JSON object with the environment of Beam's own worker. It ends with its
workers, and with the driver, however that died.
"""

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from itertools import islice

from features.io.temporary import remove_temporary_folder
from features.runtime.parent_watch import end_with_parent


def main() -> None:
    """Forks workers and waits for them; ends with the exit code of the first that fails, 128 more than its signal."""
    driver, count, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    # What is loaded stays: to garbage-collect it would take time, and make copies of what workers share.
    gc.disable()
    from apache_beam.runners.worker import sdk_worker_main

    if command == "score":
        import pipelines.beam.label_windows
    elif command == "plan":
        import pipelines.beam.read_headers
    else:
        import pipelines.beam.build_shards  # noqa: F401
    gc.freeze()
    # A process of one thread, or a fork of it might wait forever for what another thread held.
    forked = 0
    for line in islice(sys.stdin, count):
        if os.fork() == 0:
            _work(sdk_worker_main.main, json.loads(line))
        forked += 1
    end_with_parent(driver)
    for _ in range(forked):
        code = os.waitstatus_to_exitcode(os.wait()[1])
        if code:
            sys.exit(code if code > 0 else 128 - code)


def _work(main: Callable[[list[str]], None], environment: dict[str, str]) -> None:
    gc.enable()
    end_with_parent(os.getppid())
    os.environ.update(environment)
    try:
        main(sys.argv)
    except BaseException:
        traceback.print_exc()
        remove_temporary_folder()
        os._exit(1)
    remove_temporary_folder()
    os._exit(0)  # what was written is on disk; to take apart what is in memory would take a second


if __name__ == "__main__":
    main()
