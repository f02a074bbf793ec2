"""Shows what is in a feature set, and what the front end makes of a file: python -m features.show."""

import features.runtime.interruption  # noqa: F401 - first: Ctrl-C while the others load is one line

# isort: split
import argparse
from typing import Any

from features.errors import UsageError
from features.frontend.presets import preset_name
from features.io.filesystem import Location
from features.pictures.comparison import compare, comparison_figures, comparison_lines
from features.pictures.drawing import check_picture, save
from features.runtime import command
from features.runtime.invocation import command_line
from features.runtime.quantities import duration_text
from features.runtime.visible import print_lines
from features.sources.rejects import rejects_sentence
from features.store.manifest import Manifest, load_manifest
from features.store.summary import Description, describe, figures_of, lines_of

EXAMPLE = "python -m features.show speech-features/ --output overview.png"
COMPARE_EXAMPLE = "python -m features.show speech-features/ --compare recording.flac --output compare.png"


def show_set(folder: str, manifest: Manifest, output: str | None) -> tuple[list[str], str, dict[str, Any]]:
    """Describes a feature set and draws it where a picture is requested.

    Args:
        folder: of the set.
        manifest: its committed state.
        output: the picture, or None.

    Returns:
        The lines of the description, the last paragraph and the figures.

    Raises:
        RunError: the clips table, or a shard that the picture needs, cannot be read.
    """
    description = describe(manifest.layout(folder), manifest)
    figures = figures_of(description)
    if output:
        from features.pictures.examples import load_examples
        from features.pictures.overview import draw_overview

        save(draw_overview(description, load_examples(description)), output)
        figures["picture"] = output
    return lines_of(description), _paragraph(description, output), figures


def _paragraph(description: Description, output: str | None) -> str:
    manifest = description.manifest
    spec = preset_name(manifest.spec) or "a spec of its own"
    paragraph = (
        f"{description.layout.root} holds {manifest.counts['clips']:,} clips in {len(manifest.classes):,} classes, "
        f"{duration_text(description.seconds)}, as features of shape {manifest.spec.shape} ({spec})."
    )
    paragraph += rejects_sentence(manifest.counts["rejects"], description.layout.path(manifest.rejects_file))
    if output:
        return f"{paragraph} Look at {output}."
    show = command_line("features.show", description.layout.root, "--output", "overview.png")
    return f"{paragraph} For a picture of it: {show}"


def show_file(path: str, manifest: Manifest, networks: Location, output: str) -> tuple[list[str], str, dict[str, Any]]:
    """Compares a file with what the front end of a set uses of it, and draws both.

    Args:
        path: of the file.
        manifest: whose spec is the front end.
        networks: where the set has its network.
        output: the picture.

    Returns:
        The lines of the comparison, the last paragraph and the figures.

    Raises:
        UsageError: the file cannot be used.
    """
    comparison = compare(path, manifest.spec, networks)
    # It loads matplotlib's parts: after what can be refused was refused.
    from features.pictures.comparison_picture import draw_comparison

    save(draw_comparison(comparison), output)
    paragraph = f"Of {path} the front end uses {comparison.fitted.seconds:,.3f} s at {comparison.fitted.rate_hz:,} Hz. "
    paragraph += f"Look at {output}, the original above what is used."
    return comparison_lines(comparison), paragraph, {**comparison_figures(comparison), "picture": output}


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Shows what is in a feature set, and how one file sounds to its front end.", EXAMPLE,
                            COMPARE_EXAMPLE)  # fmt: skip
    result.add_argument("features", metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument(
        "--output",
        metavar="PICTURE.png",
        help="draw a few clips per class, clips by class and durations; replaced if there",
    )
    result.add_argument(
        "--compare",
        metavar="FILE",
        help="instead: this file beside what the set's front end uses of it (with --output)",
    )
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Shows a set or a file."""
    if options.compare is not None and options.output is None:
        raise UsageError("--compare draws a picture; name it, e.g. --output compare.png")
    if options.output is not None:
        check_picture("--output", options.output)
    manifest = load_manifest(options.features)
    if options.compare is not None:
        lines, paragraph, figures = show_file(
            options.compare, manifest, manifest.layout(options.features).networks_folder, options.output
        )
    else:
        lines, paragraph, figures = show_set(options.features, manifest, options.output)
    print_lines(lines, end="\n\n")
    command.finish(options, paragraph, figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
