"""Labels a folder of recordings into a CSV or Parquet: python -m pipelines.score."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from features.io.filesystem import place
from features.runtime import command
from features.runtime.processes import parse_workers
from features.runtime.progress import AudioProgress, Progress
from features.runtime.quantities import counted
from features.sources.rejects import left_out_sentence, rejects_sentence, warnings_sentence
from features.sources.table_rows import TABLE_ENDINGS
from model.inference.executor import EXECUTORS
from model.inference.precision import PRECISIONS
from model.inference.run_store import MODEL_ALONE, local_run
from model.pages.document import check_page
from model.scoring.batches_in_turn import BatchesInTurn
from model.scoring.dry_run import describe
from model.scoring.job import PART_ENDING
from model.scoring.label_windows import LabelJob
from model.scoring.options import (
    add_clip_options,
    add_column_options,
    add_embedding_options,
    add_event_options,
    add_window_options,
    clip_options,
    column_options,
    embedding_options,
    event_options,
    events_sentence,
)
from model.scoring.outcome import lines_sentence, work_sentence
from model.scoring.output_files import OutputFiles
from model.scoring.plan import shortened_sentence
from model.scoring.planning import HeadersInTurn, PlanJob
from model.scoring.recordings import start_times_sentence
from model.scoring.request import AUTO, Request
from model.scoring.scorer import BatchSize, score
from pipelines.beam.follow import Units, follow
from pipelines.beam.options import beam_option_names, check_beam_options
from pipelines.local.units import LocalRun, local_units
from pipelines.options import (
    FILE_FIELDS,
    add_policies,
    add_table_options,
    add_work_options,
    chosen_policies,
    table_layout,
)

EXAMPLE = "python -m pipelines.score --model RUN --input recordings/ --output labels.csv"
# From so many windows on, two processes are sooner done than one, their start included.
_WINDOWS_THAT_PAY = 8_000
# And so many that the front end's network takes.
_NETWORK_WINDOWS_THAT_PAY = 300
# And so many headers, of plain WAV.
_FILES_THAT_PAY = 50_000


def label(
    job: LabelJob, batches: Mapping[int, BatchSize], *, local: LocalRun | None, beam_options: Sequence[str] = ()
) -> None:
    """Labels batches.

    Args:
        job: what labelling a batch takes beside its number.
        batches: size of each batch, by its number.
        local: what labels them on this machine, None where a runner of Beam does.
        beam_options: passed on to Beam.
    """
    windows = sum(size.windows for size in batches.values())
    network_windows = sum(size.network_windows for size in batches.values())
    pays = windows >= _WINDOWS_THAT_PAY or network_windows >= _NETWORK_WINDOWS_THAT_PAY
    runs = _runs(batches)
    # A batch is a few hundred windows at most: what is finished is progress enough.
    units = Units(
        folder=job.parts.folder,
        ending=PART_ENDING,
        weights={job.parts.unit_name(number): size.seconds for number, size in batches.items()},
        rejects=lambda name: [reject.reason for reject in job.parts.read_note(int(name)).rejects],
        elsewhere=local is None,
    )
    with follow(AudioProgress("score", sum(units.weights.values())), units):
        if local is not None:
            local.do(functools.partial(BatchesInTurn, job), runs, pays, job.lease, _load)
            return
        # Beam and its inference take a second to load: what can be refused was refused before.
        from pipelines.beam.label_windows import LabelWindows
        from pipelines.beam.runners import run_units

        run_units(LabelWindows(job), runs, beam_options, job.lease)


def _load() -> None:
    import scipy.fft  # noqa: F401  # the rest is loaded already, but for what runs the network, which starts threads
    import soundfile  # noqa: F401


def _runs(batches: Mapping[int, BatchSize]) -> list[list[int]]:
    """Returns the numbers of batches in lists: in one each goes on with the one before it, by the same process."""
    runs: list[list[int]] = []
    for number, size in batches.items():
        if size.goes_on and runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def read_headers(
    job: PlanJob, numbers: Sequence[int], *, local: LocalRun | None, beam_options: Sequence[str] = ()
) -> None:
    """Reads the headers of many files.

    Args:
        job: what they take.
        numbers: of the units to read.
        local: what reads them on this machine, None where a runner of Beam does.
        beam_options: passed on to Beam.
    """
    units = Units(
        folder=job.folder,
        ending=".parquet",
        weights={job.unit_name(number): job.num_files(number) for number in numbers},
        rejects=lambda name: job.reject_reasons(int(name)),
        elsewhere=local is None,
    )
    files = sum(units.weights.values())
    with follow(Progress("plan", files, "files"), units):
        if local is not None:
            local.do(functools.partial(HeadersInTurn, job), numbers, files >= _FILES_THAT_PAY, job.lease, _load)
            return
        from pipelines.beam.read_headers import ReadHeaders
        from pipelines.beam.runners import run_units

        run_units(ReadHeaders(job), numbers, beam_options, job.lease)


def threshold(text: str) -> float | str:
    """Reads the option: a number, or the word for each class' own."""
    return text if text == AUTO else float(text)


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser(
        "Labels a folder or table of recordings, or one file, into a table.",
        EXAMPLE,
        further=beam_option_names,
    )
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument(
        "--input", required=True, metavar="DIR|FILE|TABLE",
        help=f"recordings, or a table that names them ({' '.join(TABLE_ENDINGS)}); labels are not needed",
    )  # fmt: skip
    result.add_argument(
        "--output",
        required=True,
        metavar="LABELS.csv|.parquet|.jsonl",
        help="a line per window; rejects and warnings go beside it",
    )
    result.add_argument("--top", type=int, default=1, metavar="K", help="labels per window (%(default)s)")
    result.add_argument(
        "--threshold", type=threshold, metavar=f"P|{AUTO}",
        help=f"leave out labels less probable than this (0); {AUTO}: than their class' own, fitted by model.train",
    )  # fmt: skip
    result.add_argument("--probabilities", action="store_true", help="add a column for the probability of each class")
    result.add_argument(
        "--only-labels", metavar="FILE", help="allow the labels of a text file, one a line, and leave all others out"
    )
    add_event_options(result)
    add_embedding_options(result)
    add_clip_options(result)
    result.add_argument(
        "--features", metavar="FEATURES", help="take the features of clips that a set of the model's spec has already"
    )
    add_window_options(result)
    add_column_options(result)
    add_policies(result)
    result.add_argument("--report", metavar="FILE.html", help="write the page of the labels too, as model.report does")
    result.add_argument(
        "--dry-run", action="store_true", help="say what would be done and about how long it takes, and write nothing"
    )
    result.add_argument(
        "--overwrite", action="store_true",
        help="score everything anew where there is an output; without it what is new or changed is scored",
    )  # fmt: skip
    result.add_argument(
        "--executor", choices=("auto", *EXECUTORS), default="auto",
        help="what runs the network (openvino where it is installed, else litert)",
    )  # fmt: skip
    result.add_argument(
        "--network-precision", choices=PRECISIONS, default=PRECISIONS[0],
        help="int8: the network that model.quantize keeps in the run beside its own (%(default)s)",
    )  # fmt: skip
    add_work_options(result)
    add_table_options(result, "where a table says which files", FILE_FIELDS)
    return result


def main(options: argparse.Namespace, beam_options: list[str]) -> int:
    """Scores and prints what came of it."""
    workers = parse_workers(options.workers)
    check_beam_options(beam_options)
    if options.report is not None:
        check_page("--report", options.report)
    request = Request(
        run=options.model,
        input=options.input,
        output=options.output,
        top=options.top,
        threshold=options.threshold,
        probabilities=options.probabilities,
        only_labels=options.only_labels,
        clips=clip_options(options),
        features=options.features,
        events=event_options(options),
        labels=options.labels,
        embeddings=embedding_options(options),
        table_layout=table_layout(options),
        policies=chosen_policies(options),
        overwrite=options.overwrite,
        executor=options.executor,
        network_precision=options.network_precision,
        hop_seconds=options.hop_seconds,
        tail=options.tail,
        min_window_seconds=options.min_window_seconds,
        columns=column_options(options),
    )
    if options.dry_run:
        with local_run(options.model, MODEL_ALONE) as folder:
            lines, figures = describe(replace(request, run=folder), workers)
        command.finish(options, lines, figures)
        return command.exit_code(figures["rejected"], options.max_rejects)
    with local_units(workers, beam_options) as local, local_run(options.model, MODEL_ALONE) as folder:
        run = functools.partial(label, local=local, beam_options=beam_options)
        read = functools.partial(read_headers, local=local, beam_options=beam_options)
        figures = score(replace(request, run=folder), run, read)
    if options.report is not None:
        from model.pages.score_page import write_score_page  # which loads what makes pictures

        figures["report"] = write_score_page(options.output, None, options.report)
    outputs = OutputFiles(request.output)
    paragraph = work_sentence(figures)
    paragraph += shortened_sentence(figures["short_windows"], figures["min_window_seconds"], options.tail)
    paragraph += start_times_sentence(figures["start_times"])
    paragraph += warnings_sentence(figures["warnings"], place(outputs.warnings))
    paragraph += rejects_sentence(figures["rejects"], place(outputs.rejects)) + left_out_sentence(figures["left_out"])
    paragraph += lines_sentence(figures, options.threshold)
    if figures["classes_without_threshold"] and not figures["no_lines"]:
        paragraph += f" No line has a class without a threshold: {', '.join(figures['classes_without_threshold'])}."
    if request.features is not None:
        paragraph += f" {counted(figures['known_features'], 'file')} had features in {request.features}."
    paragraph += events_sentence(figures["events"] if figures["new"] else None, options.events, figures["kept"])
    paragraph += f" The labels are in {request.output}"
    paragraph += f", the embeddings in {options.embeddings}." if options.embeddings else "."
    if request.clips.folder is not None:
        paragraph += f" {counted(figures['cut_outs'], 'cut-out is', 'cut-outs are')} in {options.clips}."
    if options.report is not None:
        paragraph += f" Open {options.report} in a browser to see and hear what was found."
    command.finish(options, paragraph, figures)
    return command.exit_code(figures["rejected"], options.max_rejects)


if __name__ == "__main__":
    command.run(main, parser())
