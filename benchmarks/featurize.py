"""Measures featurize against what people write instead, and prints tables of ratios: python benchmarks/featurize.py.

All are run as a user runs them: whole processes, imports included, one after the other in turns, on the same clips made
from the real ones of Speech Commands, which were written or read a moment ago and stand in the page cache.
"""

import shutil
from pathlib import Path

from clips import benchmark_parser, find_originals, made
from measure import PYTHON, Contender, alternate, machine, peer, table

from features.errors import UsageError

PACKAGES = ("numpy", "scipy", "pyarrow", "apache-beam", "tensorflow", "keras")
LARGE, SMALL, SLOW = 100_000, 6_000, 2_000


def soundmill(source: Path, output: Path, clips: int, preset: str = "speech-commands", *options: str) -> Contender:
    """Returns featurize as a contender."""
    command = [PYTHON, "-m", "pipelines.featurize", "--input", str(source), "--output", str(output),
               "--preset", preset, *options]  # fmt: skip
    return Contender("soundmill", command, clips, output)


def before_and_now(source: Path, work: Path, clips: int, turns: int, before: Path) -> list[str]:
    """Compares this commit with another one's checkout, beside the bare loop: two presets, and Parquet."""
    tables = []
    for preset, storage_format in (("speech-commands", "tfrecord"), ("log-mel-40", "tfrecord"),
                                   ("speech-commands", "parquet")):  # fmt: skip
        now, then = (soundmill(source, work / name, clips, preset, "--format", storage_format)
                     for name in ("set", "before"))  # fmt: skip
        now.name, then.name, then.tree = f"soundmill, {preset}, {storage_format}", "before", before
        contenders = [now, then]
        if preset == "speech-commands":  # the loop's front end
            contenders.append(Contender("limit", peer("limit", source, work / "limit"), clips, work / "limit"))
        alternate(contenders, turns)
        tables.append(table(contenders, contenders[1:], contenders[1:]))
    return tables


def spectrograms(source: Path, few: Path, work: Path, clips: int, turns: int) -> str:
    """Compares spectrograms of many clips; librosa, which is slow, goes through few of them."""
    ours = soundmill(source, work / "set", clips)
    parquet = soundmill(source, work / "parquet", clips, "speech-commands", "--format", "parquet")
    parquet.name = "soundmill, Parquet"
    tutorial = Contender("tutorial", peer("tutorial", source, work / "none"), clips)
    limit = Contender("limit", peer("limit", source, work / "limit"), clips, work / "limit")
    records = Contender("tf.data to TFRecord", peer("tfrecord", source, work / "records"), clips, work / "records")
    slow = Contender("librosa loop", peer("librosa", few, work / "none", "librosa"), min(SLOW, clips))
    all_of_them = [ours, limit, tutorial, parquet, records, slow]
    alternate(all_of_them, turns)
    return table(all_of_them, [limit, tutorial])


def small(source: Path, work: Path, clips: int, turns: int) -> str:
    """Compares whole runs over few clips, where the start of the processes counts."""
    ours = soundmill(source, work / "set", clips)
    tutorial = Contender("tutorial", peer("tutorial", source, work / "none"), clips)
    alternate([ours, tutorial], turns)
    return table([ours, tutorial], [tutorial])


def front_ends(source: Path, few: Path, work: Path, clips: int, turns: int) -> str:
    """Compares MFCCs with librosa's, resampling included, and log-mel spectrograms with tf.signal's."""
    mfcc = soundmill(source, work / "set", clips, "urbansound-mfcc")
    mfcc.name = "soundmill, urbansound-mfcc"
    librosa = Contender("librosa MFCC loop", peer("librosa-mfcc", few, work / "none", "librosa"), min(SLOW, clips))
    alternate([mfcc, librosa], turns)
    log_mel = soundmill(source, work / "set", clips, "log-mel")
    log_mel.name = "soundmill, log-mel"
    tutorial = Contender("tutorial with log-mel", peer("tutorial-log-mel", source, work / "none"), clips)
    alternate([log_mel, tutorial], turns)
    return table([mfcc, librosa], [librosa]) + "\n\n" + table([log_mel, tutorial], [tutorial])


def main() -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, clips=LARGE, turns=3)
    parser.add_argument("--before", type=Path, help="checkout of another commit, to be measured against instead")
    parser.add_argument("--steps", default="large,small,front-ends", help="some of %(default)s")
    options = parser.parse_args()
    options.output = options.output.resolve()  # a process of another checkout runs in that
    where, originals, turns = machine(*PACKAGES, peers=["librosa"]), find_originals(options.data), options.turns
    work = options.output / "work"
    if work.exists():
        raise UsageError(f"{work} is in the way; remove it")
    counts = {name: min(number, options.clips) for name, number in
              (("large", options.clips), ("small", SMALL), ("few", SLOW))}  # fmt: skip
    work.mkdir(parents=True)
    sources = {name: made(options.output / f"clips-{count}", originals, count) for name, count in counts.items()}
    tables = []
    if options.before is not None:
        before = options.before.resolve()
        if not (before / "pipelines" / "featurize.py").exists():
            raise UsageError(f"--before is a checkout of soundmill, which {before} is not")
        tables = before_and_now(sources["large"], work, counts["large"], turns, before)
    for step in () if options.before else options.steps.split(","):
        if step == "large":
            text = spectrograms(sources["large"], sources["few"], work, counts["large"], turns)
        elif step == "small":
            text = small(sources["small"], work, counts["small"], turns)
        elif step == "front-ends":
            text = front_ends(sources["large"], sources["few"], work, counts["large"], turns)
        else:
            parser.error(f"--steps is a comma list of large, small, front-ends, not {step}")
        tables.append(text)
    shutil.rmtree(work)
    print(f"{where}.\n")
    print(*tables, sep="\n\n")


if __name__ == "__main__":
    main()
