"""The file of a recording of Lhotse's that a clip can be a part of."""

from collections.abc import Sequence
from typing import Any

from features.errors import Reason
from features.io.filesystem import is_uri
from features.sources.formats.manifests import text

# It changes the rate alone, and soundmill brings each clip to the rate of its spec anyway.
_SAME_SOUND = "Resample"


class CutError(Exception):
    """A line of a manifest that no clip can be made of; its text follows `it is`."""

    def __init__(self, message: str, reason: Reason = Reason.BAD_ROW) -> None:
        """Keeps the reason code beside the message."""
        super().__init__(message)
        self.reason = reason


def recording_file(recording: dict[str, Any], part: dict[str, Any], channels: str | int) -> str:
    """Returns the file of a recording that has the channels of a part of it.

    A file is used with all its channels, of which the spec says what is taken: a part of one of them is the same where
    the file has no other, or the spec takes that one.

    Args:
        recording: as its manifest has it.
        part: a cut or a supervision, with a `channel`: a number, or several.
        channels: of the spec: `mean`, `loudest`, or the number of one from 1.

    Raises:
        CutError: no file has just these channels, or the sound is not that of a file.
    """
    for change in recording.get("transforms") or ():
        name = change.get("name") if isinstance(change, dict) else change
        if name != _SAME_SOUND:
            raise CutError(f"of a recording that Lhotse changes by {name!r} when it loads it, and a clip is a part of "
                           "a file as it is; save the recordings that were changed as files of their own")  # fmt: skip
    sources = recording.get("sources")
    if not isinstance(sources, list) or not sources or not all(isinstance(one, dict) for one in sources):
        raise CutError("of a recording without sources")
    wanted = _numbers(part.get("channel", 0))
    holding = [source for source in sources if set(wanted) & set(_numbers(source.get("channels", 0)))]
    if len(holding) != 1:
        raise CutError(f"of channels {_text(wanted)}, which are in {len(holding)} of the {len(sources)} files of its "
                       "recording, and a clip is a part of one file")  # fmt: skip
    there = _numbers(holding[0].get("channels", 0))
    if set(wanted) < set(there) and not (len(wanted) == 1 and channels == there.index(wanted[0]) + 1):
        way_out = f"; a spec with channels = {there.index(wanted[0]) + 1} uses it" if len(wanted) == 1 else ""
        raise CutError(f"of channel {_text(wanted)} of a file with the channels {_text(there)}, and a clip has all "
                       f"channels of its file, of which the spec's channels says what is used{way_out}")  # fmt: skip
    return _place(holding[0])


def _place(source: dict[str, Any]) -> str:
    kind, place = source.get("type"), source.get("source")
    if not isinstance(place, str) or not place:
        raise CutError("of a recording whose source is not a path")
    if kind == "file" or (kind == "url" and is_uri(place)):
        return place
    raise CutError(f"of a recording whose source is a {kind!r}, and a clip is a part of a file; Lhotse's save_audios "
                   "writes files")  # fmt: skip


def number_of(value: object, name: str) -> str:
    """Returns the text of a time; raises `CutError` where it is not there or not a number."""
    found = text(value)
    if not found or isinstance(value, str | bool):
        raise CutError(f"without a {name} in seconds: {value!r}")
    return found


def _numbers(value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    numbers = [one for one in values if isinstance(one, int) and not isinstance(one, bool)]
    if not values or len(numbers) < len(values):
        raise CutError(f"of channels that are not numbers: {value!r}")
    return numbers


def _text(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
