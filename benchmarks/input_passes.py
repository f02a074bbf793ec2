"""Passes over the batches of a training, nothing trained: python benchmarks/input_passes.py FEATURES [memory].

It prints the CPU seconds of each pass of this process, whose memory is new in the first; train_input.py runs it.
"""

import sys
import time
from pathlib import Path

from features.store.manifest import load_manifest
from model.training.rows import Rows, batches

PASSES, BATCH_CLIPS = 4, 64


def main() -> None:
    """Reads and prints."""
    folder = Path(sys.argv[1])
    manifest = load_manifest(folder)
    rows = Rows(folder, manifest, ("training",), manifest.classes, in_memory=sys.argv[2:] == ["memory"])
    for epoch in range(PASSES):
        started = time.process_time()
        for _ in batches(rows, BATCH_CLIPS, seed=0, epoch=epoch):
            pass
        print(time.process_time() - started)


if __name__ == "__main__":
    main()
