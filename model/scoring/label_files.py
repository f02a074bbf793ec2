"""Labels files of a list and keeps all that comes of them in memory, as scoring labels a folder of them into a CSV."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from features.errors import Reject, UsageError
from features.frontend.windows import Windowing
from features.runtime.invocation import command_line
from features.sources.paths import clip_file
from model.inference.executor import Executor
from model.labels.window_rows import WindowRows, concatenate, no_windows
from model.scoring.label_windows import label_windows
from model.scoring.outcome import file_warnings
from model.scoring.plan import Batch, plan_batches


@dataclass(frozen=True)
class LabelledFiles:
    """What came of some files, in their order.

    Attributes:
        rows: the windows of every file that is not rejected.
        rejects: files that cannot be used.
        warnings: of files that were labelled all the same; a file may have several.
    """

    rows: WindowRows
    rejects: list[Reject]
    warnings: list[Reject]


def label_files(
    network: Executor, paths: Sequence[str], windowing: Windowing, embeddings: str | None = None
) -> LabelledFiles:
    """Labels every window of some files.

    Args:
        network: which labels them.
        paths: of the files, escaped.
        windowing: where windows begin, and which last one is kept.
        embeddings: type of the embeddings that windows get, None for none.

    Raises:
        UsageError: a path is not that of a file.
    """
    check_files(paths)
    plan = plan_batches("", paths, network.spec, windowing)
    labelled = label_batches(network, plan.batches(), windowing, embeddings)
    rejects = {reject.path: reject for reject in chain(plan.rejects, labelled.rejects)}
    in_order = [rejects[path] for path in dict.fromkeys(paths) if path in rejects]
    return LabelledFiles(labelled.rows, in_order, labelled.warnings)


def label_batches(
    network: Executor, batches: Iterable[Batch], windowing: Windowing, embeddings: str | None = None
) -> LabelledFiles:
    """Labels the files of planned batches; a file is labelled as a whole or not at all."""
    batches = list(batches)
    labels = [label_windows(network, "", batch, windowing, embeddings) for batch in batches]
    pieces = [part.rows([unit.path for unit in batch]) for part, batch in zip(labels, batches, strict=True)]
    rejects: dict[str, Reject] = {}
    for reject in chain(*(part.rejects for part in labels)):
        rejects.setdefault(reject.path, reject)
    units = Counter(unit.path for unit in chain(*batches))
    warnings = file_warnings(chain(*(part.warnings for part in labels)), units)
    return LabelledFiles(
        rows=concatenate([no_windows(network.classes), *pieces]).without(rejects.keys()),
        rejects=list(rejects.values()),
        warnings=[warning for warning in warnings if warning.path not in rejects],
    )


def check_files(paths: Iterable[str]) -> None:
    """Raises `UsageError` for the escaped path of a folder, a pipe or a device, or what cannot be a path."""
    for path in paths:
        file = clip_file("", path)
        if "\0" in file:
            raise UsageError(f"{path!r} cannot be the path of a file: it holds a null character")
        if os.path.isdir(file):
            score = command_line("pipelines.score", "--input", path)
            raise UsageError(f"{path} is a folder; label its files with {score}")
        if os.path.exists(file) and not os.path.isfile(file):
            raise UsageError(f"{path} is a pipe or a device, which cannot be read twice; write it to a file")
