"""Measures featurize where nothing has changed against a bare walk, and prints a table: python benchmarks/rerun.py.

The clips are those of Speech Commands, cut to a tenth of a second, each a file of its own; both are whole processes in
turns, their start included, and the files' names and times stand in the caches of the system. Clips and sets that are
there from an earlier run are taken as they are: a million of them take the first time an hour of a core.
"""

import shutil
from pathlib import Path

from clips import benchmark_parser, find_originals, made
from measure import PYTHON, WALK, Contender, alternate, machine, run, spread, table

SOUND_BYTES = 3_200  # a tenth of a second
HERE = Path(__file__).parents[1]


def contender(name: str, tree: Path, source: Path, output: Path, options) -> Contender:
    """Returns the rerun of a checkout on a set of its own, which is made where it is not there."""
    command = [
        PYTHON,
        "-m",
        "pipelines.featurize",
        "--input",
        str(source),
        "--output",
        str(output),
        "--preset",
        options.preset,
    ]
    mark = output.with_name(f"{output.name}.made")
    if not mark.exists():
        shutil.rmtree(output, ignore_errors=True)
        run(command, tree)
        mark.touch()
    return Contender(name, command, options.clips, tree=tree)


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=1_000_000, turns=5)
    parser.add_argument("--preset", default="urbansound-mfcc", help="(%(default)s)")
    parser.add_argument("--before", type=Path, metavar="TREE", help="another checkout, as a contender")
    options = parser.parse_args()
    where, output = machine("numpy", "pyarrow"), options.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    originals = find_originals(options.data)
    source = made(output / f"clips-{options.clips}", originals, options.clips, SOUND_BYTES)
    walk = Contender("os.scandir and stat of every file", [PYTHON, "-c", WALK, str(source)], options.clips)
    contenders = [walk, contender("unchanged rerun", HERE, source, output / f"set-{options.clips}", options)]
    if options.before is not None:
        place = output / f"set-{options.clips}-before"
        contenders.append(contender("unchanged rerun, before", options.before.absolute(), source, place, options))
    alternate(contenders, options.turns)
    print(f"{where}.\n\n{table(contenders, [])}\n")
    print("| | times the walk, by the clock | in CPU time |\n|---|---|---|")
    for one in contenders[1:]:
        clock, cpu = (
            spread([a / b for a, b in zip(taken(one), taken(walk), strict=True)])
            for taken in (lambda who: who.seconds, lambda who: who.cpu_seconds)
        )
        print(f"| {one.name} | {clock} | {cpu} |")


if __name__ == "__main__":
    main()
