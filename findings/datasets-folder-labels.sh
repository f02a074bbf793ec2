#!/usr/bin/env bash
# Expected: `load_dataset("imagefolder", data_dir=...)`, and likewise "audiofolder", gives each example the label of the class folder that its file lies
# in, and, where there is a `metadata.csv`, the columns of its row.
# Seen (datasets 5.2.0, Pillow 13.0.0, pandas 3.1.1, Python 3.11.7), each without a word:
# - Where the split that comes first has one class and a later one more, as in sets of anomalies (train/normal, test/normal, test/anomaly), all
#   examples of the first have the label None; those of the later ones have theirs. With the classes exchanged between the splits all have one.
# - A metadata.csv beside the folders train/ and test/, whose rows name files in both, is passed over. The labels are then `train` and `test`,
#   the names of the splits (and those of train are None by the first fault). In the folders of the splits it is read.
# - Labels 001 and 002 of a metadata.csv become the numbers 1 and 2, and a label NA or None becomes None.
# Who meets it: whoever loads a folder of their own; a network is trained on the names of the splits, or not at all.
# Where from: `folder_based_builder.py`: `labels` grows from split to split, and whether it has more than one is asked in between, once for
# each; the patterns of `data_files.py` for folders of splits match no file above them (as issue 4548 of 2022 says of an older version); and
# `pd.read_csv` without types.
# Way out: `drop_labels=False`; a metadata file in the folder of each split; and `features=` with the type of the label.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0 Pillow==13.0.0 pandas==3.1.1
cd "$folder"
HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 HF_HOME="$folder/home" "$folder/env/bin/python" - <<'PYTHON'
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import datasets
from PIL import Image

datasets.disable_progress_bars()


def read(name, files, metadata=(), **options):
    """Returns the label of each file that `load_dataset` gives, by its split."""
    for file in files:
        path = Path(name, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)
    for file, rows in metadata:
        Path(name, file).write_text("\n".join(["file_name,label", *rows]) + "\n")
    found = {}
    for split, part in datasets.load_dataset("imagefolder", data_dir=str(Path(name).absolute()), **options).items():
        label = part.features.get("label")
        values = part["label"] if label else []
        found[split] = sorted((label.int2str(one) if hasattr(label, "names") and one is not None else one for one in values), key=str)
    return found


print(f"datasets {version('datasets')}, Pillow {version('Pillow')}, pandas {version('pandas')}, Python {platform.python_version()}")
anomalies = ["train/normal/a.png", "train/normal/b.png", "test/normal/c.png", "test/anomaly/d.png"]
both = ["train/a.png", "test/b.png"]
as_described = True
for title, seen, expected in (
    ("one class first", read("one", anomalies), {"train": [None, None], "test": ["anomaly", "normal"]}),
    ("drop_labels=False", read("one", anomalies, drop_labels=False), {"train": ["normal"] * 2, "test": ["anomaly", "normal"]}),
    (
        "two classes first",
        read("two", ["train/normal/a.png", "train/anomaly/b.png", "test/normal/c.png"]),
        {"train": ["anomaly", "normal"], "test": ["normal"]},
    ),
    (
        "metadata beside the splits",
        read("beside", both, [("metadata.csv", ["train/a.png,dog", "test/b.png,cat"])]),
        {"train": [None], "test": ["test"]},
    ),
    (
        "metadata in the splits",
        read("within", both, [("train/metadata.csv", ["a.png,dog"]), ("test/metadata.csv", ["b.png,cat"])]),
        {"train": ["dog"], "test": ["cat"]},
    ),
    ("labels 001, 002", read("numbers", ["a.png", "b.png"], [("metadata.csv", ["a.png,001", "b.png,002"])]), {"train": [1, 2]}),
    ("labels NA, None", read("none", ["a.png", "b.png"], [("metadata.csv", ["a.png,NA", "b.png,None"])]), {"train": [None, None]}),
):
    print(f"{title}: {seen}")
    as_described &= seen == expected
sys.exit(not as_described)
PYTHON
