"""A Beam worker process of a local run: python -m pipelines.worker_main, started by `pipelines.runners`.

It is Beam's own worker, which besides ends when its driver does, however that died.
"""

import os
import sys

from features.lifetime import end_with_parent

DRIVER_VARIABLE = "SOUNDMILL_DRIVER_PID"

if __name__ == "__main__":
    end_with_parent(int(os.environ[DRIVER_VARIABLE]))
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
