#!/usr/bin/env bash
# Expected: `mutagen.File(path).info.length` is the length of the sound in seconds, whatever a WAV is coded with; the header says it: the chunk `fact` has
# the number of samples.
# Seen (mutagen 1.48.1, soundfile 0.14.0, Python 3.11.7): of ten minutes of 8 kHz, IMA ADPCM is 1.2 s long, MS ADPCM 1.2 s, GSM 6.10 1.9 s. PCM,
# floats, A-law and mu-law are right. Of AIFF with IMA ADPCM ten minutes are 9.4 s. tinytag 2.3.2 has 600 s of every WAV.
# Who meets it: whoever adds up hours, or leaves out what is shorter than a second, by mutagen, which opens no decoder and so is quick on a million
# files: what telephone systems and dictation machines keep as WAV is often coded so, and is left out without a word.
# Where from: `wave.py` divides the size of `data` by the block size of `fmt `, which is a frame of PCM, but a block of 320 to 505 samples here.
# Way out: `soundfile.info(path).frames`, or the number in `fact`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check mutagen==1.48.1 tinytag==2.3.2 soundfile==0.14.0 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import platform
import sys
from importlib.metadata import version

import mutagen
import numpy as np
import soundfile as sf
from tinytag import TinyTag

RATE_HZ, SECONDS = 8_000, 600
sound = 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ * SECONDS)
packages = ("mutagen", "tinytag", "soundfile", "numpy")
print(", ".join(f"{name} {version(name)}" for name in packages) + f", Python {platform.python_version()}")
as_described = True
for kind, coding, expected in (
    ("WAV", "PCM_16", 600), ("WAV", "FLOAT", 600), ("WAV", "ALAW", 600), ("WAV", "ULAW", 600),
    ("WAV", "IMA_ADPCM", 1.19), ("WAV", "MS_ADPCM", 1.2), ("WAV", "GSM610", 1.875), ("AIFF", "IMA_ADPCM", 9.375),
):  # fmt: skip
    path = f"{coding}.{kind.lower()}"
    sf.write(path, sound, RATE_HZ, format=kind, subtype=coding)
    info, decoded = mutagen.File(path).info, sf.info(path).duration
    other = f", tinytag {TinyTag.get(path).duration:.2f} s" if kind == "WAV" else ""
    print(f"{kind}, {coding}: mutagen {info.length:.3f} s and {info.bitrate} bits a second{other}, soundfile {decoded:.2f} s")
    as_described &= abs(info.length - expected) < 0.01 and abs(decoded - SECONDS) < 0.1
    as_described &= kind == "AIFF" or abs(TinyTag.get(path).duration - SECONDS) < 0.1
print("as described" if as_described else "changed: this is not what was seen")
sys.exit(not as_described)
PYTHON
