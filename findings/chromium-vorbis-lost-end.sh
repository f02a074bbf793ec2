#!/usr/bin/env bash
# Expected: an Ogg Vorbis file of 16,000 samples is 16,000 samples in a browser: the last page says where the sound ends (its granule
# position), libsndfile goes by that, and for FLAC, WAV and MP3 (by the LAME tag) the browser gives all samples too.
# Seen (Chromium 156.0.8078.108 of Debian 12, files of libsndfile 1.2.2 with libvorbis, Python 3.11, Linux x86-64): decodeAudioData gives 128 or
# 256 samples less at 16 kHz and a sound in the last 6 ms is gone, at the file's own rate and at another one; the `duration` of an audio
# element is 256 samples more than there are, of Opus 104 (its pre-skip) more. FLAC, WAV and MP3 are exact in both. ffmpeg 7.0.2 from a pipe gives 128 samples
# more than there are of Vorbis, 175 of MP3.
# Who meets it: whoever lets people mark or hear short clips in a page, compares a browser's samples with Python's, or draws a time axis
# from `duration`.
# Way out: give a page MP3, FLAC or WAV, or the number of samples beside the Vorbis file.
# It takes a Chromium: on the PATH, or named by SOUNDMILL_BROWSER.
set -euo pipefail
browser=${SOUNDMILL_BROWSER:-$(command -v chromium || true)}
[ -n "$browser" ] || { echo "there is no chromium here: install the distribution's"; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
  soundfile==0.14.0 numpy==2.4.6 playwright==1.65.2 imageio-ffmpeg==0.6.0
"$folder/env/bin/python" - "$browser" <<'PYTHON'
import base64
import io
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import soundfile as sf
from playwright.sync_api import sync_playwright

RATE_HZ, SAMPLES = 16_000, 16_000
KINDS = {
    "Vorbis": ("OGG", "VORBIS", "audio/ogg"),
    "Opus": ("OGG", "OPUS", "audio/ogg"),
    "MP3": ("MP3", "MPEG_LAYER_III", "audio/mpeg"),
    "FLAC": ("FLAC", "PCM_16", "audio/flac"),
    "WAV": ("WAV", "PCM_16", "audio/wav"),
}
DECODE = """async ([url, rate]) => {
  const audio = new Audio(url);
  await new Promise((done) => audio.addEventListener("loadedmetadata", done));
  const content = Uint8Array.from(atob(url.split(",")[1]), (sign) => sign.charCodeAt(0));
  const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(content.buffer);
  return [audio.duration, Array.from(decoded.getChannelData(0))];
}"""

signal = np.zeros(SAMPLES, np.float32)
signal[-100:] = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(100) / RATE_HZ)  # the last 6 ms
seen = {}
with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=sys.argv[1])
    print(f"Chromium {chromium.version}, soundfile {sf.__version__}, {sf.__libsndfile_version__}")
    page = chromium.new_page()
    for name, (kind, subtype, media_type) in KINDS.items():
        file = io.BytesIO()
        sf.write(file, signal, RATE_HZ, format=kind, subtype=subtype)
        content = file.getvalue()
        python = sf.read(io.BytesIO(content), dtype="float32")[0]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "pipe:0", "-f", "f32le", "-ar", str(RATE_HZ), "pipe:1"]
        ffmpeg = np.frombuffer(subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout, np.float32)
        url = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
        seconds, heard = page.evaluate(DECODE, [url, RATE_HZ])
        share = float(np.square(heard).sum() / np.square(signal).sum())
        seen[name] = (len(heard) - SAMPLES, round(seconds * RATE_HZ) - SAMPLES, share > 0.5)
        print(f"{name}: libsndfile {len(python)}, ffmpeg {len(ffmpeg)}, Chromium {len(heard)} samples, duration "
              f"{seconds * RATE_HZ:.1f}, {100 * share:.0f} % of the energy at the end")
    chromium.close()
exact = (0, 0, True)
vorbis = seen["Vorbis"]
as_described = vorbis[0] < 0 < vorbis[1] and not vorbis[2] and seen["Opus"] == (0, 104, True)
sys.exit(not (as_described and all(seen[name] == exact for name in ("MP3", "FLAC", "WAV"))))
PYTHON
