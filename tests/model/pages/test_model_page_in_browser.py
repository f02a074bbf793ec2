"""The page of a model in a real browser: cells open clips that are heard, thresholds are exact, and marks go back."""

import csv
import itertools
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import soundmill
from features.io.csv_text import read_csv_label
from model.pages.model_page import write_model_page
from tests.browser import PHONE, accessibility_faults, audio, downloaded, wait_for_audio
from tests.conftest import succeed
from tests.peers.library import LIVE
from tests.signals import noise, sine, write_wav

HOSTILE = "<script>alert('label')<!--"
WORDS = {HOSTILE: 3000.0, "low": 300.0, "über & 'so'": 1000.0}
NONE = "\N{EN DASH}"
SPEAKERS = 20
PARTITIONS = ("training", "validation", "testing")


@dataclass(frozen=True)
class Made:
    """A page of a network that guesses, beside another one; and what the Python interface says of the same clips."""

    page: Path
    true: list[str]
    given: list[str]
    other: list[str]
    probability: np.ndarray

    @property
    def pairs(self) -> Counter:
        return Counter(zip(self.true, self.given, strict=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    from tests.model.untrained import save_untrained  # loads Keras

    folder = tmp_path_factory.mktemp("model page")
    words, features, run, other, page = (folder / name for name in ("words", "set", "run", "other", "report.html"))
    for speaker in range(SPEAKERS):
        for word, hz in WORDS.items():
            heard = sine(hz, 16_000) * (speaker + 1) / SPEAKERS + noise(16_000, seed=speaker, amplitude=0.02)
            write_wav(words / word / f"{speaker:08x}_nohash_0.wav", heard)
    succeed("pipelines.featurize", "--input", words, "--output", features, "--preset", "speech-commands")
    save_untrained(run, features, seed=3)
    save_untrained(other, features, seed=4)
    write_model_page(str(run), str(features), str(page), PARTITIONS, str(other))
    paths = sorted(words.rglob("*.wav"))
    labels = soundmill.load_model(run).predict(paths)
    true = [path.parent.name for path in paths]
    others = soundmill.load_model(other).predict(paths)["label"].to_pylist()
    return Made(page, true, labels["label"].to_pylist(), others, labels["probability"].to_numpy())


def rows(page, table) -> list[list[str]]:
    """What a table shows: the text of each cell of its body."""
    return page.evaluate(
        "(id) => [...document.getElementById(id).tBodies[0].rows].filter((row) => !row.hidden)"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))",
        table,
    )


def test_a_cell_of_the_matrix_opens_its_clips_which_are_heard(visit, made):
    page = visit(made.page)
    cells = page.locator("table.matrix td button")
    assert {
        label: int(number)
        for label, number in cells.evaluate_all("(all) => all.map((one) => [one.title, one.textContent])")
    } == {f"{true} → {given}": number for (true, given), number in made.pairs.items()}
    true, given = next(pair for pair in sorted(made.pairs) if pair[0] != pair[1])
    page.get_by_title(f"{true} → {given}", exact=True).first.click()
    shown = page.locator(".clip")
    assert shown.count() == made.pairs[true, given]
    assert all(text.startswith(f"{true} → {given}") for text in page.locator(".clip h3").all_inner_texts())
    # All three classes are among the most probable ones: that of the label is the one that the order goes by.
    own = [float(text) for text in page.locator(f".clip .name[title={json.dumps(true)}] ~ .number").all_inner_texts()]
    assert len(own) == shown.count() and own == sorted(own)
    said = page.locator("#clips-count").inner_text()
    assert said == f"{len(own)} of {len(own)} mistakes, true {true}, given {given}."
    head = page.locator("#clips-title").bounding_box()
    assert 0 <= head["y"] < 100  # is what a person looks at, and its first clip what keys act on
    assert shown.first.evaluate("(clip) => clip === document.activeElement")
    page.keyboard.press("y")
    assert shown.first.locator(".said").inner_text() == "right"
    page.keyboard.press("u")
    shown.nth(1).locator("button.sound").click()
    wait_for_audio(page, "audio.currentTime > 0.2")
    assert audio(page, "audio.duration") == pytest.approx(1, abs=0.1)
    assert page.evaluate("[...document.images].every((image) => image.decode)")


def test_clips_that_another_run_wins_and_loses_are_listed(visit, made):
    page = visit(made.page)
    for name, alone, wrong in (("won", made.other, made.given), ("lost", made.given, made.other)):
        expected = sum(one == true != two for one, true, two in zip(alone, made.true, wrong, strict=True))
        assert expected > 1, "both networks guess alike: this shows nothing"
        button = page.locator(f"#compare-{name}")
        assert button.inner_text() == f"Show what was {name}: {expected}"
        button.click()
        heads = page.locator(".clip h3").all_inner_texts()
        assert len(heads) == expected
        assert all("the other run: " in head and ("right" in head) == (name == "lost") for head in heads)
        assert page.locator("#clips-count").inner_text().startswith(f"{expected} of {expected} clips that ")
    page.keyboard.press("j")
    page.keyboard.press("Space")
    wait_for_audio(page, "audio.currentTime > 0.1")


def test_links_lead_to_the_parts_in_their_order(visit, made):
    page = visit(made.page)
    links = page.locator("nav a").evaluate_all("(all) => all.map((one) => one.getAttribute('href'))")
    tops = [page.locator(link).evaluate("(part) => part.getBoundingClientRect().top") for link in links]
    assert tops == sorted(tops) and len(set(tops)) == len(tops)
    for link in links:
        page.locator(f"nav a[href='{link}']").press("Enter")
        page.wait_for_function(
            "(link) => { const part = document.querySelector(link); const head = part.matches('h2') ? part :"
            " part.querySelector('h2'); const top = head.getBoundingClientRect().top; return 0 <= top && top < 700; }",
            arg=link,
        )


def test_names_stay_text_and_each_picture_is_one(visit, made):
    page = visit(made.page)
    assert HOSTILE in [row[0] for row in rows(page, "classes")]
    assert HOSTILE in page.locator("#clips-true option").all_inner_texts()
    page.select_option("#clips-kind", "all")
    paths = page.locator(".clip .path").all_inner_texts()
    assert len(paths) == len(made.true)
    assert set(paths) == {f"{word}/{speaker:08x}_nohash_0.wav" for word in WORDS for speaker in range(SPEAKERS)}
    widths = page.evaluate(
        "Promise.all([...document.querySelectorAll('.clip img')].map(async (image) => {"
        " image.loading = 'eager'; await image.decode(); return image.naturalWidth; }))"
    )
    assert len(widths) == len(paths) and min(widths) > 50


def by_plain_counting(made: Made, threshold: float, label: str) -> tuple[float | None, float, float]:
    """Precision, recall, and the share of the clips of other classes that get a label from a threshold on."""
    given = (np.array(made.given) == label) & (made.probability.astype(np.float64) >= threshold)
    is_true = np.array(made.true) == label
    right = int((given & is_true).sum())
    precision = right / int(given.sum()) if given.any() else None
    return precision, right / int(is_true.sum()), int((given & ~is_true).sum()) / int((~is_true).sum())


def by_scikit_learn(library, made: Made, threshold: float, label: str) -> tuple[float | None, float, float]:
    """The same, of scikit-learn."""
    given = ((np.array(made.given) == label) & (made.probability.astype(np.float64) >= threshold)).astype(np.int64)
    is_true = (np.array(made.true) == label).astype(np.int64)
    name = f"{label} from {threshold}"
    precision = library(
        f"precision {name}", lambda theirs: theirs.metrics.precision_score(is_true, given, zero_division=0)
    )
    recall = library(f"recall {name}", lambda theirs: theirs.metrics.recall_score(is_true, given))
    others = library(f"others {name}", lambda theirs: theirs.metrics.recall_score(1 - is_true, 1 - given))
    return float(precision) if given.any() else None, float(recall), 1 - float(others)


@pytest.mark.parametrize("whose", ["plain", pytest.param("scikit-learn", marks=LIVE)])
def test_the_slider_gives_precision_recall_and_false_alarms(visit, made, whose, request):
    page = visit(made.page)
    slider = page.locator("#threshold")
    steps = int(slider.get_attribute("max"))
    # At, just below and above what clips have; at the ends.
    near = [
        int(np.floor(quantile * steps)) + more
        for quantile in np.quantile(made.probability, [0.1, 0.5, 0.9])
        for more in (0, 1)
    ]
    seen = set()
    for step in (0, *near, steps):
        slider.fill(str(step))
        text = f"{step / steps:.3f}"
        page.wait_for_function("(text) => document.getElementById('threshold-value').textContent === text", arg=text)
        table = {row[0]: row[1:] for row in rows(page, "threshold-table")}
        assert set(table) == set(WORDS)
        for label, (threshold, labels, right, alarms, share, precision, recall) in table.items():
            reference = (
                by_plain_counting(made, step / steps, label)
                if whose == "plain"
                else by_scikit_learn(request.getfixturevalue("live_scikit_learn"), made, step / steps, label)
            )
            assert threshold == text
            assert int(labels) == int(right) + int(alarms)
            shown = NONE if reference[0] is None else f"{reference[0]:.3f}"
            assert (precision, recall, share) == (shown, f"{reference[1]:.3f}", f"{100 * reference[2]:.2f} %")
            seen.add(int(labels))
    assert len(seen) > 4, "the thresholds changed little: this shows nothing"
    slider.focus()
    page.keyboard.press("ArrowLeft")  # which goes to no other clip while the slider has the focus
    page.wait_for_function(
        f"() => document.getElementById('threshold-value').textContent === '{(steps - 1) / steps:.3f}'"
    )


def test_tables_sort_and_lists_filter(visit, made):
    page = visit(made.page)
    page.locator("#threshold").fill("0")
    head = page.locator("#threshold-table th", has=page.get_by_role("button", name="false alarms"))
    for times, order in ((1, "descending"), (2, "ascending")):
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == order
        alarms = [int(row[4]) for row in rows(page, "threshold-table")]
        assert alarms == sorted(alarms, reverse=times == 1)
    threshold = float(np.quantile(made.probability, 0.6))
    page.locator("#threshold").fill(str(round(threshold * int(page.locator("#threshold").get_attribute("max")))))
    page.wait_for_function("document.getElementById('threshold-value').textContent !== '0.000'")
    changed = [int(row[4]) for row in rows(page, "threshold-table")]
    assert changed == sorted(changed) != alarms  # in the order that was asked for, of what is there now
    page.locator("#threshold-table th button", has_text="class").click()
    assert head.get_attribute("aria-sort") is None
    labels = [row[0] for row in rows(page, "threshold-table")]
    assert labels in (sorted(WORDS, key=str.casefold), sorted(WORDS, key=str.casefold, reverse=True))
    given = max(WORDS, key=lambda label: made.pairs[label, label])
    page.select_option("#clips-given", given)
    page.select_option("#clips-kind", "all")
    expected = sum(one == given for one in made.given)
    assert page.locator("#clips-count").inner_text() == f"{expected} of {expected} clips, given {given}."
    page.select_option("#clips-kind", "right")
    assert page.locator("#clips-count").inner_text().startswith(f"{made.pairs[given, given]} of")
    page.locator(".clip").first.locator("button[data-verdict=right]").click()
    page.locator("#clips-unmarked").check()
    assert page.locator(".clip").count() == made.pairs[given, given] - 1


def test_marks_by_keyboard_are_there_again_and_are_downloaded(visit, made, tmp_path):
    page = visit(made.page)
    for key in ("j", "p", "j", "y", "j", "n", "j", "l"):
        page.keyboard.press(key)
    page.keyboard.type("scr")
    page.keyboard.press("Enter")
    page.reload()
    said = page.locator(".clip .said").all_inner_texts()[:5]
    predicted = page.locator(".clip .top-classes li:first-child .name").first.inner_text()
    # Who chooses the label that is there says that it is right.
    assert said[:3] == [f"wrong, it is {predicted}", "right", "wrong"]
    assert said[3] in ("right", f"wrong, it is {HOSTILE}") and said[4] == "not marked"
    right = said.count("right")
    assert page.locator("#review-count").inner_text().endswith(f" clips marked: {right} right, {4 - right} wrong")
    with open(downloaded(page, lambda: page.keyboard.press("d"), tmp_path), encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["verdict"] for line in lines].count("right") == right and len(lines) == 4
    for line in lines:
        assert read_csv_label(line["label"]) == Path(line["path"]).parent.name
        assert (line["start_seconds"], line["end_seconds"]) == ("0.000000", "1.000000")


@pytest.mark.parametrize("options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE], ids=str)
def test_nothing_serious_hinders_people(visit, made, options):
    page = visit(made.page, **options)
    # A few clips are enough for a tool that looks at each element.
    page.get_by_title(" → ".join(min(made.pairs, key=made.pairs.get)), exact=True).first.click()
    for details in page.locator("details").all():
        details.evaluate("(details) => { details.open = true; }")
    assert accessibility_faults(page) == []
    width = options.get("viewport", {}).get("width", 1280)  # a page that is wider makes a phone's window wider, too
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((head) => Number(head.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later <= level + 1 for level, later in itertools.pairwise(levels))


@pytest.mark.trial
@pytest.mark.timed
@pytest.mark.data
def test_500_mistakes_of_real_words_are_there_in_two_seconds(visit, data, tmp_path):
    from tests.model.untrained import save_untrained

    features, run, file = tmp_path / "set", tmp_path / "run", tmp_path / "report.html"
    words = data / "speech_commands_8words"
    succeed("pipelines.featurize", "--input", words, "--output", features, "--limit", 700)
    save_untrained(run, features)
    figures = write_model_page(str(run), str(features), str(file), PARTITIONS)
    shown = figures["shown"]["mistakes"]  # and those without which a cell of the matrix would open nothing
    assert figures["mistakes"] > shown >= 500
    assert file.stat().st_size < 15_000_000
    page, seconds = visit(file), []
    for _ in range(3):
        started = time.monotonic()
        page.reload()
        page.locator(".clip button.sound").first.wait_for()
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 2
    said = f"{shown} of {figures['mistakes']} mistakes; {figures['mistakes'] - shown} more"
    assert page.locator("#clips-count").inner_text().startswith(said)
    page.keyboard.press("j")
    page.keyboard.press("Space")
    wait_for_audio(page, "audio.currentTime > 0.1")
