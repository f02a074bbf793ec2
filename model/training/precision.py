"""Training in bfloat16, where the processor computes in it; the network that is kept is float32 whatever it was."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from features.errors import UsageError

if TYPE_CHECKING:
    import keras

FLOAT32, MIXED_BFLOAT16 = "float32", "mixed_bfloat16"
# As Linux names what x86 and ARM processors can; TensorFlow computes in bfloat16 elsewhere too, many times slower.
_FLAGS = re.compile(r"\b(avx512_bf16|amx_bf16|bf16)\b")
_CPUINFO, _NVIDIA = "/proc/cpuinfo", "/dev/nvidia0"


def computes_bfloat16(cpuinfo: str = _CPUINFO, accelerator: str = _NVIDIA) -> bool:
    """Returns whether this machine multiplies bfloat16 in hardware, by its processor or an NVIDIA accelerator.

    Args:
        cpuinfo: file in which Linux says what the processor can.
        accelerator: device that is there where an accelerator is.
    """
    try:
        with open(cpuinfo, encoding="utf-8") as file:
            return bool(_FLAGS.search(file.read())) or os.path.exists(accelerator)
    except OSError:
        return os.path.exists(accelerator)


def check_precision(precision: str) -> None:
    """Raises `UsageError` where this machine would compute in a precision that it has not."""
    if precision == MIXED_BFLOAT16 and not computes_bfloat16():
        raise UsageError(
            f"--precision {MIXED_BFLOAT16} takes a processor with AVX-512 BF16, AMX or ARM's BF16, or an accelerator, "
            f"and this machine has none of them; leave it out, which is {FLOAT32}"
        )


@contextlib.contextmanager
def building_in(precision: str) -> Iterator[None]:
    """Has Keras build layers that compute in a precision; their weights are float32."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def with_float32_outputs(model: "keras.Model") -> "keras.Model":
    """Returns a network whose outputs are float32, in which losses are computed; it shares the other's layers."""
    import keras

    outputs = keras.layers.Activation("linear", dtype=FLOAT32, name="float32")(model.outputs[0])
    return keras.Model(model.inputs, outputs, name=model.name)
