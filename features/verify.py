"""Checks that a feature set is whole, and makes damaged shards again: python -m features.verify."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import time
from typing import Any

from features.errors import UsageError
from features.io.filesystem import Location, place
from features.maintenance.shard_check import (
    Damage,
    Part,
)
from features.maintenance.verification import load_committed, verify
from features.runtime import command
from features.runtime.invocation import command_line
from features.runtime.log import LOG
from features.runtime.processes import parse_workers
from features.runtime.quantities import size_text
from features.runtime.visible import print_lines
from features.store.manifest import Manifest, load_manifest, ways_back

EXAMPLE = "python -m features.verify speech-features/"
NETWORK_OPTION = "--network-file"
REPAIR_EXAMPLE = "python -m features.verify speech-features/ --repair"


def _print(damages: list[Damage]) -> None:
    """Prints a line for each damaged shard or file of the state: what it is, and what is wrong with it."""
    found: dict[tuple[str, str], list[str]] = {}
    for damage in damages:
        found.setdefault((damage.name, damage.partition), []).append(damage.message)
    for (name, partition), messages in found.items():
        print_lines([f"{name} ({partition}): {'; '.join(messages)}" if partition else f"{name}: {'; '.join(messages)}"])


def _paragraph(
    folder: Location, manifest: Manifest, damages: list[Damage], repaired: int | None, seconds: float
) -> str:
    """Returns what was checked, what is damaged, and the way out.

    Args:
        folder: the feature set.
        manifest: its committed state.
        damages: what is wrong with it now.
        repaired: number of shards that were made again, None where that was not requested.
        seconds: that one check of it took.
    """
    shards = manifest.all_shards
    size = sum(shard.bytes for shard in shards)
    text = (
        f"Checked {_counted(len(shards))} with {manifest.rows(manifest.partitions):,} rows of {folder}, state "
        f"{manifest.state}: {size_text(size)} in {seconds:.1f} s, {size_text(round(size / seconds))} a second."
    )
    if repaired:
        text += f" Made {_counted(repaired)} again."
    damaged = {damage.name for damage in damages if damage.part not in (Part.STATE, Part.NETWORK)}
    if damaged and repaired is None:
        text += (
            f" Damaged: {_counted(len(damaged))}. {command_line('features.verify', folder, '--repair')} makes just "
            f"these again, from what is whole of them and from {manifest.source['root']}."
        )
    elif damaged:
        text += (
            f" Still damaged: {_counted(len(damaged))}. Where a recording has changed or is gone, another featurize "
            "brings the set up to date, with --verify-content where size and time of the file are as before."
        )
    if any(damage.part is Part.NETWORK for damage in damages):
        name = (manifest.network or {}).get("name") or "its file"
        repair = command_line("features.verify", folder, "--repair", NETWORK_OPTION, "FILE")
        text += f" The network, {name}, is not in the set as it was: {repair} copies it there again."
    if any(damage.part is Part.STATE for damage in damages):
        text += f" The manifest and its tables are not as they were committed: {ways_back(folder)}."
    return text if damages else f"{text} All is whole."


def _counted(shards: int) -> str:
    return "1 shard" if shards == 1 else f"{shards:,} shards"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Checks every checksum, row, place and count of a feature set, and names each damaged shard.",
        EXAMPLE,
        REPAIR_EXAMPLE,
    )
    result.add_argument("features", metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument(
        "--repair", action="store_true", help="make just the damaged shards again, from what is whole and the source"
    )
    result.add_argument(
        NETWORK_OPTION, metavar="FILE", help="with --repair: the front end's network, where the set's copy is damaged"
    )
    result.add_argument("--workers", default="auto", metavar="N", help="worker processes (auto)")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Verifies a set, and repairs it where that is requested; returns 1 where something is damaged in the end."""
    started = time.monotonic()
    folder, workers = place(options.features), parse_workers(options.workers)
    if options.network_file is not None and not options.repair:
        raise UsageError(f"{NETWORK_OPTION} goes with --repair")
    manifest = load_committed(folder)
    layout = manifest.layout(folder)
    damages = verify(layout, manifest, workers)
    seconds = time.monotonic() - started
    _print(damages)
    repaired: list[str] | None = None
    if options.repair and damages:
        from features.maintenance.repair import repair  # it loads what decodes and computes

        repaired, failed = repair(layout, manifest, damages, workers, options.network_file)
        for name, why in failed.items():
            LOG.error("error: %s cannot be made again: %s", name, why)
        if repaired or options.network_file:
            manifest, found = load_manifest(folder), damages
            damages = verify(layout, manifest, workers)
            _print([damage for damage in damages if damage not in found])
    shards = manifest.all_shards
    size = sum(shard.bytes for shard in shards)
    figures: dict[str, Any] = {
        "seconds": time.monotonic() - started,
        "state": manifest.state,
        "shards": len(shards),
        "rows": manifest.rows(manifest.partitions),
        "bytes": size,
        "bytes_per_second": size / seconds,
        "damaged": list(dict.fromkeys(damage.name for damage in damages)),
        "repaired": repaired or [],
    }
    number = None if repaired is None else len(repaired)
    command.finish(options, _paragraph(folder, manifest, damages, number, seconds), figures)
    return 1 if damages else 0


if __name__ == "__main__":
    command.run(main, parser())
