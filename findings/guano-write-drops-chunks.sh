#!/usr/bin/env bash
# Expected: a library that adds a field to a recording's GUANO metadata leaves the file's other chunks alone.
# Seen (guano 1.0.16, wavinfo 4.0.1, Python 3.11.7): `GuanoFile(path)`, one field set, `write()`: the new file has `fmt `, `data` and `guan` alone. The
# comment of an AudioMoth (LIST INFO ICMT: time, zone, gain, voltage, temperature), its device (IART) and a `bext` chunk with the
# origination time are gone; the untouched file goes to a folder GUANO_BACKUP beside it, unless `make_backup=False`.
# Who meets it: whoever adds species or a site to recordings with it. Programs that take the time of a recording from the comment or from `bext`
# find none afterwards, and a folder that is walked later has each recording twice, once below GUANO_BACKUP.
# Where from: `write()` makes a new file with Python's `wave`, which writes no other chunks, and appends its own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check guano==1.0.16 wavinfo==4.0.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import os
import platform
import struct
import sys

from guano import GuanoFile
from wavinfo import WavInfoReader


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


comment = b"Recorded at 21:30:00 12/06/2026 (UTC) by AudioMoth 0123456789ABCDEF at medium gain while battery was 4.1V\0"
info = chunk(b"ICMT", comment) + chunk(b"IART", b"AudioMoth 0123456789ABCDEF\0")
bext = struct.pack("<256s32s32s10s8sQH", b"dusk", b"recorder", b"1", b"2026-06-12", b"21:30:00", 0, 1).ljust(602, b"\0")
form = struct.pack("<HHIIHH", 1, 1, 48_000, 96_000, 2, 16)
chunks = chunk(b"fmt ", form) + chunk(b"bext", bext) + chunk(b"LIST", b"INFO" + info)
chunks += chunk(b"data", struct.pack("<4800h", *([0, 1000] * 2400)))
with open("20260612_213000.WAV", "wb") as file:
    file.write(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


def names(path):
    with open(path, "rb") as file:
        content, found, at = file.read(), [], 12
    while at + 8 <= len(content):
        found.append(content[at : at + 4].decode())
        size = struct.unpack_from("<I", content, at + 4)[0]
        at += 8 + size + size % 2
    return found


def known(path):
    reader = WavInfoReader(path)
    return reader.info and reader.info.comment, reader.bext and reader.bext.originator_date


print(f"Python {platform.python_version()}")
path = "20260612_213000.WAV"
before = names(path), known(path)
file = GuanoFile(path)
file["Species Manual ID"] = "Nyctalus noctula"
file.write()
after = names(path), known(path)
print("before", *before, "after", *after, sep="\n  ")
print("beside it:", sorted(os.listdir(".")))
as_described = (
    before[0] == ["fmt ", "bext", "LIST", "data"]
    and after[0] == ["fmt ", "data", "guan"]
    and before[1][1] == "2026-06-12"
    and after[1] == (None, None)
    and os.path.isfile(f"GUANO_BACKUP/{path}")
)
print("as described" if as_described else "changed")
sys.exit(not as_described)
PYTHON
