"""The dataset card: the README.md of a publication, with the lines of YAML that the Hugging Face Hub and datasets read.

It says what the set was measured to hold, and nothing of where it lay.
"""

import json
from collections.abc import Iterable
from typing import Any

from features.frontend.presets import preset_name
from features.interchange import audiofolder, huggingface
from features.interchange.splits import split_name
from features.interchange.written import SourceSet, Written
from features.runtime.markdown import front_matter, markdown_table, markdown_text
from features.sources.corrections import corrections_text

CARD = "README.md"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
          (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))  # fmt: skip


def dataset_card(source: SourceSet, layout: str, written: Written) -> str:
    """Returns the content of the card.

    Args:
        source: the set.
        layout: `tfds`, `huggingface` or `audiofolder`.
        written: what was published of it.
    """
    return front_matter(_head(source, layout, written)) + "\n".join([
        "",
        f"# {markdown_text(source.name)}",
        "",
        *_what(source, layout),
        "",
        *_clips_table(source),
        "",
        *_front_end(source),
        "",
        "## How to read it",
        "",
        *_READ[layout](source),
        "",
        *_left_out(source, written),
        "",
        "## License",
        "",
        "That of the recordings, of which soundmill knows nothing. State it here, and as `license:` at the head of "
        "this file.",
        "",
    ])  # fmt: skip


def _head(source: SourceSet, layout: str, written: Written) -> dict[str, Any]:
    rows = sum(written.rows.values())
    head: dict[str, Any] = {
        "pretty_name": source.name,
        "task_categories": ["audio-classification"],
        "size_categories": [next((size for most, size in _SIZES if rows < most), "1B<n<10B")],
        "tags": ["audio", "soundmill", *([] if layout == "audiofolder" else ["audio-features"])],
    }
    if layout == "tfds":
        return head
    pattern = huggingface.data_files if layout == "huggingface" else audiofolder.data_files
    files = [{"split": split, "path": pattern(split)} for split in written.rows]
    columns = [*_columns(source, layout)]
    # datasets takes the columns of an audiofolder from its tables, whatever the rest of the card says of them, unless
    # they stand among the settings.
    head["configs"] = [{"config_name": "default", "data_files": files, "features": columns}]
    head["dataset_info"] = {
        "features": columns,
        "splits": [
            {"name": split, "num_bytes": written.split_bytes[split], "num_examples": count}
            for split, count in written.rows.items()
        ],
    }
    return head


def _columns(source: SourceSet, layout: str) -> Iterable[dict[str, Any]]:
    """Yields the columns as `datasets.Features` are written in YAML."""
    label = {"class_label": {"names": source.manifest.classes}}
    shape, dtype = source.spec.shape, source.spec.storage_dtype
    if layout == "audiofolder":
        yield {"name": "audio", "dtype": "audio"}
    elif len(shape) == 2:
        yield {"name": "features", "dtype": {"array2_d": {"shape": list(shape), "dtype": dtype}}}
    else:
        yield {"name": "features", "list": dtype, "length": shape[0]}
    yield {"name": "label", "dtype": label}
    order = ("group", "partition", "path", "start") if layout == "audiofolder" else ("path", "start", "group")
    for name in order:
        yield {"name": name, "dtype": "int64" if name == "start" else "string"}


def _what(source: SourceSet, layout: str) -> list[str]:
    manifest = source.manifest
    kind = "The sounds" if layout == "audiofolder" else "Features"
    hours = manifest.counts["seconds"] / 3600
    clips = f"{manifest.counts['clips']:,} clips, {hours:,.2f} h before they were fitted"
    lines = [f"{kind} of {clips}, in {len(manifest.classes):,} classes, from state {manifest.state} of a set of "
             "features that soundmill computed."]  # fmt: skip
    if manifest.corrections:
        lines.append(f"Reviews have changed it: {corrections_text(manifest.corrections)}.")
    if source.empty:
        lines.append(f"Without clips, and so without a split: {', '.join(source.empty)}.")
    return lines


def _clips_table(source: SourceSet) -> list[str]:
    """Returns clips by class and split, and hours by split, as a table."""
    partitions = [name for name in source.manifest.partitions if name not in source.empty]
    grouped = source.clips.group_by(["label", "partition"]).aggregate([([], "count_all"), ("seconds", "sum")])
    cells = {(row["label"], row["partition"]): (row["count_all"], row["seconds_sum"]) for row in grouped.to_pylist()}

    def total(labels: Iterable[str], names: Iterable[str]) -> tuple[int, float]:
        held = [cells.get((label, name), (0, 0.0)) for name in names for label in labels]
        return sum(count for count, _ in held), sum(seconds or 0.0 for _, seconds in held)

    classes = source.manifest.classes
    rows = []
    for label in classes:
        counts = [total([label], [name])[0] for name in partitions]
        rows.append([markdown_text(label), *(f"{count:,}" for count in counts), f"{sum(counts):,}"])
    sums = [total(classes, [name]) for name in partitions]
    rows.append(["all", *(f"{count:,}" for count, _ in sums), f"{sum(count for count, _ in sums):,}"])
    hours = [seconds / 3600 for _, seconds in sums]
    rows.append(["hours", *(f"{part:,.3f}" for part in hours), f"{sum(hours):,.3f}"])
    return ["## Clips", "", markdown_table(["class", *map(split_name, partitions), "all"], rows)]


def _front_end(source: SourceSet) -> list[str]:
    spec, network = source.spec, source.manifest.network
    name = preset_name(spec)
    lines = [
        "## Front end",
        "",
        f"{f'Preset {name}' if name else 'A spec of its own'}; a clip has shape {spec.shape}, {spec.storage_dtype}. "
        f"Its fingerprint is `{spec.fingerprint}`.",
        "",
        "```toml",
        *(f"{key} = {_toml(value)}" for key, value in spec.to_dict().items()),
        "```",
    ]
    if network:
        name, licence, origin = (markdown_text(network[key] or "not given") for key in ("name", "licence", "source"))
        lines += ["", f"The network of the front end is {name}; its licence: {licence}; its source: {origin}."]
    return lines


def _read_tfds(source: SourceSet) -> list[str]:
    return [
        "```python",
        "import tensorflow_datasets as tfds",
        "",
        "builder = tfds.builder_from_directory(DIR)",
        'classes = builder.info.metadata["classes"]  # the labels are their names',
        f'clips = builder.as_dataset(split="{next(iter(source.shards))}")',
        "```",
    ]


def _read_huggingface(source: SourceSet) -> list[str]:
    split = next(iter(source.shards))
    shape = ", ".join(map(str, source.spec.shape))
    note = " datasets makes float32 of its float16, which changes no value." if _is_half(source) else ""
    return [
        f"Each needs the absolute path of this folder as `DIR`, or DIR's own name from the folder above.{note}",
        "",
        "```python",
        f'datasets.load_dataset(DIR, split="{split}").with_format("numpy")[:]["features"]  # (clips, {shape})',
        f'pandas.read_parquet(f"{{DIR}}/data", filters=[("label", "==", {source.manifest.classes[0]!r})])',
        f'polars.read_parquet(f"{{DIR}}/{huggingface.data_files(split)}")["features"].to_numpy()  # (clips, {shape})',
        f"""duckdb.sql(f"SELECT label, count(*) FROM '{{DIR}}/{huggingface.data_files(split)}' GROUP BY label")""",
        "```",
    ]


def _read_audiofolder(source: SourceSet) -> list[str]:
    split, table = next(iter(source.shards)), audiofolder.metadata_name(source)
    kind = table.rpartition(".")[2]
    return [
        "```python",
        f'datasets.load_dataset(DIR, split="{split}")  # audio, label and what else {table} has',
        f'pandas.read_{kind}(f"{{DIR}}/{split}/{table}")',
        f'polars.read_{kind}(f"{{DIR}}/{split}/{table}")',
        f"""duckdb.sql(f"SELECT label, count(*) FROM '{{DIR}}/{split}/{table}' GROUP BY label")""",
        "```",
    ]


_READ = {"tfds": _read_tfds, "huggingface": _read_huggingface, "audiofolder": _read_audiofolder}


def _left_out(source: SourceSet, written: Written) -> list[str]:
    """Returns how many recordings are not in it, by reason."""
    lines = ["## What is not in it", ""]
    known: dict[str, int] = source.manifest.counts["rejects"]
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(known.items()))
    lines.append(f"Rejected when the features were computed: {reasons or 'no file'}.")
    if written.rejects:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(written.reasons.items()))
        lines.append(f"Rejected when the sounds were published, see {audiofolder.REJECTS}: {reasons}.")
    return lines


def _is_half(source: SourceSet) -> bool:
    return source.spec.storage_dtype == "float16"


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and truth values, which TOML has as JSON does
