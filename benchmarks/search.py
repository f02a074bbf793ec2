"""Measures what `model.search` finds, and its processor time: python benchmarks/search.py FEATURES [FEATURES ...].

Clips of a set are searched for among the others, as the command does, and what counts is how many of the ten most alike
have their label. The time is that of one search: all rows of the set are read and compared.
"""

import argparse
import time

import numpy as np
from measure import machine

from features.store.clip_features import read_clip
from features.store.clips_table import read_clips
from features.store.manifest import load_manifest
from model.neighbours.similarity import most_alike, similarities

TOP = 10


def measured(folder: str, queries: int) -> str:
    """Returns a row of the table: the shares of clips with the label that was searched for, and rows a second."""
    manifest = load_manifest(folder)
    layout = manifest.layout(folder)
    clips = read_clips(layout, manifest)
    labels = np.array(clips["label"].to_pylist())
    rows = np.unique(np.linspace(0, len(labels) - 1, queries).astype(int))
    first, same, seconds = [], [], []
    for row in rows.tolist():
        path, start = clips["path"][row].as_py(), clips["start"][row].as_py()
        query = read_clip(layout, manifest, clips.slice(row, 1), path, start)
        started = time.process_time()
        similarity = similarities(layout, manifest, clips, np.arange(len(labels)) != row, query)
        found = most_alike(similarity, clips, TOP)
        seconds.append(time.process_time() - started)
        alike = labels[found] == labels[row]
        first.append(alike[0])
        same.append(alike.mean())
    spec = manifest.spec
    return (
        f"| {folder} | {len(labels):,} | {len(manifest.classes)} | {spec.front_end} {spec.shape} | {len(rows):,} | "
        f"{np.mean(first):.3f} | {np.mean(same):.3f} | {len(labels) / np.median(seconds):,.0f} |"
    )


def main() -> None:
    """Prints a table with a row for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="+", metavar="FEATURES", help="sets with two classes or more")
    parser.add_argument("--queries", type=int, default=400, help="clips that are searched for, of each (%(default)s)")
    options = parser.parse_args()
    print(machine("numpy", "pyarrow"))
    print("| set | clips | classes | features | searched for | the first | the first ten | rows a second of a core |")
    print("|---|---|---|---|---|---|---|---|")
    for folder in options.features:
        print(measured(folder, options.queries), flush=True)


if __name__ == "__main__":
    main()
