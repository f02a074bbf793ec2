#!/usr/bin/env bash
# Expected: decodeAudioData gives the samples of a 16-bit WAV or FLAC file divided by 32,768, as libsndfile does, and resamples for a context of
# another rate than the file's by a filter that is flat nearly up to half the lower rate, as that of soxr is.
# Seen (Chromium 156.0.8078.108 of Debian 12, soundfile 0.14.0, soxr 1.1.0, Linux x86-64): of 16 bits, samples above 0 are divided by 32,767
# and those below by 32,768, so that 20,000 is 20,000.61 / 32,768; 24 bits and floating point are exact. From 44.1 or 48 kHz to 16 kHz the
# sound loses 0.3 to 0.5 dB at 5 kHz, 1.7 to 1.9 dB at 6 kHz and 5 dB at 7 kHz, soxr's HQ nothing up to there; and what lies above 8 kHz is
# not gone: a tone of 8.4 kHz comes back at 7.6 kHz 14 to 15 dB below its level, of soxr more than 100 dB below.
# Who meets it: whoever runs in a page a network that was trained on features of Python, and asks why its probabilities differ in the third digit
# on the same file, or more where upper mel bands matter; and whoever compares samples to the bit.
# Where it comes from: the conversion maps both ends of the range of 16 bits, -32,768 and 32,767, to -1 and 1; the resampler's filter falls off
# slowly around half the lower rate.
# Way out: give a page files at the network's own rate, of 24 bits or floating point where the last digits matter.
# It takes a Chromium: on the PATH, or named by SOUNDMILL_BROWSER.
set -euo pipefail
browser=${SOUNDMILL_BROWSER:-$(command -v chromium || true)}
[ -n "$browser" ] || { echo "there is no chromium here: install the distribution's"; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check soundfile==0.14.0 numpy==2.4.6 soxr==1.1.0 playwright==1.65.2
"$folder/env/bin/python" - "$browser" <<'PYTHON'
import base64
import io
import sys

import numpy as np
import soundfile as sf
import soxr
from playwright.sync_api import sync_playwright

RATE_HZ = 16_000
DECODE = """async ([content, rate]) => {
  const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
  const buffer = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.buffer);
  return [...buffer.getChannelData(0)];
}"""


def written(samples, rate_hz, subtype, kind="WAV"):
    file = io.BytesIO()
    sf.write(file, samples, rate_hz, format=kind, subtype=subtype)
    return base64.b64encode(file.getvalue()).decode()


def level_db(samples, hz):
    """Of a tone, against that of full scale, without the ends."""
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4] * np.hanning(len(samples) // 2)
    turns = np.exp(-2j * np.pi * hz * np.arange(len(middle)) / RATE_HZ)
    return 20 * np.log10(abs(middle @ turns) * 2 / np.hanning(len(middle)).sum() + 1e-12)


def tone(hz, rate_hz):
    return np.sin(2 * np.pi * hz * np.arange(rate_hz) / rate_hz).astype(np.float32)


with sync_playwright() as playwright:
    started = playwright.chromium.launch(executable_path=sys.argv[1])
    page = started.new_page()
    decode = lambda content: np.array(page.evaluate(DECODE, [content, RATE_HZ]))  # noqa: E731
    values = np.array([-32768, -20000, -1, 0, 1, 20000, 32767], np.int16)
    found = {}
    for name, samples, subtype, kind in (
        ("16-bit WAV", values, "PCM_16", "WAV"),
        ("16-bit FLAC", values, "PCM_16", "FLAC"),
        ("24-bit WAV", values.astype(np.int32) << 16, "PCM_24", "WAV"),
        ("float WAV", values.astype(np.float32) / 32768, "FLOAT", "WAV"),
    ):
        found[name] = decode(written(samples, RATE_HZ, subtype, kind)) * 32768
        print(f"{name}: {values.tolist()} / 32768 comes as {found[name].round(2).tolist()} / 32768")
    lost = {}
    for rate_hz in (44_100, 48_000):
        for hz, back_hz in ((1_000, 1_000), (5_000, 5_000), (6_000, 6_000), (7_000, 7_000), (8_400, 7_600)):
            samples = tone(hz, rate_hz)
            theirs = level_db(decode(written(samples, rate_hz, "FLOAT")), back_hz)
            ours = level_db(soxr.resample(samples, rate_hz, RATE_HZ, quality="HQ"), back_hz)
            lost[rate_hz, hz] = theirs, ours
            print(f"{hz} Hz at {rate_hz} Hz: at {RATE_HZ} Hz {theirs:.1f} dB at {back_hz} Hz, by soxr {ours:.1f} dB")
    started.close()
as_described = (
    all(abs(found[name][5] - 20_000.61) < 0.01 and abs(found[name][1] + 20_000) < 0.01 for name in ("16-bit WAV", "16-bit FLAC"))
    and all(np.abs(found[name] - values).max() < 0.01 for name in ("24-bit WAV", "float WAV"))
    and all(-2.5 < lost[rate, 6_000][0] < -1.2 and abs(lost[rate, 6_000][1]) < 0.1 for rate in (44_100, 48_000))
    and all(lost[rate, 8_400][0] > -25 and lost[rate, 8_400][1] < -80 for rate in (44_100, 48_000))
)
print("as described" if as_described else "changed: this is not what was seen")
sys.exit(not as_described)
PYTHON
