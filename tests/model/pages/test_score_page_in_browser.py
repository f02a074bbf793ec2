"""The page of a scoring in a real browser: filters are exact, time lines play where they are clicked, marks go out."""

import csv
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest

from features.io.csv_text import csv_label, csv_lines
from model.pages.score_page import write_score_page
from tests.browser import PHONE, accessibility_faults, audio, downloaded, wait_for_audio
from tests.signals import chirp, noise, write_wav

HOSTILE = "<script>alert('label')</script>"
LABELS = [HOSTILE, "=high", "low"]
# The second one's name is markup that would run; the third one is gone when the page is made.
RECORDINGS = {"night/20240501_215930.wav": 20, "<img src=x onerror=alert('name')>.wav": 12, "gone.wav": 8}
HEAD = ("path", "start_seconds", "end_seconds", "label", "probability", "start_time")


@dataclass(frozen=True)
class Made:
    """A page, and the table that it was made of."""

    page: Path
    table: pd.DataFrame

    def events(self, threshold: float, label: str | None = None) -> list[pd.DataFrame]:
        """The windows of each event: those of a label that touch."""
        kept = self.table[self.table["probability"] >= threshold]
        found: list[list[int]] = []
        for (_, name), windows in kept.groupby(["path", "label"]):
            if label not in (None, name):
                continue
            ends = windows["end_seconds"].shift()
            for number, begins in zip(windows.index, (windows["start_seconds"] - ends).abs() > 1e-6, strict=True):
                if begins or number == windows.index[0]:
                    found.append([])
                found[-1].append(number)
        return [kept.loc[numbers] for numbers in found]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("score page")
    random = np.random.default_rng(5)
    rows = []
    for path, seconds in RECORDINGS.items():
        if path != "gone.wav":
            write_wav(folder / "recordings" / path, chirp(seconds * 16_000) + noise(seconds * 16_000))
        for second in range(seconds):
            label, probability = LABELS[min(2, int(random.integers(4)))], random.uniform(0.3, 1)
            when = f"2024-05-01T22:{second:02d}:00" if path.startswith("night") else ""
            rows.append((path, f"{second:.6f}", f"{second + 1:.6f}", label, f"{probability:.6f}", when))
    labels = folder / "labels.csv"
    lines = [HEAD, *((*row[:3], csv_label(row[3]), *row[4:]) for row in rows)]
    labels.write_text(csv_lines(lines), encoding="utf-8", newline="")
    write_score_page(str(labels), str(folder / "recordings"), str(folder / "report.html"))
    table = pd.DataFrame(rows, columns=HEAD).astype(
        dict.fromkeys(("start_seconds", "end_seconds", "probability"), float)
    )
    return Made(folder / "report.html", table)


def set_filter(page, label: str | None, threshold: int) -> None:
    """Chooses a label, or all, and a threshold in hundredths, and waits until the page shows it."""
    page.select_option("#filter-class", label="All labels" if label is None else label)
    page.locator("#threshold").fill(str(threshold))
    said = f"At a threshold of {threshold / 100:.2f}, {'all labels' if label is None else label}:"
    page.wait_for_function("(said) => document.getElementById('filtered').textContent.startsWith(said)", arg=said)


def count_of(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def test_figures_follow_label_and_threshold(visit, made):
    page = visit(made.page)
    page.locator("#class-table th button", has_text="Events").click()  # which stays the order whatever is set
    for threshold, label in ((0, None), (0, HOSTILE), (55, None), (55, "=high"), (80, "low"), (100, HOSTILE)):
        set_filter(page, label, threshold)
        reached = made.table[made.table["probability"] >= threshold / 100]
        kept = reached if label is None else reached[reached["label"] == label]
        events = count_of(len(made.events(threshold / 100, label)), "event")
        said = page.locator("#filtered").inner_text().partition(": ")[2]
        assert said.startswith(f"{events}, {count_of(len(kept), 'line')}, ")
        assert said.endswith(f" min in {count_of(kept['path'].nunique(), 'recording')}.")
        rows = [row.locator("th, td").all_inner_texts() for row in page.locator("#class-table tbody tr").all()]
        assert sorted(row[0] for row in rows) == sorted(LABELS)
        assert [int(row[1]) for row in rows] == sorted((int(row[1]) for row in rows), reverse=True)
        for name, events, lines, minutes, recordings, _ in rows:
            of_name = reached[reached["label"] == name]
            assert int(events) == len(made.events(threshold / 100, name))
            assert (int(lines), int(recordings)) == (len(of_name), of_name["path"].nunique())
            assert float(minutes) == pytest.approx(len(of_name) / 60, abs=0.0501)
        shown = page.locator("#sample-list .clip h3").all_inner_texts()
        assert all(label is None or text.startswith(label) for text in shown)
        assert bool(shown) == bool(len(kept))


def test_a_click_on_a_time_line_plays_from_there(visit, made):
    page = visit(made.page)
    audio(page, "(audio.onseeking = () => { window.sought = audio.currentTime; }, null)")
    lines = page.locator(".timeline")
    heads = lines.locator("h3").all_inner_texts()
    assert sorted(heads) == sorted(RECORDINGS)
    for path in ("night/20240501_215930.wav", "<img src=x onerror=alert('name')>.wav"):
        stage = lines.nth(heads.index(path)).get_by_role("slider")
        box = stage.bounding_box()
        for share in (0.75, 0.25):
            stage.click(position={"x": box["width"] * share, "y": 10})
            at = RECORDINGS[path] * share
            wait_for_audio(page, f"audio.currentTime > window.sought && Math.abs(window.sought - {at}) < 0.2")
            assert audio(page, "audio.duration") == pytest.approx(RECORDINGS[path], abs=0.2)
    stage.press("Space")
    wait_for_audio(page, "audio.paused")
    stage.press("End")
    assert float(stage.get_attribute("aria-valuenow")) == 12
    stage.press("ArrowLeft")
    assert float(stage.get_attribute("aria-valuenow")) == pytest.approx(11.88)
    gone = lines.nth(heads.index("gone.wav"))
    assert gone.get_by_role("button").first.is_disabled()
    assert "missing" in gone.inner_text()


def test_activity_counts_events_by_hour(visit, made):
    page = visit(made.page)
    for label in (None, HOSTILE):
        set_filter(page, label, 50)
        rows = page.locator("#activity-table tbody tr").all()
        assert [row.locator("th").inner_text() for row in rows] == ["All dates", "2024-05-01"]
        events = [one for one in made.events(0.5, label) if one["start_time"].iloc[0]]
        for row in rows:
            cells = row.locator("td").all_inner_texts()
            assert cells[22] == cells[24] == str(len(events))
            assert set(cells[:22] + cells[23:24]) == {""}


def test_a_sample_is_judged_by_keyboard(visit, made, tmp_path):
    page = visit(made.page)
    page.select_option("#sample-band", label="0.9 to 1")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#sample-list h3 .soft')].every((one) => one.textContent > '0.9')"
    )
    page.select_option("#sample-band", label="All")
    for key in ("j", "y", "j", "n", "j", "l"):
        page.keyboard.press(key)
    page.keyboard.type("low")
    page.keyboard.press("Enter")
    page.keyboard.press("j")
    page.keyboard.press("p")  # is no key here: what score gave is what is judged
    page.reload()
    assert page.locator("#review-count").inner_text().startswith("3 of ")
    with open(downloaded(page, lambda: page.keyboard.press("d"), tmp_path), encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["verdict"] for line in lines][:2] == ["right", "wrong"]
    for line in lines:
        window = made.table[
            (made.table["path"] == line["path"]) & (made.table["start_seconds"] == float(line["start_seconds"]))
        ]
        assert csv_label(window["label"].item()) == line["label"]
        assert window["end_seconds"].item() == float(line["end_seconds"])


@pytest.mark.parametrize("options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE], ids=str)
def test_nothing_serious_hinders_people(visit, made, options):
    page = visit(made.page, **options)
    set_filter(page, "=high", 90)  # a few clips are enough for a tool that looks at each
    for details in page.locator("details").all():
        details.evaluate("(details) => { details.open = true; }")
    assert accessibility_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.trial
@pytest.mark.timed
def test_a_million_lines_are_a_page_that_opens(visit, tmp_path):
    random = np.random.default_rng(0)
    count, per_file = 1_000_000, 500
    starts = np.arange(count) % per_file
    columns = {
        "path": [f"{number:05d}.wav" for number in np.arange(count) // per_file],
        "start_seconds": starts.astype(np.float64),
        "end_seconds": starts + 1.0,
        "label": [f"class {number:03d}" for number in random.integers(0, 300, count)],
        "probability": random.uniform(0, 1, count).round(6),
    }
    pa.csv.write_csv(pa.table(columns), tmp_path / "labels.csv")
    file = tmp_path / "report.html"
    figures = write_score_page(str(tmp_path / "labels.csv"), None, str(file))
    assert figures["lines"] == count
    assert file.stat().st_size < 15_000_000
    started = time.monotonic()
    page = visit(file)
    page.locator("#sample-list .clip").first.wait_for()
    assert time.monotonic() - started < 5
    assert "1,000,000" in page.locator("#about").inner_text()
    set_filter(page, "class 007", 50)
    kept = np.array([label == "class 007" for label in columns["label"]]) & (columns["probability"] >= 0.5)
    assert f" {int(kept.sum()):,} lines" in page.locator("#filtered").inner_text()
