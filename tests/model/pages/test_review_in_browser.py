"""What a page of clips does in a real browser: sounds play, marks are made by keyboard alone, kept, and downloaded."""

import base64
import contextlib
import csv
import io
import re

import numpy as np
import pytest

from features.io.csv_text import csv_label, csv_lines, read_csv_label
from model.pages.card import card
from model.pages.document import render
from model.pages.sound import RATES_HZ, encode_sound
from tests.browser import PHONE, accessibility_faults, audio, downloaded, executable, wait_for_audio, watch
from tests.signals import sine

HOSTILE = "<script>alert('label')</script>"
LABELS = ["=1+1", "'quoted'", 'a,"b"', "low", "line\nbreak", "über 日本", HOSTILE]
SECONDS = 8
# What a page does at its end: all clips are one list, which the keys go through.
BEGIN = """() => {
  soundmill.review.begin(soundmill.data.clips);
  const place = soundmill.element("section", {}, soundmill.element("h2", {}, "Clips"));
  const list = soundmill.element("div");
  place.append(list);
  document.getElementById("main").append(place);
  soundmill.clips.fill(list, soundmill.data.clips, (card) => [card.label, " heard as ", card.predicted]);
}"""


QUIET = 1


def clips() -> list[dict]:
    """One of each label, at rates of MP3 and another; the last one's recording is gone."""
    made = []
    for number, label in enumerate(LABELS):
        rate_hz = (8_000, 16_000, 44_100, 6_000)[number % 4]
        loudness = 0.003 if number == QUIET else 1
        waveform = loudness * sine(440, SECONDS * rate_hz, rate_hz) if number + 1 < len(LABELS) else None
        top = [(LABELS[number - 1], 0.75), (label, 0.25)]
        made.append(
            card(f"{HOSTILE} =a, {number}.wav", (number / 3, number / 3 + SECONDS), label, top, waveform, rate_hz)
        )
    return made


def write_page(path, title="Clips"):
    data = {"title": title, "labels": LABELS, "predictionMayBeRight": True, "clips": clips()}
    path.write_text(render("base.html.j2", data), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("review") / "page with a space.html")


@pytest.fixture
def open_page(visit, file):
    def open_page(**options):
        page = visit(file, **options)
        page.evaluate(BEGIN)
        return page

    return open_page


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def test_a_person_marks_by_keyboard_alone_and_downloads_what_python_would_write(open_page, tmp_path):
    page = open_page()
    press(page, "j", "y", "ArrowRight", "n", "j", "l")
    page.keyboard.type("ÜBER")
    press(page, "Enter", "j", "p", "j", "y", "u", "j", "l")
    page.keyboard.type("a class of my own")
    press(page, "Enter", "j", "l", "ArrowDown", "ArrowDown", "Enter", "k", "j", "ArrowLeft", "ArrowRight")
    count = page.locator("#review-count").inner_text()
    path = downloaded(page, lambda: press(page, "d"), tmp_path)
    made = clips()
    verdicts = [("right", ""), ("wrong", ""), ("wrong", LABELS[5]), ("wrong", LABELS[2]), None,
                ("wrong", "a class of my own"), ("wrong", LABELS[2])]  # fmt: skip
    rows = [
        (one["path"], f"{one['start']:.6f}", f"{one['end']:.6f}", csv_label(one["label"]), said[0], csv_label(said[1]))
        for one, said in zip(made, verdicts, strict=True)
        if said
    ]
    head = ("path", "start_seconds", "end_seconds", "label", "verdict", "correct_label")
    assert path.name == "review.csv"
    assert path.read_bytes().decode("utf-8") == csv_lines([head, *rows])
    assert count == "6 of 7 clips marked: 1 right, 5 wrong"
    read = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))
    assert [read_csv_label(row["label"]) for row in read] == [*LABELS[:4], *LABELS[5:]]


def test_the_right_label_that_is_the_one_there_is_a_mark_of_right(open_page):
    page = open_page()
    press(page, "j", "l")
    page.keyboard.type(LABELS[0])
    press(page, "Enter")
    assert page.evaluate("soundmill.review.markOf(soundmill.data.clips[0])") == {"verdict": "right", "correct": ""}
    press(page, "l", "Escape", "u")  # which goes back to the clip
    assert page.evaluate("soundmill.review.markOf(soundmill.data.clips[0])") is None


def test_keys_faster_than_the_browser_s_events_choose_a_label_too(open_page):
    """The event of a list that was closed comes when it is open again, for the next clip: there it stays."""
    page = open_page()
    press(page, "j")
    page.evaluate("""async () => {
      const pressed = (key) => {
        const dialog = document.getElementById("choose");
        const target = dialog.open ? document.getElementById("choose-text") : document.activeElement;
        target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      };
      ["l", "Enter", "j", "l"].forEach(pressed);
      await new Promise((resolve) => document.getElementById("choose").addEventListener("close", resolve));
    }""")
    press(page, "ArrowDown", "ArrowDown", "Enter")
    assert page.evaluate("soundmill.data.clips.slice(0, 2).map(soundmill.review.markOf)") == [
        {"verdict": "right", "correct": ""}, {"verdict": "wrong", "correct": LABELS[2]},
    ]  # fmt: skip


def test_a_label_that_counts_as_what_the_network_says_is_not_taken_from_a_clip(visit, file):
    page = visit(file)
    page.evaluate("soundmill.data.clips[0].true = soundmill.data.clips[0].predicted")  # as _unknown_ is of many labels
    page.evaluate(BEGIN)
    press(page, "j", "p")
    assert page.evaluate("soundmill.review.markOf(soundmill.data.clips[0])") is None
    offered = [clip.locator("[data-verdict]").count() for clip in page.locator(".clip").all()]
    assert offered == [2, *[3] * (len(LABELS) - 1)]


def test_marks_are_there_when_the_browser_was_closed_and_on_no_other_page(file, tmp_path, browser):
    faults = []

    @contextlib.contextmanager
    def started():
        context = browser.browser_type.launch_persistent_context(tmp_path / "profile", executable_path=executable())
        faults.append(watch(context))
        yield context.pages[0]
        context.close()

    def marks(page, path, *keys):
        page.goto(path.as_uri())
        page.evaluate(BEGIN)
        press(page, *keys)
        return page.locator("#review-count").inner_text(), page.locator(".clip .said").all_inner_texts()[:3]

    made = ("2 of 7 clips marked: 1 right, 1 wrong", ["right", f"wrong, it is {LABELS[0]}", "not marked"])
    with started() as page:
        assert marks(page, file, "j", "y", "j", "p") == made
    with started() as page:
        assert marks(page, write_page(tmp_path / "other.html", "Others"))[0] == "No clip of 7 is marked yet"
        assert marks(page, file) == made
    assert faults == [[], []]


def test_a_page_that_can_keep_nothing_says_so_and_works(tmp_path, browser, file):
    context = browser.new_context()
    faults = watch(context)
    page = context.new_page()
    page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied') } })")
    page.goto(file.as_uri())
    page.evaluate(BEGIN)
    assert page.locator("#notice").inner_text().startswith("This browser keeps nothing of this page")
    press(page, "j", "n")
    lines = downloaded(page, lambda: press(page, "d"), tmp_path).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and lines[1].endswith(",wrong,")
    context.close()
    assert faults == []


def test_each_sound_plays_from_where_it_is_clicked_and_one_at_a_time(open_page):
    page = open_page()
    buttons = page.locator(".clip button.sound")
    audio(page, "(audio.onseeking = () => { window.sought = audio.currentTime; }, null)")
    for number, one in enumerate(clips()[:4]):
        buttons.nth(number).click(position={"x": buttons.nth(number).bounding_box()["width"] / 2, "y": 20})
        wait_for_audio(page, f"audio.currentTime > {SECONDS / 2 + 0.05}")
        assert page.evaluate("window.sought") == pytest.approx(SECONDS / 2, abs=0.1)
        assert one["seconds"] == pytest.approx(SECONDS, abs=1e-3)
        assert audio(page, "audio.duration") == pytest.approx(SECONDS, abs=0.1)  # MP3 has whole frames
        assert audio(page, "audio.error") is None
        assert page.locator(".clip .sign").all_inner_texts().index("❚❚") == number
        page.evaluate("window.sought = 0")
    assert page.locator("audio").count() == 1
    press(page, "Space")
    wait_for_audio(page, "audio.paused")
    at, source = audio(page, "audio.currentTime"), audio(page, "audio.src")
    press(page, "Space")
    wait_for_audio(page, f"audio.currentTime > {at}")
    press(page, "j")  # the next clip: what was heard ends
    wait_for_audio(page, "audio.paused")
    press(page, "Space")
    wait_for_audio(page, f"audio.src !== '{source}' && audio.currentTime > 0.05")
    assert buttons.last.is_disabled()
    assert "not there any more" in buttons.last.inner_text()


def test_a_quiet_sound_is_played_as_loud_as_others_when_that_is_asked_for(open_page):
    page = open_page()
    quiet = page.locator(".clip").nth(QUIET)
    assert "quiet, -56 dB at most" in quiet.inner_text() and page.get_by_text("dB at most").count() == 1
    peak = clips()[QUIET]["peak"]
    for key, pressed, gain in (("g", "true", 1 / peak), ("g", "false", 1)):
        press(page, key)
        assert page.locator("#louder").get_attribute("aria-pressed") == pressed
        quiet.locator("button.sound").press("Enter")
        wait_for_audio(page, "audio.currentTime > 0.1")
        assert page.evaluate("soundmill.player.gain()") == pytest.approx(gain, rel=1e-3)
        quiet.locator("button.sound").press("Enter")
        wait_for_audio(page, "audio.paused")


def test_names_and_labels_stay_text(open_page):
    page = open_page()
    shown = page.locator(".clip").last
    assert shown.locator("h3").inner_text() == f"{HOSTILE} heard as {LABELS[-2]}"
    assert shown.locator(".path").inner_text() == f"{HOSTILE} =a, 6.wav"
    assert shown.locator(".top-classes .name").all_inner_texts() == [LABELS[-2], HOSTILE]
    press(page, "j", "l")
    assert HOSTILE in page.locator("#choose-list li").all_inner_texts()
    page.locator("#choose-list li", has_text="alert").click()
    assert page.locator(".clip .said").first.inner_text() == f"wrong, it is {HOSTILE}"
    assert page.evaluate("[...document.scripts].every((script) => script.parentElement === document.body)")
    assert page.locator("script").count() == 5


@pytest.mark.parametrize("options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE], ids=str)
def test_nothing_serious_hinders_people(open_page, options):
    page = open_page(**options)
    press(page, "j", "y", "?")
    assert accessibility_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in re.findall(r"\d+", background)]
    assert (max(levels) < 64) == (options.get("color_scheme") == "dark")


def test_nothing_serious_hinders_people_who_choose_a_label(open_page):
    page = open_page()
    press(page, "j", "l", "l", "o")
    assert page.locator("#choose-list li").all_inner_texts()[0] == "low"
    assert accessibility_faults(page) == []


def test_sounds_of_each_rate_have_their_length_in_the_browser(visit, tmp_path):
    file = tmp_path / "empty.html"
    file.write_text("<!DOCTYPE html><title>Sounds</title>", encoding="utf-8")
    page = visit(file)
    for rate_hz in (3_000, *RATES_HZ, 96_000):
        for seconds in (0.02, 1.0):
            times = np.arange(round(seconds * rate_hz)) / rate_hz
            sound = encode_sound((0.5 * np.sin(2 * np.pi * 300 * times)).astype(np.float32), rate_hz)
            url = f"data:{sound.media_type};base64,{base64.b64encode(sound.content).decode()}"
            played = page.evaluate(
                """(url) => new Promise((done) => {
                  const audio = new Audio(url);
                  audio.addEventListener("loadedmetadata", () => done(audio.duration));
                  audio.addEventListener("error", () => done(audio.error.message));
                })""",
                url,
            )
            assert played == pytest.approx(seconds, abs=1e-4), rate_hz
