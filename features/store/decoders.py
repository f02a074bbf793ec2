"""Which decoder read a clip, as the clips table says, and whose rows are computed anew where another one is here.

A clip's decoder is `wav`, or the name and the version of a library or program: `libsndfile 1.2.2`, `ffmpeg 7.0.2`.
"""

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from features.audio.ffmpeg import decoder_name, find_ffmpeg
from features.audio.plain_wav import WAV
from features.store.versions import library_versions

RECOMPUTE, KEEP = "recompute", "keep"
CHOICES = (RECOMPUTE, KEEP)
# What counts of decoders call that of rows of a format version that did not note it.
UNKNOWN = "unknown"


def outdated(decoders: Iterable[str | None], choice: str | None = None) -> list[str | None]:
    """Returns those of some decoders whose rows are to be computed anew.

    Args:
        decoders: of rows, None where it is not known.
        choice: `recompute` the rows of any decoder that is not the one here, the unknown ones too; `keep` all; None
            for those of another version of ffmpeg alone, since these differ by more than rounding. Where no ffmpeg is
            here its rows are kept, as nothing could compute them.
    """
    if choice == KEEP:
        return []
    asked = [decoder for decoder in decoders if choice == RECOMPUTE or _is_ffmpeg(decoder)]
    return [decoder for decoder in asked if not is_here(decoder) and not (_is_ffmpeg(decoder) and not find_ffmpeg())]


def is_here(decoder: str | None) -> bool:
    """Returns whether this process would decode with the same version."""
    if decoder is None or decoder == WAV:
        return decoder == WAV
    if _is_ffmpeg(decoder):
        program = find_ffmpeg()
        return program is not None and decoder == decoder_name(program)
    return decoder == f"libsndfile {library_versions()['libsndfile']}"


def rows_of(decoders: pa.ChunkedArray, names: Iterable[str | None]) -> pa.ChunkedArray:
    """Returns for each row whether its decoder is one of these, of which None stands for an unknown one."""
    return pc.is_in(decoders, value_set=pa.array(list(names), pa.string()))


def count_decoders(decoders: pa.ChunkedArray) -> dict[str, int]:
    """Returns the number of rows by decoder, sorted."""
    counts = pc.value_counts(decoders).to_pylist()
    return dict(sorted((row["values"] or UNKNOWN, row["counts"]) for row in counts))


def kept_sentence(counts: Mapping[str, int], choice: str | None) -> str:
    """Returns what the last paragraph of a run says of rows that decoders have read which are not those here.

    Args:
        counts: rows by decoder.
        choice: what was requested for them.
    """
    others = {name: count for name, count in counts.items() if name == UNKNOWN or not is_here(name)}
    if not others:
        return ""
    kinds = ", ".join(f"{count:,} of {'an unknown one' if name == UNKNOWN else name}" for name, count in others.items())
    hint = "" if choice == RECOMPUTE else f": --changed-decoder {RECOMPUTE} computes them anew"
    return f" Rows of other decoders than those here are kept, {kinds}{hint}."


def _is_ffmpeg(decoder: str | None) -> bool:
    return decoder is not None and decoder.startswith("ffmpeg ")
