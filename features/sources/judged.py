"""What judgements make of one clip of a source, or of one window of a recording."""

from dataclasses import dataclass, field

from features.errors import UsageError
from features.sources.judged_recordings import Recording
from features.sources.review import Judgement
from features.sources.table_times import frame_at

# Six digits of a second, and a table's start and end that were rounded one by one, may move an end by one frame.
_END_FRAMES = 1


@dataclass
class Judged:
    """A clip of a source, or a window of one of its recordings that is no clip yet, and what was said of it.

    Attributes:
        source: names the source.
        start: first frame within the recording.
        end: frame after the last one, None at the end of the recording.
        number: of the clip in the source, None of a window.
        label: of the clip in the source, None of a window.
        decided: the first judgement that says which label it has, or that the clip is left out; None without one.
        refuted: of a window, the first judgement by each label that it does not have.
    """

    source: str
    start: int
    end: int | None
    number: int | None = None
    label: str | None = None
    decided: Judgement | None = None
    refuted: dict[str, Judgement] = field(default_factory=dict)

    @property
    def outcome(self) -> str | None:
        """The label that it has by what was said; None for a clip that is left out, and a window that is not added."""
        return None if self.decided is None else self.decided.outcome

    @property
    def is_relabelled(self) -> bool:
        """Whether it has another label than the source says."""
        return self.outcome is not None and self.outcome != self.label

    def take(self, judgement: Judgement, recording: Recording) -> None:
        """Takes a judgement of it.

        Raises:
            UsageError: it is of a part with another end that would become a clip as well, of a label that the clip
                does not have, or disagrees with an earlier one.
        """
        if not self._has_end(judgement, recording):
            return
        if self.number is None:
            self._take_of_window(judgement)
            return
        if judgement.label not in (self.label, self.outcome):
            changed = self.decided if self.is_relabelled else None
            by, label = (self.source, self.label) if changed is None else (changed.where, self.outcome)
            raise UsageError(f"{judgement.where}: {judgement.label!r} was judged of {judgement.part}, and by {by} that "
                             f"has the label {label!r}; judge a page of this set, or leave the line out")  # fmt: skip
        if self.decided is not None and self.outcome != judgement.outcome:
            self.decided.refuse(judgement)
        self.decided = self.decided or judgement

    def _take_of_window(self, judgement: Judgement) -> None:
        outcome = judgement.outcome
        if outcome is not None and outcome in self.refuted:
            self.refuted[outcome].refuse(judgement)
        if self.decided is not None:
            is_refuted = not judgement.is_right and judgement.label == self.outcome
            if is_refuted or outcome not in (self.outcome, None):
                self.decided.refuse(judgement)
        if not judgement.is_right:
            self.refuted.setdefault(judgement.label, judgement)
        if outcome is not None:
            self.decided = self.decided or judgement

    def _has_end(self, judgement: Judgement, recording: Recording) -> bool:
        """Returns whether what was judged ends where this does; else it begins at the same frame and is no clip.

        Raises:
            UsageError: it is not, and would have to become one.
        """
        rate_hz, frames = recording.rate_hz, recording.frames
        end = frames if self.end is None else min(self.end, frames)
        if abs(min(end_frame(judgement, rate_hz), frames) - end) <= _END_FRAMES:
            return True
        if judgement.outcome is None:
            return False
        earlier = self.decided or next(iter(self.refuted.values()), None)
        by = self.source if self.number is not None or earlier is None else earlier.where
        raise UsageError(f"{judgement.where}: {judgement.part} is not a clip of {self.source}, and cannot become one: "
                         f"what begins there ends at {end / rate_hz:.6f} by {by}, and a path and a start name one "
                         "clip; leave the line out")  # fmt: skip


def end_frame(judgement: Judgement, rate_hz: int) -> int:
    """Returns the frame after the last one of what was judged, which has one at least."""
    return max(frame_at(judgement.start_seconds, rate_hz) + 1, frame_at(judgement.end_seconds, rate_hz))
