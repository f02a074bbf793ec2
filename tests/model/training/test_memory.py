"""What a training sets of the allocator after TensorFlow has set it otherwise."""

import ctypes
import sys

import pytest
import tensorflow as tf

from model.training.memory import MemoryKeeper, keep_freed_memory

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator is glibc's")
ASKED_BYTES = 20 * 2**20


def is_mapped() -> bool:
    """Whether so much memory is mapped on its own, as the size says that glibc keeps before it; it is never freed."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    return bool(ctypes.c_size_t.from_address(libc.malloc(ASKED_BYTES) - ctypes.sizeof(ctypes.c_size_t)).value & 2)


def test_after_the_first_batch_large_tensors_come_from_memory_that_is_kept():
    assert keep_freed_memory()
    assert not is_mapped()
    dataset = tf.data.Dataset.from_generator(lambda: iter(range(3)), output_signature=tf.TensorSpec((), tf.int64))
    next(iter(dataset))
    assert is_mapped(), "TensorFlow leaves the allocator alone: MemoryKeeper is not needed any more"
    MemoryKeeper().on_train_batch_end(1)
    assert is_mapped()
    MemoryKeeper().on_train_batch_end(0)
    assert not is_mapped()
