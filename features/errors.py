"""What can go wrong: errors that end a run, and reasons for which a single clip is left out."""

import enum
from dataclasses import dataclass


def one_line(error: object) -> str:
    """Returns what an error of a library says, on one line; its class where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class SoundmillError(Exception):
    """Ends a run with one clear line; `exit_code` is what the command returns."""

    exit_code = 1


class RunError(SoundmillError):
    """The run failed after it began: disk full, a dead worker, a concurrent commit (exit code 1)."""


class PassingError(RunError):
    """What failed may succeed when it is tried again, or on another host: a process that cannot be started."""


class UsageError(SoundmillError):
    """The command line, the spec or the input cannot be used as it is (exit code 2)."""

    exit_code = 2


class Reason(enum.StrEnum):
    """Why a file could not be used. The list is closed: tables and scripts may rely on it."""

    UNREADABLE = "unreadable"
    NOT_AUDIO = "not_audio"
    UNSUPPORTED_CODEC = "unsupported_codec"
    DAMAGED = "damaged"
    DECODER_DIED = "decoder_died"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    TOO_SHORT = "too_short"
    TOO_FEW_CHANNELS = "too_few_channels"
    NOT_FINITE = "not_finite"
    SILENT = "silent"
    BAD_LABEL = "bad_label"
    BAD_ROW = "bad_row"
    MISSING = "missing"
    PERMISSION = "permission"
    VANISHED = "vanished"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY_GUARD = "out_of_memory_guard"


# The warning of a file whose header and bytes disagree on how much sound it holds, where none is known to be lost.
WRONG_SIZE = "wrong_size"
# The warning of a recording whose channels cancel each other in their mean, of which a spec can take one instead.
CHANNELS_CANCEL = "channels_cancel"
# That of a file in which another recording follows the one that is used, or the links of it that are.
JOINED = "joined"
# Those of when a recording began: its name and its header say different times, clocks were set back to it, or over it.
TIMES_DISAGREE = "times_disagree"
AMBIGUOUS_TIME = "ambiguous_time"
NONEXISTENT_TIME = "nonexistent_time"


# Causes that may pass with time: such a file is tried again although it has not changed.
RETRYABLE = frozenset(
    {Reason.MISSING, Reason.PERMISSION, Reason.UNREADABLE, Reason.VANISHED, Reason.TIMEOUT}
    | {Reason.OUT_OF_MEMORY_GUARD, Reason.DECODER_DIED}
)


# Another decoder may accept these, or find more in them.
DECODER_DEPENDENT = frozenset(
    {Reason.UNSUPPORTED_CODEC, Reason.DAMAGED, Reason.NOT_AUDIO, Reason.TRUNCATED, Reason.EMPTY}
)
NOT_FINITE_FEATURES = "its samples are so large that its features are not finite numbers"


class ClipError(Exception):
    """One clip cannot be used; the run continues and the clip becomes a `Reject`.

    Args:
        stage: where it happened: `scan`, `decode`, `fit` or `features`.
        reason: one of the closed list of reason codes.
        message: what was met, for people.
    """

    def __init__(self, stage: str, reason: Reason, message: str) -> None:
        """Keeps the three parts and makes the message the exception's text."""
        super().__init__(message)
        self.stage = stage
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Reject:
    """A file, or a clip of one, that could not be used, as it stands in the tables of rejects.

    Attributes:
        path: relative to the root, as `features.sources.folder.escape_path` writes it.
        stage: where it happened.
        reason: reason code.
        message: what was met, for people.
        start: first frame of the clip within the file.
        duration: frames of the clip, None for all that follow.
        size: bytes of the file when it was listed, None where it was not known.
        mtime_ns: its modification time then.
        content_hash: hash of its content, None where it was not read.
        label: name of its class, None where it has none.
        version: what an object store calls its content, see `features.sources.clips.Clip`.
    """

    path: str
    stage: str
    reason: str
    message: str
    start: int = 0
    duration: int | None = None
    size: int | None = None
    mtime_ns: int | None = None
    content_hash: str | None = None
    label: str | None = None
    version: str | None = None


class NothingUsableError(UsageError):
    """The input names files, and none of them can be used.

    Attributes:
        rejects: why, for each.
    """

    def __init__(self, message: str, rejects: list[Reject]) -> None:
        """Keeps the rejects beside the message."""
        super().__init__(message)
        self.rejects = rejects
