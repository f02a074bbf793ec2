"""Removes what no kept state of a feature set names any more: python -m features.prune."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import re
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from features.errors import UsageError
from features.maintenance.removal import Choice, prune
from features.runtime import command
from features.runtime.log import LOG
from features.runtime.quantities import size_text
from features.runtime.visible import print_lines
from features.store.inventory import SetFile, total_bytes
from features.store.layout import KINDS
from features.store.locks import is_running

EXAMPLE = "python -m features.prune speech-features/ --dry-run"
KEEP_EXAMPLE = "python -m features.prune speech-features/ --keep 2 --min-age 12h"
DEFAULT_AGE = "1d"
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([dhms]?)")
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "": 1}
_MOST_NAMED = 5


def parse_age(text: str) -> int:
    """Reads `1d`, `12h`, `30m`, `90s` or a number of seconds; returns nanoseconds, raises `UsageError` for the rest."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--min-age is a number of seconds, or a number and d, h, m or s, e.g. 1d, 12h, 30m, 0; not {text!r}"
        )
    return int(Decimal(match[1]) * _SECONDS[match[2]] * 1_000_000_000)


def by_kind(files: Iterable[SetFile]) -> dict[str, dict[str, int]]:
    """Returns how many files there are of each kind, and their bytes."""
    counts = {kind: {"files": 0, "bytes": 0} for kind in KINDS}
    for file in files:
        counts[file.kind]["files"] += 1
        counts[file.kind]["bytes"] += file.bytes
    return counts


def figures_of(choice: Choice, dry_run: bool, seconds: float) -> dict[str, Any]:
    """Returns the figures of a run, ready for JSON."""
    return {
        "dry_run": dry_run,
        "state": choice.committed,
        "kept_states": sorted([*choice.latest, *choice.young]),
        "removed_states": choice.states,
        "removed_files": len(choice.going),
        "removed_bytes": total_bytes(choice.going),
        "kinds": by_kind(choice.going),
        "waiting_files": len(choice.waiting),
        "waiting_bytes": total_bytes(choice.waiting),
        "foreign": len(choice.inventory.foreign),
        "links": len(choice.inventory.links),
        "seconds": seconds,
    }


def lines_of(choice: Choice) -> list[str]:
    """Returns how many files and bytes go, by kind."""
    rows = [(kind, counts["files"], counts["bytes"]) for kind, counts in by_kind(choice.going).items()]
    rows.append(("all", len(choice.going), total_bytes(choice.going)))
    return [f"{'':12}{'files':>9}{'bytes':>19}", *(f"{kind:12}{files:>9,}{size:>19,}" for kind, files, size in rows)]


def paragraph_of(folder: str, choice: Choice, age: str, dry_run: bool) -> str:
    """Returns the last paragraph: what went, what stays, and why.

    Args:
        folder: the set.
        choice: what goes and what stays.
        age: `--min-age` as it was given.
        dry_run: whether nothing was removed.
    """
    states = choice.states
    if choice.going:
        verb = "Would remove" if dry_run else "Removed"
        gone = f", {_state_text(states)} among them" if states else ""
        text = f"{verb} {_counted(choice.going)} from {folder}{gone}."
    else:
        text = f"Nothing to remove from {folder}."
    kept = [f"state {choice.committed} is the committed one"]
    if choice.latest:
        kept.append(f"{_state_text(choice.latest)} stay{'s' * (len(choice.latest) == 1)} for --keep")
    if choice.young:
        be = "was" if len(choice.young) == 1 else "were"
        kept.append(f"{_state_text(choice.young)} {be} superseded less than {age} ago (--min-age)")
    text += f" Kept, with all that they name: {'; '.join(kept)}."
    if choice.waiting:
        text += f" {_counted(choice.waiting)} that no kept state names stay until they are {age} old (--min-age)."
    if choice.inventory.foreign:
        text += f" Not the set's own, so left alone: {_listed(choice.inventory.foreign)}."
    if choice.inventory.links:
        text += f" Links, which are not followed and stay: {_listed(choice.inventory.links)}."
    return text + (" Nothing was removed (--dry-run)." if dry_run else "")


def _counted(files: list[SetFile]) -> str:
    return f"{len(files):,} {'file' if len(files) == 1 else 'files'} ({size_text(total_bytes(files))})"


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - _MOST_NAMED:,} more" if len(paths) > _MOST_NAMED else ""
    return ", ".join(paths[:_MOST_NAMED]) + more


def _state_text(numbers: list[int]) -> str:
    """Returns `state 3`, `states 3 and 5` or `5 states from 3 to 9`."""
    if len(numbers) == 1:
        return f"state {numbers[0]}"
    if len(numbers) == 2:
        return f"states {numbers[0]} and {numbers[1]}"
    return f"{len(numbers):,} states from {numbers[0]} to {numbers[-1]}"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Removes from a feature set what no kept state names: superseded shards, their reports and tables, earlier\n"
        "states, and what runs left that were killed. The committed state always stays. It refuses while a featurize\n"
        "is running; one that begins meanwhile waits.",
        EXAMPLE,
        KEEP_EXAMPLE,
    )
    result.add_argument("features", metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument(
        "--dry-run", action="store_true",
        help="say what would go, and remove nothing; it takes no lock, so it is of the moment",
    )  # fmt: skip
    result.add_argument(
        "--keep", type=int, default=0, metavar="N",
        help="keep the N latest earlier states too, however old (%(default)s: the committed state alone)",
    )  # fmt: skip
    result.add_argument(
        "--min-age", default=DEFAULT_AGE, metavar="AGE",
        help="keep every earlier state that was superseded less long ago than this, as readers may still hold it, and "
        "every file that is younger, as a run that was stopped may resume with it: seconds, or e.g. 30m, 12h, 1d; "
        "with 0 nothing stays for its age (%(default)s)",
    )  # fmt: skip
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Prunes a set."""
    started = time.monotonic()
    min_age_ns = parse_age(options.min_age)
    if options.keep < 0:
        raise UsageError(f"--keep is a number of earlier states, 0 or more; not {options.keep}")
    choice = prune(options.features, options.keep, min_age_ns, options.dry_run)
    if options.dry_run:
        for file in choice.going:
            LOG.debug("would remove %s, %s", file.path, size_text(file.bytes))
    print_lines(lines_of(choice), end="\n\n")
    paragraph = paragraph_of(options.features, choice, options.min_age, options.dry_run)
    if options.dry_run and is_running(choice.layout):
        paragraph += " A featurize is running; until it has ended, prune refuses to remove anything."
    command.finish(options, paragraph, figures_of(choice, options.dry_run, time.monotonic() - started))
    return 0


if __name__ == "__main__":
    command.run(main, parser())
