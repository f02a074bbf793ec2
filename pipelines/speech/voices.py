"""Who speaks in the demo: voices, and the partition that each belongs to.

A speaker is a variant voice of eSpeak NG with an English accent, a rate and a pitch. Training, validation and
testing share no variant voice, so that the accuracy on the testing list is the accuracy on new voices.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WORDS = ("down", "go", "left", "no", "right", "stop", "up", "yes")
# Names of language voices; "en" is British English, whose other name "en-gb" takes no variant.
TRAINING_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-029")
# The testing voices speak these as well, so that they are new in more than their timbre.
TESTING_ACCENTS = (*TRAINING_ACCENTS, "en-gb-x-rp", "en-us-nyc")
TAKES = 1  # how often a speaker of labelled/ says each word
UNSEEN_SPEAKERS = 10
# Variants that whisper, growl or buzz; networks trained on the other voices did worst on them.
UNCLEAR_VARIANTS = frozenset(
    {"whisper", "whisperf", "Alicia", "Demonic", "kaukovalta", "UniRobot", "anikaRobot", "zac", "shelby", "robosoft"}
    | {f"robosoft{number}" for number in range(2, 9)}
)
# Their breath comes from a generator that eSpeak NG's seed does not reach: the sound depends on who spoke before.
UNREPEATABLE_VARIANTS = frozenset({"caleb", "Reed"})
RATE_RANGE_WPM = (140, 200)
PITCH_RANGE = (10, 90)  # eSpeak's own scale: 0 to 99, where 50 is the voice's normal pitch


@dataclass(frozen=True)
class Speaker:
    """One voice of the data set.

    Attributes:
        variant: Name of the variant voice, a file of espeak-ng-data/voices/!v.
        accent: Name of the language voice that the variant is put on.
        rate_wpm: Speaking rate in words per minute.
        pitch: Pitch on eSpeak's scale of 0 to 99.
        partition: "training", "validation", "testing" or "unseen".
    """

    variant: str
    accent: str
    rate_wpm: int
    pitch: int
    partition: str

    @property
    def identifier(self) -> str:
        """Eight hexadecimal digits that stand for the voice in file names, as in Speech Commands."""
        voice = f"{self.variant}|{self.accent}|{self.rate_wpm}|{self.pitch}"
        return hashlib.sha256(voice.encode()).hexdigest()[:8]


def partition_variants(variants: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Splits the variant voices into training, validation and testing, about 80/10/10.

    Variants whose names differ in a number alone ("iven", "iven2") are near copies and stay together; those of a
    single letter ("f1", "m3") are voices of their own.

    Args:
        variants: Names of the variant voices.
        seed: Seed of the shuffle.

    Returns:
        The sorted variants of each partition.
    """
    families: dict[str, list[str]] = {}
    for variant in sorted(variants):
        stem = variant.rstrip("0123456789")
        families.setdefault(stem if len(stem) > 1 else variant, []).append(variant)
    names = sorted(families)
    np.random.default_rng([seed, 0]).shuffle(names)
    parts: dict[str, list[str]] = {"testing": [], "validation": [], "training": []}
    for name in names:
        # The two small partitions are filled first; what is left trains.
        part = next((p for p in ("testing", "validation") if len(parts[p]) < len(variants) / 10), "training")
        parts[part] += families[name]
    return {part: sorted(members) for part, members in parts.items()}


def plan_speakers(variants: Sequence[str], clips: int, seed: int) -> list[Speaker]:
    """Chooses all speakers of a tree; reads and writes nothing.

    Args:
        variants: Names of the variant voices.
        clips: Least number of clips in labelled/; whole speakers are planned, and one at least in each partition.
        seed: Seed of every choice.

    Returns:
        The speakers, all with different identifiers, those of one variant in one partition ("unseen" goes with
        "testing").
    """
    parts = partition_variants(sorted(set(variants) - UNCLEAR_VARIANTS - UNREPEATABLE_VARIANTS), seed)
    total = -(-clips // (len(WORDS) * TAKES))
    tenth = max(1, round(total / 10))
    counts = {"training": max(1, total - 2 * tenth), "validation": tenth, "testing": tenth, "unseen": UNSEEN_SPEAKERS}
    rng = np.random.default_rng([seed, 1])
    speakers: dict[str, Speaker] = {}
    for partition, count in counts.items():
        tested = partition in ("testing", "unseen")
        accents = TESTING_ACCENTS if tested else TRAINING_ACCENTS
        pool = rng.permutation(parts["testing" if tested else partition]).tolist()
        target = len(speakers) + count
        turn = 0
        while len(speakers) < target:
            accent = accents[int(rng.integers(len(accents)))]
            rate, pitch = (int(rng.integers(low, high + 1)) for low, high in (RATE_RANGE_WPM, PITCH_RANGE))
            speaker = Speaker(pool[turn % len(pool)], accent, rate, pitch, partition)
            if speaker.identifier not in speakers:  # a voice drawn twice is drawn again
                speakers[speaker.identifier] = speaker
                turn += 1
    return list(speakers.values())


def clip_paths(speaker: Speaker, first_number: int = 0) -> list[tuple[str, int, str]]:
    """Lists a speaker's clips.

    Args:
        speaker: The speaker.
        first_number: Number of the first clip, in the names of unseen/.

    Returns:
        Word, take and path inside the tree of each clip.
    """
    if speaker.partition == "unseen":
        return [(word, 0, f"unseen/{first_number + i:04d}_{word}.wav") for i, word in enumerate(WORDS)]
    return [
        (word, take, f"labelled/{word}/{speaker.identifier}_nohash_{take}.wav")
        for take in range(TAKES)
        for word in WORDS
    ]
