"""The formats of exports, by their names."""

import importlib.util
from dataclasses import dataclass

from features.errors import UsageError


@dataclass(frozen=True)
class ExportFormat:
    """A format that networks are exported in.

    Attributes:
        name: by which it is chosen.
        file: in the folder of an export, which tells that it is one.
        runtime: that runs it; see `model.formats.runtime_process`.
        extra: of this project, which brings `packages`; None where nothing has to be added.
        packages: that it takes, as they are imported.
    """

    name: str
    file: str
    runtime: str
    extra: str | None = None
    packages: tuple[str, ...] = ()


SAVED_MODEL, LITERT, LITERT_INT8, ONNX = "saved_model", "litert", "litert-int8", "onnx"
FORMATS = {
    chosen.name: chosen
    for chosen in (
        ExportFormat(SAVED_MODEL, "saved_model.pb", "saved_model"),
        ExportFormat(LITERT, "model.tflite", "litert"),
        ExportFormat(LITERT_INT8, "model.tflite", "litert", "quantize", ("ai_edge_quantizer",)),
        ExportFormat(ONNX, "model.onnx", "onnx", "onnx", ("onnx", "onnxruntime", "tf2onnx")),
    )
}


def export_format(name: str) -> ExportFormat:
    """Returns the format of a name.

    Raises:
        UsageError: there is none, or a package that it takes is not installed.
    """
    if name not in FORMATS:
        raise UsageError(f"no format {name!r}; there are {', '.join(FORMATS)}")
    chosen = FORMATS[name]
    missing = [package for package in chosen.packages if not importlib.util.find_spec(package)]
    if missing:
        raise UsageError(f"--format {name} takes {missing[0].replace('_', '-')}, which is not installed: "
                         f"pip install 'soundmill[{chosen.extra}]'")  # fmt: skip
    return chosen
