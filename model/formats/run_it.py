"""The lines of Python that run an export without soundmill, as its card and the page of this folder show them."""

import json
import os

from features.frontend.spec import LOUDEST, MEAN, FeatureSpec

# Of each runtime: what is imported, how the description is read, and how probabilities are computed. {name} is the
# input's, the others are literals.
_RUNTIMES = {
    "saved_model": (
        ["import json", "from pathlib import Path", "", "import numpy as np", "import soundfile",
         "import tensorflow as tf"],
        ['loaded = tf.saved_model.load({folder})',
         'model = json.loads(Path({description}).read_text(encoding="utf-8"))'],
        'probabilities = loaded.signatures["serving_default"]({name}={name})["probabilities"].numpy()',
    ),
    "litert": (
        ["import json", "import zipfile", "", "import numpy as np", "import soundfile",
         "from ai_edge_litert.interpreter import Interpreter"],
        ['run = Interpreter({tflite}).get_signature_runner()',
         'model = json.loads(zipfile.ZipFile({tflite}).read("soundmill.json"))'],
        'probabilities = run({name}={name})["probabilities"]',
    ),
    "onnx": (
        ["import json", "", "import numpy as np", "import onnxruntime", "import soundfile"],
        ['session = onnxruntime.InferenceSession({onnx})',
         'model = json.loads(session.get_modelmeta().custom_metadata_map["soundmill"])'],
        '(probabilities,) = session.run(["probabilities"], {{"{name}": {name}}})',
    ),
}  # fmt: skip
_RUNTIMES["litert-int8"] = _RUNTIMES["litert"]


def run_it(format_name: str, spec: FeatureSpec, folder: str = ".") -> str:
    """Returns the lines of Python that label a file, `clip.wav`, by an export, without any of our code.

    Args:
        format_name: of the export.
        spec: its front end; where that runs a network of its own, the lines begin with features.
        folder: the export; without it, the current one.
    """
    imports, load, call = _RUNTIMES[format_name]
    name, given = "waveforms", _waveforms(spec)
    if spec.network_name is not None:
        name, given = "features", [f"features = np.zeros((1, {', '.join(map(str, spec.shape))}), np.float32)  # yours"]
        imports = [line for line in imports if line != "import soundfile"]
    last = ["best = probabilities[0].argmax()", 'print(model["classes"][best], probabilities[0, best])']
    files = {"description": "assets/soundmill.json", "tflite": "model.tflite", "onnx": "model.onnx"}
    places = {"folder": folder} | {key: os.path.normpath(os.path.join(folder, file)) for key, file in files.items()}
    # A literal of JSON is one of Python. Braces are doubled where the text has some of its own.
    literals = {key: json.dumps(place, ensure_ascii=False) for key, place in places.items()}
    written = [line.format(name=name, **literals) for line in (*load, call)]
    return "\n".join([*imports, "", *written[:-1], *given, written[-1], *last, ""])


def _waveforms(spec: FeatureSpec) -> list[str]:
    """Returns the lines that make a batch of one clip of a file, as the front end of the spec does."""
    lines = ['samples, rate_hz = soundfile.read("clip.wav", dtype="float32", always_2d=True)',
             'assert rate_hz == model["sample_rate_hz"], "resample it first"']  # fmt: skip
    if spec.clip_samples is not None:
        cut = ': model["clip_samples"]'
        if spec.crop == "centre":
            lines.append('begin = max(0, len(samples) - model["clip_samples"]) // 2')
            cut = 'begin : begin + model["clip_samples"]'
        lines.append(f"samples = samples[{cut}]")
    if spec.channels == MEAN:
        lines.append("samples = samples.mean(axis=1)")
    elif spec.channels == LOUDEST:
        lines.append("samples = samples[:, (samples.astype(float) ** 2).sum(axis=0).argmax()]")
    else:
        lines.append(f"samples = samples[:, {int(spec.channels) - 1}]")
    if spec.clip_samples is None:
        return [*lines, "waveforms = samples[np.newaxis]"]
    return [*lines, 'waveforms = np.zeros((1, model["clip_samples"]), np.float32)',
            "waveforms[0, : len(samples)] = samples"]  # fmt: skip
