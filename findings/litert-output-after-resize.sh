#!/usr/bin/env bash
# Expected: after `resize_tensor_input` and `allocate_tensors`, get_output_details() tells the shape that the outputs will have, and get_tensor
# gives nothing useful before `invoke`. So one reads the outputs' shape there and allocates for it, as for inputs.
# Seen (ai-edge-litert 2.3.0, Python 3.11.7, Linux x86-64; with and without XNNPACK), with a public network whose batch axis is free:
# the outputs keep the shape of the last `invoke`, or of the file, until the next `invoke`. A batch of 4 shows 1, then a batch of 2 shows 4. In
# between get_tensor gives, for a batch of 2, the four rows of the run before, without an error; before the first run it says "Tensor
# data is null. Run allocate_tensors() first", just after allocate_tensors(). Inputs show the new batch at once.
# Not so for every network: outputs that lie before the first RESHAPE to a computed shape (SHAPE, STRIDED_SLICE, PACK, as Keras' layers give
# where the batch is free) have the new batch after allocate_tensors(). So a test with a plain network of convolutions shows nothing.
# Where from: what such an operation gives is a dynamic tensor, whose shape and memory LiteRT settles when it runs.
# Way out: ask for shapes after `invoke`, or put the batch in the place of the -1 in `shape_signature`; check the rows of what get_tensor gives.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check ai-edge-litert==2.3.0 numpy==2.4.6
# 0.8 MB that hold the network; its package would bring TensorFlow.
"$folder/env/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$folder" basic-pitch==0.4.0
"$folder/env/bin/python" - "$folder"/basic_pitch-*.whl <<'PYTHON'
import platform
import sys
import zipfile
from importlib.metadata import version

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray, read_model_from_bytearray

network = zipfile.ZipFile(sys.argv[1]).read("basic_pitch/saved_models/icassp_2022/nmp.tflite")


def batches(content, sizes, resolver):
    """Returns, for batches one after another, the batch by the details before the run, by get_tensor before it, and by both after it."""
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]

    def shown():
        return int(interpreter.get_output_details()[0]["shape"][0])

    def held():
        try:
            return len(interpreter.get_tensor(given))
        except ValueError as error:
            return str(error)

    for size in sizes:
        batch = np.full([size, *taken["shape"][1:]], 0.1, np.float32)
        interpreter.resize_tensor_input(taken["index"], batch.shape, strict=True)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], batch)
        before = shown(), held()
        interpreter.invoke()
        yield size, int(interpreter.get_input_details()[0]["shape"][0]), *before, shown(), held()


def with_first_output(content):
    """Returns the network with what its first operation gives, a RESHAPE to a constant shape, as its only output."""
    model = read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    graph.outputs = [int(graph.operators[0].outputs[0])]
    model.signatureDefs = []
    return bytes(convert_object_to_bytearray(model))


print(f"ai-edge-litert {version('ai-edge-litert')}, Python {platform.python_version()}, {platform.machine()}")
NULL = "Tensor data is null. Run allocate_tensors() first"
as_described = True
for title, resolver in {"XNNPACK": OpResolverType.AUTO, "no XNNPACK": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}.items():
    seen = list(batches(network, (4, 2, 8), resolver))
    for size, _, details, tensor, later, result in seen:
        print(f"{title}, batch of {size}: details {details}, get_tensor {tensor!r}; after invoke {later} and {result}")
    as_described &= seen == [(4, 4, 1, NULL, 4, 4), (2, 2, 4, 4, 2, 2), (8, 8, 2, 2, 8, 8)]
    details = [row[2] for row in batches(with_first_output(network), (4, 2, 8), resolver)]
    print(f"{title}, an output before the first such RESHAPE: details {details}")
    as_described &= details == [4, 2, 8]
sys.exit(not as_described)
PYTHON
