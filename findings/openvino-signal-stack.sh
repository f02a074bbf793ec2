#!/usr/bin/env bash
# Expected: an `openvino.Core` and its networks leave nothing behind in the process when they are let go, in whatever thread the last of them goes.
# Seen (openvino 2026.4.1, Python 3.11.7, Linux x86-64): the thread that compiles the first network on the CPU gets another stack for signals
# (`sigaltstack`, 11,568 bytes here, by processor). If the core goes in that thread, the stack it had before is back. If it goes in another one, as by a
# pool of threads, a garbage collection, or a server's worker, the memory is unmapped and stays registered as the stack of the first thread.
# Who meets it: whoever loads networks in the main thread and lets them go elsewhere, such as notebooks and services. Python's handlers run on that stack,
# that of Ctrl-C too: the process then ends by a segmentation fault without a word from Python's faulthandler, which has the same stack; or, where
# something else was mapped at that place meanwhile, the signal writes into that. Far from OpenVINO: a test of ours died of it minutes later.
# Way out: let one core live as long as the process.
# This script looks at what is registered and whether it is mapped; it raises no signal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cat >"$folder/look.py" <<'PYTHON'
import ctypes
import gc
import platform
import sys
import threading
from importlib.metadata import version

sys.modules["openvino_telemetry"] = None
import openvino
from openvino import opset13


class Stack(ctypes.Structure):
    _fields_ = [("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def registered():
    """Returns where the main thread's stack for signals is, how large, and whether there is memory."""
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    if not stack.place:
        return "none"
    with open("/proc/self/maps") as file:
        parts = [[int(one, 16) for one in line.split()[0].split("-")] for line in file]
    mapped = any(begin <= stack.place and stack.place + stack.size <= end for begin, end in parts)
    return f"{stack.size} bytes, {'mapped' if mapped else 'not mapped'}"


def network():
    values = opset13.parameter([1, 4])
    return openvino.Model([opset13.relu(values)], [values])


where = sys.argv[1]
before = registered()
held = [openvino.Core()]
held.append(held[0].compile_model(network(), "CPU"))
while_there = registered()
if where == "the same":
    held.clear()
else:
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
gc.collect()
after = registered()
print(f"openvino {version('openvino')}, Python {platform.python_version()}, let go in {where} thread: {before}; {while_there}; {after}")
expected = "none" if where == "the same" else "not mapped"
sys.exit(not (before == "none" and while_there.endswith(", mapped") and after.endswith(expected)))
PYTHON
as_described="as described"
for where in "the same" "another"; do
  "$folder/env/bin/python" "$folder/look.py" "$where" || as_described="changed: this is not what was seen"
done
echo "$as_described"
[ "$as_described" = "as described" ]
