"""What a training sets of the allocator after TensorFlow has set it otherwise."""

import subprocess
import sys

import pytest

# In a process of its own: TensorFlow sets it once. Memory of the size asked for is never freed, so whether it is mapped
# on its own follows from the threshold alone; glibc keeps that as the second bit of the size before what malloc gives.
PROGRAM = """
import ctypes, tensorflow as tf
from model.training.memory import MemoryKeeper, keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

def is_mapped():
    return bool(ctypes.c_size_t.from_address(libc.malloc(20 * 2**20) - ctypes.sizeof(ctypes.c_size_t)).value & 2)

assert keep_freed_memory()
print(is_mapped())
next(iter(tf.data.Dataset.from_generator(lambda: iter(range(3)), output_signature=tf.TensorSpec((), tf.int64))))
print(is_mapped())
MemoryKeeper().on_train_batch_end(1)
print(is_mapped())
MemoryKeeper().on_train_batch_end(0)
print(is_mapped())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator is glibc's")
def test_after_the_first_batch_large_tensors_come_from_memory_that_is_kept():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["False", "True", "True", "False"], done.stderr
