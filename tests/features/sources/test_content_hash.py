import hashlib

import pytest
import xxhash

from features.sources.content_hash import content_hash, file_hash


@pytest.mark.parametrize("length", [0, 1, 240, 241, 100_000, 2**20 + 1])
def test_files_and_contents_have_the_same_hash_of_either_kind(tmp_path, length):
    content = bytes(range(256)) * (length // 256) + b"x" * (length % 256)
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    expected = f"xxh3-{xxhash.xxh3_128(content).hexdigest()}"
    assert content_hash(content) == file_hash(str(path)) == expected
    assert content_hash(content, like=expected) == file_hash(str(path), like=expected) == expected
    older = hashlib.blake2b(content, digest_size=16).hexdigest()
    assert content_hash(content, like=older) == file_hash(str(path), like=older) == older


def test_the_published_value_of_nothing():
    """XXH3_128bits of an empty input, as its specification has it."""
    assert content_hash(b"") == "xxh3-99aa06d3014798d86001c324468d497f"
