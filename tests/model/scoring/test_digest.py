import numpy as np
import pyarrow as pa

from model.scoring.digest import digest_of

PATHS = ["a.wav", "", "jä.wav", "b" * 300, "\\xff", ""]
NUMBERS = [0, 1, -1, 2**40, 7, 7]


def digest(paths: list[str], numbers: list[int], settings: object = ("x", 1.5)) -> str:
    return digest_of(settings, [pa.chunked_array([pa.array(paths, pa.string())]), np.array(numbers, np.int64)])


def test_chunks_and_slices_are_no_part_of_a_digest():
    expected = digest(PATHS, NUMBERS)
    within = pa.chunked_array([pa.array(["before", *PATHS[:2]]).slice(1), pa.array([], pa.string()),
                               pa.array([*PATHS[2:], "after"]).slice(0, 4)])  # fmt: skip
    assert digest_of(("x", 1.5), [within, pa.chunked_array([NUMBERS[:5], NUMBERS[5:]])]) == expected
    assert digest_of(("x", 1.5), iter([within, np.array([*NUMBERS, 3])[:-1]])) == expected


def test_what_differs_has_another_digest():
    there = [
        digest(PATHS, NUMBERS),
        digest(PATHS, NUMBERS, ("x", 1.25)),
        digest(PATHS, NUMBERS[::-1]),
        digest(PATHS[::-1], NUMBERS),
        digest(PATHS[:-1], NUMBERS),
        digest([*PATHS[:-2], "\\xf", "f"], NUMBERS),  # the same characters
        digest([*PATHS[:-2], "", "\\xff"], NUMBERS),
        digest([], []),
        digest([], [0]),
        digest([""], []),
        digest_of(("x", 1.5), []),
    ]
    assert len(set(there)) == len(there)
