"""What travels inside an export: rate, length, classes, temperature, thresholds and the spec, as JSON."""

import json

from features.frontend.spec import FeatureSpec
from model.inference.artifact import Artifact

FORMAT_NAME = "soundmill-export"
FORMAT_VERSION = 2  # 1 had no temperature and no thresholds


def before_head(spec: FeatureSpec) -> list[str]:
    """Returns what becomes of a clip before the head has it, a sentence a step, of a front end that runs a network."""
    length = "A clip keeps its length."
    if spec.clip_seconds is not None:
        length = (f"A clip of {spec.clip_seconds:g} s is taken, {spec.clip_samples:,} samples: of a longer one its "
                  f"{spec.crop}, a shorter one gets zeros at its end.")  # fmt: skip
    output = f"the tensor {spec.network_output!r}" if spec.network_output else "its only output"
    pooled = {None: "All of them are features, in their order.", "mean": "The features are their mean.",
              "max": "The features are the largest of each value."}  # fmt: skip
    steps = [
        f"A recording becomes one channel ({spec.channels}) at {spec.sample_rate_hz:,} Hz, by soxr "
        f"({spec.resample_quality}).",
        length,
        f"Windows of {spec.window_samples:,} samples begin every {spec.hop_samples:,} samples; the last one gets zeros "
        "at its end.",
        f"The network takes each window, and {output} has {spec.embedding_size:,} values of it. Its file, of the form "
        f"{spec.network_format}, is {spec.network_name} in the folder networks of the run's model, named by its "
        "SHA-256.",
        pooled[spec.pool],
    ]
    if spec.input_scale is not None:
        steps.insert(3, f"Samples, full scale at 1, are multiplied by {spec.input_scale:g}.")
    return [*steps, f"The type of features is {spec.storage_dtype}."]


def describe(artifact: Artifact) -> str:
    """Returns what the user of an export has to know, as JSON."""
    content = {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "sample_rate_hz": artifact.spec.sample_rate_hz,
        "clip_samples": artifact.spec.clip_samples,
        "classes": artifact.classes,
        "network": artifact.network_name,
        "returns_logits": artifact.returns_logits,
        **artifact.calibration.to_dict(),
        "network_sha256": artifact.digest,
        "spec": artifact.spec.to_dict(),
        "fingerprint": artifact.spec.fingerprint,
        **({} if artifact.spec.network_name is None else {"before": before_head(artifact.spec)}),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
