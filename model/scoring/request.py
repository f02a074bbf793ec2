"""The request of a scoring, and what of it can be refused before anything is read."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from features.errors import UsageError
from features.frontend.windows import PAD
from features.io.filesystem import exists, is_uri
from features.sources.paths import absolute_path
from features.sources.policies import DEFAULTS, Policies
from features.sources.table_layout import TableLayout
from model.inference.artifact_description import ArtifactDescription
from model.inference.precision import PRECISIONS
from model.labels.allowed_labels import read_allowed_labels
from model.labels.events import DEFAULT_THRESHOLD, EventOptions
from model.labels.labels import LabelRules, check_top
from model.labels.table_output import check_table_name
from model.scoring.further_outputs import FurtherOutputs
from model.scoring.increment import is_ours
from model.scoring.job_folder import manifests_in
from model.scoring.options import ClipOptions, EmbeddingOptions
from model.scoring.output_files import OutputFiles
from model.scoring.recordings import ColumnOptions

AUTO = "auto"


@dataclass(frozen=True)
class Request:
    """The request of a scoring.

    Attributes:
        run: the run folder whose model labels.
        input: folder of recordings, one file, or table that names files.
        output: the file of labels, in the form that its name asks for.
        top: labels per window.
        threshold: labels less probable than it are left out, and events begin at it; `AUTO` for each class' own, as its
            training fitted it; where None, no label is left out, and events begin at 0.5.
        probabilities: whether a line has the probability of every class.
        only_labels: file of the labels that are allowed; all others are left out. None for all.
        clips: what is cut out of the recordings.
        embeddings: where embeddings are written, and as what.
        features: a feature set of the model's spec, whose features of the same clips are taken; None for none.
        events: which events are written, and where.
        labels: forms of files for each recording that other programs open, `SELECTION_FORMS`.
        table_layout: where a table says which files; nothing else is read from it.
        policies: whether truncated and silent files are used.
        overwrite: whether a file of labels that exists may be replaced.
        executor: name of what runs the network, or `auto`.
        network_precision: of the network, one of `model.inference.precision.PRECISIONS`.
        hop_seconds: from the start of a window to that of the next; a window where None.
        tail: what becomes of what remains behind the last whole window, one of `features.frontend.windows.TAILS`.
        min_window_seconds: how long the last of several windows is at least; a twentieth of a window where None.
        columns: that outputs have of each recording.
    """

    run: str
    input: str
    output: str
    top: int = 1
    threshold: float | str | None = None
    probabilities: bool = False
    only_labels: str | None = None
    clips: ClipOptions = field(default_factory=ClipOptions)
    embeddings: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    features: str | None = None
    events: EventOptions = field(default_factory=EventOptions)
    labels: Sequence[str] = ()
    table_layout: TableLayout = field(default_factory=TableLayout)
    policies: Policies = field(default_factory=lambda: dict(DEFAULTS))
    overwrite: bool = False
    executor: str = "auto"
    network_precision: str = PRECISIONS[0]
    hop_seconds: float | None = None
    tail: str = PAD
    min_window_seconds: float | None = None
    columns: ColumnOptions = field(default_factory=ColumnOptions)


def class_thresholds(request: Request, description: ArtifactDescription, default: float = 0.0) -> tuple[float, ...]:
    """Returns the threshold of each class, in their order: above 1 for one that has none, which gets no line.

    Args:
        request: of the scoring.
        description: of the artifact.
        default: where none is requested.

    Raises:
        UsageError: the threshold is no probability, or the artifact has no thresholds of its own.
    """
    if request.threshold == AUTO:
        own = description.calibration.thresholds
        if own is None:
            raise UsageError(
                f"--threshold {AUTO} takes the thresholds that a training fits on the clips it is validated on, and "
                f"{request.run} has none; train with validation clips, or give a probability, such as --threshold 0.5"
            )
        return tuple(math.inf if threshold is None else threshold for threshold in own.values())
    threshold = default if request.threshold is None else request.threshold
    if isinstance(threshold, str) or not 0 <= threshold <= 1:
        raise UsageError(f"--threshold is a probability from 0 to 1, or {AUTO}, not {threshold}")
    return (threshold,) * len(description.classes)


def label_rules(request: Request, description: ArtifactDescription) -> tuple[list[int], LabelRules]:
    """Returns the numbers of the classes that are allowed, and which lines a window has, as if there were no others.

    Raises:
        UsageError: a threshold, or the list of labels, cannot be used.
    """
    thresholds, classes = class_thresholds(request, description), description.classes
    allowed = list(range(len(classes)))
    if request.only_labels is not None:
        allowed = read_allowed_labels(request.only_labels, classes)
    return allowed, LabelRules(
        classes=[classes[number] for number in allowed],
        top=request.top,
        thresholds=[thresholds[number] for number in allowed],
        probabilities=request.probabilities,
    )


def further_outputs(
    request: Request, description: ArtifactDescription, allowed: Sequence[int], rules: LabelRules
) -> FurtherOutputs:
    """Returns what is written beside the labels; raises `UsageError` where options of events are not what they may be.

    Args:
        request: of the scoring.
        description: of the artifact.
        allowed: numbers of the classes that are allowed.
        rules: of these, which lines a window has.
    """
    thresholds = class_thresholds(request, description, DEFAULT_THRESHOLD)
    return FurtherOutputs(
        files=OutputFiles(absolute_path(request.output)),
        rules=rules,
        events=request.events.rules(rules.classes, [thresholds[number] for number in allowed]),
        events_path=request.events.path or "",
        embeddings=request.embeddings,
        forms=request.labels,
        high_hz=description.spec.sample_rate_hz / 2,
    )


def check(request: Request, further: FurtherOutputs) -> None:
    """Raises `UsageError` where a request cannot be carried out, or what is written beside the labels cannot be."""
    kind = "classes" if request.only_labels is None else "labels that --only-labels allows"
    check_top(request.top, further.rules.classes, kind)
    if os.path.isdir(request.output):
        raise UsageError(f"--output is a file of labels, but {request.output} is a folder")
    check_table_name("--output", request.output)
    files = further.files
    is_continued = exists(files.labels) and not request.overwrite
    if is_continued and not is_ours(files.manifest, files.parts):
        raise UsageError(f"{request.output} exists; give another --output, or --overwrite to replace it")
    if not is_uri(request.output) and not os.path.isdir(os.path.dirname(absolute_path(request.output))):
        raise UsageError(f"no folder for {request.output}; make {os.path.dirname(request.output)} first")
    further.check_inputs(path for path in (request.input, request.only_labels) if path is not None)
    # A run that was killed may have finished some outputs, the labels last; before the first its manifest lies there.
    may_replace = request.overwrite or bool(manifests_in(files.parts))
    if is_continued and request.clips.folder is not None and not may_replace:
        raise UsageError(f"--clips chooses among all windows, and {request.output} has some already, which are not "
                         "labelled again; give --overwrite, which scores everything anew")  # fmt: skip
    request.clips.check(request.input, may_replace)
    if request.clips.folder is not None:
        further.check_apart(request.clips.folder)
    further.check(may_replace or is_continued)
