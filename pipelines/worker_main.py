"""A Beam worker process of a local run: python -m pipelines.worker_main, started by `pipelines.runners`.

It is Beam's own worker, which besides ends when its driver does, however that died.
"""

import os
import sys
import threading
import time

DRIVER_VARIABLE = "SOUNDMILL_DRIVER_PID"
_CHECK_SECONDS = 0.5


def _end_with(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(_CHECK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(int(os.environ[DRIVER_VARIABLE]),), daemon=True).start()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
