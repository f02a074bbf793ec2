#!/usr/bin/env bash
# Expected: programs that open the same MP3 agree where a sound in it begins, at least to a millisecond, as they do for FLAC.
# Seen (praat-parselmouth 0.4.7, pedalboard 0.9.26, soundfile 0.14.0, miniaudio 1.71, NumPy 2.4.6, Python 3.11.7): of a click at 1 s of a clip of 3 s,
# libsndfile and miniaudio give the clip's length and the click where it was; pedalboard gives it 1,105 samples later (69 ms at 16 kHz, 25 ms at
# 44.1 kHz), Praat 1,056 at 16 kHz and 1,632 at 44.1 kHz (66 and 37 ms), both with more samples than the clip has. All four agree on the
# same clip as FLAC.
# Who meets it: whoever draws onsets or intervals in Praat on MP3 recordings and cuts or trains with libsndfile (librosa, soundfile), or
# augments by pedalboard what was annotated elsewhere.
# Where from: the delay of encoder and decoder (576 and 529 samples) stands in the LAME tag of the first frame; libsndfile and miniaudio take it
# off, the other two leave it in.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
  praat-parselmouth==0.4.7 pedalboard==0.9.26 soundfile==0.14.0 miniaudio==1.71 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import platform
import sys

import miniaudio
import numpy as np
import parselmouth
import soundfile
from pedalboard.io import AudioFile


def by_pedalboard(name, rate):
    with AudioFile(name) as file:
        return file.read(file.frames)[0]


def by_miniaudio(name, rate):
    form = miniaudio.SampleFormat.FLOAT32
    return np.array(miniaudio.decode_file(name, nchannels=1, sample_rate=rate, output_format=form).samples)


readers = {
    "libsndfile": lambda name, rate: soundfile.read(name)[0],
    "miniaudio": by_miniaudio,
    "pedalboard": by_pedalboard,
    "praat": lambda name, rate: parselmouth.Sound(name).values[0],
}
print(f"Python {platform.python_version()}")
as_described = True
for rate in (16_000, 44_100):
    times = np.arange(3 * rate) / rate
    clip = 0.05 * np.sin(2 * np.pi * 440 * times)
    clip[rate : rate + 10] = 0.9
    for ending in ("flac", "mp3"):
        name = f"{rate}.{ending}"
        soundfile.write(name, clip, rate)
        for reader, read in readers.items():
            samples = read(name, rate)
            late = int(np.argmax(np.abs(samples))) - rate
            print(f"{rate} Hz, {ending}, {reader}: {len(samples)} samples, click {late:+} samples ({1e3 * late / rate:+.1f} ms)")
            off = ending == "mp3" and reader in ("pedalboard", "praat")
            as_described &= 1_000 < late < 1_700 if off else -16 < late < 16
            as_described &= (len(samples) > len(clip)) == off
print("as described" if as_described else "changed")
sys.exit(not as_described)
PYTHON
