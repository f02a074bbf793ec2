#!/usr/bin/env bash
# Expected: crowsetta's `Raven.from_file` reads any selection table with the columns it names: seconds, hertz and a text. A number is one with
# or without a decimal point, a label is the text that stands there, and a table without rows is a recording in which nothing was found.
# Seen (crowsetta 5.1.2, pandas 3.1.1, pandera 0.35.0, Python 3.11.7): pandas guesses the type of each column from what one file happens to hold.
# - A column of whole numbers only is refused: "expected series 'low_freq_hz' to have type float64, got int64". BirdNET-Analyzer writes its
#   frequencies so. One decimal point anywhere in the column, in any row, and the file is read.
# - Labels `001` and `002` become `1` and `2`, without a word, where all labels of the file are numbers; with one that is not they stay.
# - A selection whose label is empty, `NA` or `None` makes the file unreadable ("non-nullable series 'annotation' contains null values").
# - A header without rows is a ValueError ("there are no rows in Raven txt file"); crowsetta's own simple-seq gives an empty annotation there.
# Who meets it: whoever reads a folder of tables; some are refused, and one label has two names, by what else is in its file.
# Where from: `formats/bbox/raven.py`, `pd.read_csv` without types; in its schema only the annotation column is converted (`coerce=True`).
# Way out: write seconds and hertz with a decimal point and labels that are no numbers; where the tables are others', read them with
# `pd.read_csv(path, sep="\t", dtype={label_column: str}, keep_default_na=False)`, convert times and frequencies, and take no rows for no boxes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check crowsetta==5.1.2 pandas==3.1.1 pandera==0.35.0 numpy==2.4.6
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import crowsetta

COLUMNS = "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Annotation"
DECIMAL, WHOLE = ("150.0", "12000.0"), ("150", "12000")


def read(*rows):
    """Returns the frequencies and labels that crowsetta reads from a table of (frequencies, label), or its error."""
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join((str(i), "Spectrogram 1", "1", "0.5", "3.5", *hertz, label)) for i, (hertz, label) in enumerate(rows, 1)]
    path = Path(sys.argv[1], "table.txt")
    path.write_text("\n".join(lines) + "\n")
    try:
        return [(float(box.low_freq), float(box.high_freq), box.label) for box in crowsetta.formats.bbox.Raven.from_file(path).to_bbox()]
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:75]}"


def boxes(*labels):
    return [(150.0, 12000.0, label) for label in labels]


print(f"crowsetta {version('crowsetta')}, pandas {version('pandas')}, pandera {version('pandera')}, Python {platform.python_version()}")
as_described = True
for title, rows, expected in (
    ("decimal points", [(DECIMAL, "owl"), (DECIMAL, "wren")], boxes("owl", "wren")),
    ("whole hertz", [(WHOLE, "owl"), (WHOLE, "wren")], "SchemaError: expected series 'low_freq_hz' to have type float64, got int64"),
    ("whole hertz in one of two rows", [(WHOLE, "owl"), (DECIMAL, "wren")], boxes("owl", "wren")),
    ("labels 001, 002", [(DECIMAL, "001"), (DECIMAL, "002")], boxes("1", "2")),
    ("labels 001, wren", [(DECIMAL, "001"), (DECIMAL, "wren")], boxes("001", "wren")),
    *((f"labels owl, {label!r}", [(DECIMAL, "owl"), (DECIMAL, label)], "SchemaError: non-nullable series") for label in ("", "NA", "None")),
    ("no rows", [], "ValueError: Cannot load annotations, there are no rows in Raven txt file"),
):
    seen = read(*rows)
    print(f"{title}: {seen}")
    as_described &= seen.startswith(expected) if isinstance(seen, str) and isinstance(expected, str) else seen == expected
path = Path(sys.argv[1], "table.csv")
path.write_text("onset_s,offset_s,label\n")
segments = crowsetta.formats.by_name("simple-seq").from_file(path).to_seq().segments
print(f"no rows in simple-seq: {len(segments)} segments")
sys.exit(not (as_described and len(segments) == 0))
PYTHON
