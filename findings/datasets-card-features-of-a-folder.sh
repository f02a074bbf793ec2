#!/usr/bin/env bash
# Expected: the columns that a dataset card gives under `dataset_info: features:` are those that `load_dataset(FOLDER)` returns; the builder
# says so, and for Parquet it is so. An imagefolder or audiofolder with a metadata.csv and a card that calls `label` a class label gives class ids.
# Seen (datasets 5.2.0, pandas 3.1.1, Python 3.11.7): `load_dataset_builder(FOLDER).info.features` has the ClassLabel of the card, and
# `load_dataset(FOLDER)` has not: its columns are what pandas guesses of the CSV. Labels `001` and `002` become the numbers 1 and 2, a label
# `NA` or `None` becomes None, within quotes too, and nothing is said. The same features under `configs:`, beside `data_files`, which the
# documentation of cards does not name, are used, and text stays text (but for NA, which stays None).
# Who meets it: whoever publishes a folder of sounds or images with labels in a table.
# Where from: `FolderBasedBuilder._split_generators` sets `self.info.features` from the first rows of the metadata unless `self.config.features`
# is given; `MetadataConfigs.from_dataset_card_data` takes `features` of a configuration for that.
# Way out: give `features` under `configs`; where a label may be what pandas takes for missing, write metadata.parquet.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0 pandas==3.1.1 numpy==2.4.6 pyarrow==26.0.1 \
  huggingface_hub==2.4.0 pillow==12.3.0
HF_HOME=$folder/cache HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 "$folder/env/bin/python" - "$folder" 2>"$folder/log" <<'PYTHON' || { tail -n 20 "$folder/log"; exit 1; }
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import datasets
from PIL import Image

datasets.disable_progress_bars()
COLUMNS = """features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names: [{names}]
"""


def write(name, labels, card_place):
    """Writes an imagefolder with a card that names its columns, in one of two places, and returns its path."""
    folder = Path(sys.argv[1], name)
    (folder / "train").mkdir(parents=True)
    for number in range(len(labels)):
        Image.new("L", (2, 2)).save(folder / "train" / f"{number}.png")
    rows = [f'{number}.png,"{label}"\n' for number, label in enumerate(labels)]
    (folder / "train" / "metadata.csv").write_text("file_name,label\n" + "".join(rows))
    columns = COLUMNS.format(names=", ".join(f'"{label}"' for label in sorted(set(labels))))
    config = '- config_name: default\n  data_files:\n  - split: train\n    path: "train/**"\n'
    inner = "".join(f"  {line}\n" for line in columns.splitlines())
    head = f"configs:\n{config}" + (inner if card_place == "configs" else f"dataset_info:\n{inner}")
    (folder / "README.md").write_text(f"---\n{head}---\n")
    return str(folder)


def kind(feature):
    return "ClassLabel" if isinstance(feature, datasets.ClassLabel) else str(feature.dtype)


packages = ("datasets", "pandas", "pyarrow", "huggingface_hub")
print(", ".join(f"{name} {version(name)}" for name in packages) + f", Python {platform.python_version()}")
as_described = True
for place, labels, expected in (
    ("dataset_info", ("dog", "cat", "dog"), ("large_string", ["dog", "cat", "dog"])),
    ("dataset_info", ("002", "001", "002"), ("int64", [2, 1, 2])),
    ("dataset_info", ("cat", "NA", "None"), ("large_string", ["cat", None, None])),
    ("configs", ("dog", "cat", "dog"), ("ClassLabel", [1, 0, 1])),
    ("configs", ("002", "001", "002"), ("ClassLabel", [1, 0, 1])),
    ("configs", ("cat", "NA", "None"), ("ClassLabel", [2, None, None])),
):
    path = write(f"{place}-{labels[0]}-{labels[1]}", labels, place)
    said = kind(datasets.load_dataset_builder(path).info.features["label"])
    rows = datasets.load_dataset(path, split="train")
    seen = kind(rows.features["label"]), list(rows["label"])
    print(f"features under {place}, labels {', '.join(labels)}: the builder says {said}; loaded are {seen[0]}, {seen[1]}")
    as_described &= said == "ClassLabel" and seen == expected
sys.exit(not as_described)
PYTHON
