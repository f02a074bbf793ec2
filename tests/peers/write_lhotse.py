"""Has lhotse write manifests of the recordings in the working folder: python -I THIS OUT.

Runs in the environment of lhotse, which imports torch; it imports nothing of soundmill, which is not there. OUT gets
`cuts.jsonl.gz`, `all_recordings.jsonl.gz`, `all_supervisions.jsonl.gz` and `read.json`: of each cut, what lhotse reads
of it, with its first and last samples as it loads them.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from lhotse import CutSet, MultiCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.utils import compute_num_samples

SHOWN = 3
# By recording: start, duration, channel, label and speaker of each supervision.
SAID = {
    "mono": [(0.1, 0.4, 0, "owl", "p1"), (0.50004, 0.33333, 0, "wren", "p1"), (1.25, 0.75, 0, "owl", None)],
    "rate": [(0.0, 1.0, 0, "wren", "p2")],
    "stereo": [(0.2, 0.5, 1, "owl", "p3"), (0.9, 0.2, [0, 1], "frog", "p3")],
}


def main(out: Path) -> None:
    """Writes the manifests and what is read from them."""
    recordings = [Recording.from_file(f"sounds/{name}.wav") for name in SAID]
    supervisions = [
        SupervisionSegment(f"{name}-{number}", name, start, duration, channel, text=label, speaker=speaker,
                           custom={"call": label.upper(), "split": "test" if number else "train"})
        for name, found in SAID.items() for number, (start, duration, channel, label, speaker) in enumerate(found)
    ]  # fmt: skip
    all_recordings, all_supervisions = (
        RecordingSet.from_recordings(recordings),
        SupervisionSet.from_segments(supervisions),
    )
    all_recordings.to_file(out / "all_recordings.jsonl.gz")
    all_supervisions.to_file(out / "all_supervisions.jsonl.gz")
    whole = CutSet.from_manifests(recordings=all_recordings, supervisions=all_supervisions)
    trimmed = list(whole.trim_to_supervisions(keep_overlapping=False))
    mono, first = trimmed[0], next(iter(whole))
    others = [
        mono.truncate(offset=0.1, duration=0.2).with_id("truncated"),
        first.truncate(offset=1.5, duration=0.25).with_id("within-a-supervision"),
        trimmed[3].truncate(offset=0.25, duration=0.5).resample(4000).with_id("resampled"),
        first.with_id("two-labels"),
        mono.perturb_speed(1.1).with_id("faster"),
        mono.pad(duration=2.0).with_id("padded"),
    ]
    cuts = CutSet.from_cuts([*trimmed, *others])
    cuts.to_file(out / "cuts.jsonl.gz")
    versions = {name: version(name) for name in ("lhotse", "torch", "soundfile", "numpy")}
    trimmed_again = CutSet.from_manifests(
        recordings=RecordingSet.from_file(out / "all_recordings.jsonl.gz"),
        supervisions=SupervisionSet.from_file(out / "all_supervisions.jsonl.gz"),
    ).trim_to_supervisions(keep_overlapping=False)
    read = {"versions": versions, "cuts": list(map(say, CutSet.from_file(out / "cuts.jsonl.gz"))),
            "supervisions": list(map(say, trimmed_again))}  # fmt: skip
    (out / "read.json").write_text(json.dumps(read, indent=1) + "\n")


def say(cut: object) -> dict[str, object]:
    """Returns what lhotse reads of a cut."""
    said = {"id": cut.id, "type": type(cut).__name__, "start": getattr(cut, "start", None), "duration": cut.duration}
    if not cut.has_recording or type(cut).__name__ == "MixedCut":
        return said
    rate = cut.recording.sampling_rate
    samples = [] if cut.recording.transforms else cut.load_audio()  # a transform takes what lhotse does not install
    return {
        **said,
        "file": cut.recording.sources[0].source,
        "channel": cut.channel,
        "channels": cut.recording.channel_ids,
        "is_multi": isinstance(cut, MultiCut),
        "transforms": [
            one["name"] if isinstance(one, dict) else type(one).__name__ for one in cut.recording.transforms or []
        ],
        "rate_hz": rate,
        "first_sample": compute_num_samples(cut.start, rate),
        "samples": cut.num_samples,
        "labels": sorted({one.text for one in cut.supervisions}),
        "speakers": sorted({one.speaker for one in cut.supervisions if one.speaker}),
        "sound": [[round(float(value), 6) for value in (*channel[:SHOWN], *channel[-SHOWN:])] for channel in samples],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
