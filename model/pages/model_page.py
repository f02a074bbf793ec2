"""The page of a model: how good it is, what it gets wrong, seen and heard, and where it comes from."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from features.sources.paths import escape_path
from model.evaluation.tested_folds import is_cross_validation
from model.inference.artifact import read_description
from model.inference.run_store import local_run
from model.pages.clip_cards import MOST_MISTAKES, Cards, choose_clips, make_cards
from model.pages.document import check_page, render, write_page
from model.pages.model_comparison import compare_models
from model.pages.model_figures import measured, thresholds
from model.pages.run_description import curves, provenance
from model.pages.set_description import describe_set, labels_to_choose
from model.pages.tested_clips import TestedClips, first_run, predict_clips, trained_set

# Of a run in a store, what a page is made of.
_NEEDED = ("model/", "config.json", "history.csv", "noise.parquet")


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        html: the text of its file.
        figures: what it says, ready for JSON.
    """

    html: str
    figures: dict[str, Any]


def write_model_page(
    run: str,
    features: str | None,
    output: str,
    test_on: tuple[str, ...] | None = None,
    compare: str | None = None,
    most_mistakes: int = MOST_MISTAKES,
) -> dict[str, Any]:
    """Writes the page of a model into a file; see `build_model_page`.

    Args:
        run: a run folder, its URI, or the folder of a cross-validation.
        features: a feature set; None for the one that the run was trained on.
        output: the file or the object of a store, which is replaced if it is there; its name ends in .html.
        test_on: partitions to test on; None for those that the run names, or testing.
        compare: another run on the same clips.
        most_mistakes: how many mistakes can be seen and heard.

    Returns:
        The figures.

    Raises:
        UsageError: a run or the set cannot be used, they do not fit each other, or no page can be written there.
        RunError: a shard is missing or damaged.
    """
    check_page("--output", output)
    page = build_model_page(run, features, test_on, compare, most_mistakes)
    return {**page.figures, "bytes": write_page(output, page.html), "output": output}


def build_model_page(
    run: str,
    features: str | None,
    test_on: tuple[str, ...] | None = None,
    compare: str | None = None,
    most_mistakes: int = MOST_MISTAKES,
) -> Page:
    """Makes the page of a model; the arguments and what is raised are those of `write_model_page`."""
    with _tested(run, features, test_on) as clips:
        comparison, compared = None, []
        if compare is not None:
            # The same set where its spec is that of the other run, too; else each has its own.
            with _tested(compare, features, test_on, beside=clips) as other:
                comparison = compare_models(clips, other, (run, compare))
            compared = [number for name in ("won", "lost") for number, *_ in comparison[name]["shown"]]
        numbers = choose_clips(clips.predictions, clips.all_classes, most_mistakes, compared)
        cards = make_cards(clips, numbers)
        data = _page_data(clips, cards, run, comparison)
    return Page(render("model.html.j2", data, ("model.js",)), _figures(data))


@contextlib.contextmanager
def _tested(
    run: str, features: str | None, test_on: tuple[str, ...] | None, beside: TestedClips | None = None
) -> Iterator[TestedClips]:
    """Yields the clips of a run with what it predicts; its folder, of one in a store a copy, is there meanwhile.

    A run that is compared is tested on what the other, `beside`, was tested on: of its own set where specs differ.
    """
    with local_run(run, _NEEDED) as folder:
        description = read_description(first_run(folder))  # first: who mistyped the run is not asked for its features
        if beside is not None:
            are_folds = beside.is_cross_validated or is_cross_validation(folder)
            test_on = None if are_folds else beside.tested_on
            same_spec = description.fingerprint == beside.manifest.spec.fingerprint
            features = beside.features if same_spec else None
        yield predict_clips(folder, features or trained_set(folder), test_on)


def _page_data(clips: TestedClips, cards: Cards, run: str, comparison: dict[str, Any] | None) -> dict[str, Any]:
    """Returns what the page knows, ready for JSON."""
    layout = clips.manifest.layout(clips.features)
    if comparison is not None:
        place = cards.places()
        for name in ("won", "lost"):
            shown = comparison[name]["shown"]
            comparison[name]["shown"] = [[place[number], *rest] for number, *rest in shown if number in place]
    wrong = [card["predicted"] != card["true"] for card in cards.content]
    name = escape_path(os.fsencode(os.path.basename(run.rstrip("/")) or run))
    return {
        "title": f"Model {name}",
        "name": name,
        "classes": clips.all_classes,
        "labels": labels_to_choose(clips.manifest, clips.classes),
        "cross_validated": clips.is_cross_validated,
        "measured": measured(clips),
        "thresholds": thresholds(clips),
        "curves": curves(clips),
        "set": describe_set(layout, clips.manifest),
        "provenance": provenance(clips, run),
        "comparison": comparison,
        "shown": {
            "clips": len(cards.content),
            "mistakes": sum(wrong),
            "heard": sum("sound" in card for card in cards.content),
        },
        "predictionMayBeRight": True,
        "cards": cards.content,
    }


def _figures(data: dict[str, Any]) -> dict[str, Any]:
    """Returns what a summary of the page says: all but the clips, the curves and what the feature set is."""
    measures, comparison = data["measured"], data["comparison"]
    kept = ("accuracy", "interval_95", "interval_95_by_group", "correct", "clips", "groups", "loss", "macro_recall",
            "tested_on", "clips_trained_on")  # fmt: skip
    result = {name: measures[name] for name in kept}
    result["shown"] = data["shown"]
    result["mistakes"] = measures["clips"] - measures["correct"]
    if comparison is not None:
        result["comparison"] = {
            **{name: comparison[name] for name in ("runs", "clips", "accuracies", "test")},
            **{name: comparison[name]["clips"] for name in ("won", "lost")},
        }
    return result
