"""The page of an ONNX export in a real browser: it labels files and the microphone as soundmill itself does."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile

import soundmill
from features.audio.decode import AudioInfo
from features.frontend.presets import preset
from features.frontend.waveform import to_mono
from features.frontend.windows import Windowing, num_windows
from features.io.csv_text import read_csv_label
from model.formats.web.page import runtime, write_web_page
from model.inference.artifact import load_artifact
from tests.browser import accessibility_faults, downloaded, executable, watch
from tests.model.formats.dense import save_dense
from tests.signals import noise, sine, write_wav

RATE_HZ = 16_000
CLIP_SECONDS = 0.25
LABELS = ["<script>alert('label')</script>", "a,b", "=1+1", "über"]
THRESHOLDS = dict(zip(LABELS, [0.35, None, 0.3, 0.3], strict=True))
# Of a probability. A file of 16 bits is not the same to the bit: Chromium divides samples above 0 by 32,767.
TOLERANCE, TOLERANCE_OF_16_BITS = 2e-5, 1e-4
# Where the browser has resampled, which it does by another filter than soxr.
RESAMPLED_TOLERANCE = 0.1
READY = "#file:enabled"
# What says which options a browser has: of a device that plays a file, and of a person who agrees at once.
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def sounds(seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Two channels of a tone that rises in steps, with noise: windows get different labels."""
    frames = round(seconds * rate_hz)
    steps = 200 * 2 ** (np.arange(frames) // (rate_hz // 5) % 5)
    tone = 0.3 * np.sin(2 * np.pi * np.cumsum(steps) / rate_hz)
    return np.stack([tone, 0.5 * tone + noise(frames, seed=1, amplitude=0.002)], axis=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of one layer, whose probabilities are neither 0 nor 1, with a temperature and thresholds."""
    spec = replace(preset("log-mel"), clip_seconds=CLIP_SECONDS, mel_bands=40)
    weights = np.random.default_rng(4).normal(0, 0.02, (np.prod(spec.shape), len(LABELS))).astype(np.float32)
    run = save_dense(tmp_path_factory.mktemp("listen") / "run", spec, LABELS, weights - weights.mean(axis=0))
    path = run / "model" / "artifact.json"
    calibration = {"temperature": 1.7, "thresholds": THRESHOLDS, "target_precision": 0.9}
    path.write_text(json.dumps(json.loads(path.read_text()) | calibration))
    return run


@pytest.fixture(scope="module")
def folder(run, web_runtime, tmp_path_factory) -> Path:
    """An export as it lies on a user's disk after `npm install`."""
    from model.formats.onnx_file import write_onnx  # loads TensorFlow

    folder = tmp_path_factory.mktemp("export")
    write_onnx(folder / "model.onnx", load_artifact(run))
    write_web_page(folder)
    (folder / "node_modules").symlink_to(web_runtime / "node_modules")
    return folder


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves a folder as the page says, and returns the address of the page."""
    started = []

    def serve(folder: Path) -> str:
        command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        [port] = re.findall(r" port (\d+) ", started[-1].stdout.readline())
        return f"http://127.0.0.1:{port}/listen.html"

    yield serve
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def address(folder, serve) -> str:
    return serve(folder)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> Path:
    """What the microphone gives."""
    return write_wav(tmp_path_factory.mktemp("spoken") / "spoken.wav", sounds(6.0)[:, 0])


@pytest.fixture(scope="module")
def browser(spoken) -> Iterator[Any]:
    """A browser whose microphone is a file, and whose user allows all."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = (*FAKE, f"--use-file-for-fake-audio-capture={spoken}%noloop")
        started = playwright.chromium.launch(executable_path=executable(), args=options)
        yield started
        started.close()


@pytest.fixture(scope="module")
def page(browser, address) -> Iterator[Any]:
    """The page, loaded once, since the runtime takes its time; no test of this file leaves anything playing."""
    context = browser.new_context()
    context.set_default_timeout(20_000)
    faults = watch(context, address.rpartition("/")[0] + "/")
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(READY)
    yield page
    context.close()
    assert faults == []


def shown_table(page: Any, folder: Path) -> list[tuple[float, float, str, float]]:
    """The table that the page offers: start, end, label and probability of each window that has a label."""
    path = downloaded(page, page.locator("#download").click, folder)
    with path.open(encoding="utf-8", newline="") as file:
        return [
            (float(row["start_seconds"]), float(row["end_seconds"]), read_csv_label(row["label"]),
             float(row["probability"])) for row in csv.DictReader(file)
        ]  # fmt: skip


def own_table(run: Path, path: Path, **options: Any) -> list[tuple[float, float, str, float]]:
    """The same by soundmill."""
    columns = ("start_seconds", "end_seconds", "label", "probability")
    table = soundmill.load_model(run).predict([path], **options)
    return [tuple(row[name] for name in columns) for row in table.to_pylist()]


def assert_same(shown: list, own: list, tolerance: float) -> None:
    assert [row[2] for row in shown] == [row[2] for row in own]
    np.testing.assert_allclose([row[:2] for row in shown], [row[:2] for row in own], rtol=0, atol=1e-4)
    np.testing.assert_allclose([row[3] for row in shown], [row[3] for row in own], rtol=0, atol=tolerance)


def choose(page: Any, path: Path, hop: str = "1", threshold: str = "0") -> None:
    page.set_input_files("#file", [])
    page.select_option("#hop", hop)
    page.select_option("#threshold", threshold)
    page.set_input_files("#file", str(path))
    page.wait_for_function(
        "(name) => RegExp(`^[0-9,]+ windows? of ${name}, `).test(document.getElementById('notice').textContent)",
        arg=path.name,
    )


def test_a_file_gets_the_labels_of_soundmill(page, run, tmp_path):
    path = write_wav(tmp_path / "recording.wav", sounds(3.1))
    assert "4 classes, windows of 0.25 s at 16,000 Hz, the mean of the channels" in page.inner_text("#about")
    choose(page, path)
    own = own_table(run, path)
    assert len({label for *_, label, _ in own}) > 2 and own[-1][1] == pytest.approx(3.1)
    assert_same(shown_table(page, tmp_path), own, TOLERANCE_OF_16_BITS)
    assert page.inner_text("#label") == own[0][2]
    assert page.locator("#top li").count() == len(LABELS)
    shown = float(page.locator("#top .number").first.inner_text())
    assert shown == pytest.approx(own[0][3], abs=5e-5 + TOLERANCE_OF_16_BITS)
    exact = tmp_path / "exact.wav"
    soundfile.write(exact, sounds(3.1), RATE_HZ, subtype="FLOAT")
    choose(page, exact, hop="0.5")
    own = own_table(run, exact, hop_seconds=CLIP_SECONDS / 2)
    assert_same(shown_table(page, tmp_path), own, TOLERANCE)
    page.select_option("#threshold", "own")
    thresholded = [row for row in own if row[3] >= (THRESHOLDS[row[2]] or np.inf)]
    assert 0 < len(thresholded) < len(own) and None in [THRESHOLDS[row[2]] for row in own]
    assert_same(shown_table(page, tmp_path), thresholded, TOLERANCE)
    assert page.locator("#rows tbody tr").count() == len(thresholded)
    assert page.locator("#line").get_attribute("aria-label").startswith("Labels from 0.0 to 3.1 s: ")


@pytest.mark.parametrize("rate_hz", [44_100, 8_000])
def test_a_file_of_another_rate_is_resampled_by_the_browser(page, run, tmp_path, rate_hz):
    path = write_wav(tmp_path / f"{rate_hz}.wav", sounds(2.0, rate_hz)[:, :1], rate_hz)
    choose(page, path)
    assert_same(shown_table(page, tmp_path), own_table(run, path), RESAMPLED_TOLERANCE)


def test_the_microphone_gets_the_labels_of_what_it_gave(page, run, spoken, tmp_path):
    page.select_option("#hop", "1")
    page.select_option("#threshold", "0")
    page.click("#microphone")
    page.wait_for_function("() => document.querySelectorAll('#rows tbody tr').length >= 8", timeout=30_000)
    assert "without echo cancellation" in page.inner_text("#notice")
    assert float(page.locator("#level").get_attribute("aria-valuenow")) > -60
    page.click("#microphone")
    shown = shown_table(page, tmp_path)
    heard = downloaded(page, page.locator("#save").click, tmp_path)
    own = own_table(run, heard)
    assert len({label for *_, label, _ in own}) > 1
    assert_same(shown, own[: len(shown)], TOLERANCE)
    # It is the sound of the file, at its level: nothing has made it louder, or taken something for an echo.
    samples, rate_hz = soundfile.read(heard, always_2d=True)
    played, _ = soundfile.read(spoken)
    loudest = np.sqrt(np.convolve(samples[:, 0] ** 2, np.full(1_600, 1 / 1_600), "valid").max())
    assert rate_hz == RATE_HZ
    assert loudest == pytest.approx(np.sqrt(np.mean(played[:1_600] ** 2)), rel=0.1)


def console_of(browser: Any, place: str) -> tuple[Any, list[str]]:
    """A page that may do what no page should: what it says is looked at."""
    context = browser.new_context()
    context.set_default_timeout(10_000)
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(place)
    return page, said


def notice(page: Any, beginning: str) -> str:
    page.wait_for_function(
        "(beginning) => document.getElementById('notice').textContent.startsWith(beginning)", arg=beginning
    )
    return page.inner_text("#notice")


def test_what_is_missing_is_said(browser, folder, serve, tmp_path):
    without = shutil.copytree(folder, tmp_path / "without", ignore=shutil.ignore_patterns("node_modules"))
    page, said = console_of(browser, serve(without))
    sentence = notice(page, "The runtime ")
    assert " ".join(runtime()) in sentence and '"npm install --ignore-scripts"' in sentence
    assert page.locator("#file").is_disabled() and page.locator("#microphone").is_disabled()
    (without / "node_modules").symlink_to(folder / "node_modules")
    content = (without / "model.onnx").read_bytes()
    for spoiled, sentence in (
        (content[:-9], "cannot be read: the file ends in the middle of a field."),
        (b"", "does not say what it takes: export it by model.export --format onnx."),
    ):
        (without / "model.onnx").write_bytes(spoiled)
        page.reload()
        assert sentence in notice(page, page.url.replace("listen.html", "model.onnx"))
    page.context.close()
    page, _ = console_of(browser, (folder / "listen.html").as_uri())
    assert "python -m http.server --bind 127.0.0.1" in notice(page, "This page has not started.")
    page.context.close()
    assert not said


def test_a_file_that_is_no_sound_is_said(page, tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    page.set_input_files("#file", str(tmp_path / "text.wav"))
    assert "convert it to WAV, FLAC or MP3" in notice(page, "This browser cannot decode text.wav")


# A device that nobody allows, and none at all.
@pytest.mark.trial
@pytest.mark.parametrize(("arguments", "sentence"), [(FAKE[:1], "does not let this page"), ((), "There is no micro")])
def test_a_microphone_that_is_refused_or_missing_is_said(browser, folder, serve, tmp_path, arguments, sentence):
    without = shutil.copytree(folder, tmp_path / "without", ignore=shutil.ignore_patterns("node_modules"))
    other = browser.browser_type.launch(executable_path=executable(), args=arguments)
    page, _ = console_of(other, serve(without))
    said = page.evaluate(
        "() => import('/listen/microphone.js').then(({ Microphone }) => Microphone.open(16000, 'mean'))"
        ".then(() => 'opened', (error) => error.message)"
    )
    other.close()
    assert sentence in said


def test_the_parts_agree_with_soundmill(page, folder):
    lengths = [1, 199, 200, 201, 3_999, 4_000, 4_001, 4_199, 4_200, 4_201, 7_999, 8_000, 8_001, 12_345]
    hops = [1, 999, 2_000, 4_000, 5_000, 9_000]
    counts = page.evaluate(
        "async ([lengths, hops]) => { const { windowStarts } = await import('/listen/sound.js');"
        " return lengths.map((length) => hops.map((hop) => windowStarts(length, 4000, hop).length)); }",
        [lengths, hops],
    )
    spec = replace(preset("log-mel"), clip_seconds=CLIP_SECONDS)
    assert counts == [
        [num_windows(AudioInfo(length, 1, RATE_HZ), spec, Windowing(hop, least_seconds=CLIP_SECONDS / 20))
         for hop in hops] for length in lengths
    ]  # fmt: skip
    channels = np.stack([noise(50, 1, 0.1), noise(50, 2, 0.3), noise(50, 2, 0.3)[::-1]], axis=1).astype(np.float32)
    for rule in ("mean", "loudest", 1, 3):
        made = page.evaluate(
            "async ([channels, rule]) => { const { oneChannel } = await import('/listen/sound.js');"
            " return [...oneChannel(channels.map((one) => Float32Array.from(one)), rule)]; }",
            [channels.T.tolist(), rule],
        )
        np.testing.assert_allclose(made, to_mono(channels, rule).waveform, rtol=0, atol=1e-7)
    metadata = page.evaluate(
        "async () => { const { readMetadata } = await import('/listen/network.js');"
        " const answer = await fetch('/model.onnx');"
        " return Object.fromEntries(readMetadata(new Uint8Array(await answer.arrayBuffer()))); }"
    )
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert metadata == session.get_modelmeta().custom_metadata_map and json.loads(metadata["soundmill"])


@pytest.mark.parametrize("num_labels", [1, 6, 7, 8])
def test_the_time_line_has_a_bar_for_each_window(page, num_labels):
    rows_of_bars = (
        "async ([labels]) => { const { Timeline } = await import('/listen/timeline.js');"
        " const canvas = document.getElementById('line').cloneNode();"
        " document.getElementById('line').after(canvas);"
        " const pen = canvas.getContext('2d', { willReadFrequently: true }), timeline = new Timeline(canvas);"
        " timeline.draw(labels.map((label, n) => ({ start: n, end: n + 1, label, probability: 1 })), 0, labels.length);"
        " const column = (n) => { const x = Math.round(timeline.place(n + 0.45) * devicePixelRatio);"
        "   const { data } = pen.getImageData(x, 0, 1, 6 * 26);"  # the lanes, without the axis
        "   return data.filter((value, index) => index % 4 === 3 && value > 200).length; };"
        " const answer = [labels.map((_, n) => column(n)), canvas.getAttribute('aria-label')];"
        " canvas.remove(); return answer; }"
    )
    labels = [f"label {number}" for number in range(num_labels)] + ["label 0"]
    rows, said = page.evaluate(rows_of_bars, [labels])
    assert rows == [16] * len(labels)
    alone = labels[:num_labels] if num_labels <= 6 else labels[:5]
    counts = [f"{label} {labels.count(label)}" for label in alone]
    if num_labels > 6:
        counts.append(f"{num_labels - 5} others {num_labels - 5}")
    assert said == f"Labels from 0.0 to {len(labels)}.0 s: {', '.join(counts)}"


def test_nothing_hinders_people(page, tmp_path):
    choose(page, write_wav(tmp_path / "long.wav", sine(700.0, 3 * RATE_HZ)))
    for scheme, size in (("light", (1280, 800)), ("dark", (1280, 800)), ("light", (390, 844))):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        assert accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_colours_are_those_of_the_other_pages():
    root = Path(__file__).parents[3] / "model"
    files = (root / "pages" / "assets" / "page.css", root / "formats" / "web" / "assets" / "listen" / "page.css")
    [ours, theirs] = [re.findall(r"--[a-z-]+: #[0-9a-f]{6}", path.read_text(encoding="utf-8")) for path in files]
    assert ours == theirs and len(ours) > 15


def test_what_is_written_is_what_is_there_and_names_no_other_host(tmp_path):
    write_web_page(tmp_path)
    written = {path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8")
               for path in tmp_path.rglob("*") if path.is_file()}  # fmt: skip
    assert {"listen.html", "package.json", "listen/page.js", "listen/worklet.js"} <= written.keys()
    assert not [name for name, text in written.items() if re.search(r"\b(?:https?|wss?):|//[a-z0-9-]+\.", text)]
    named = {name for text in written.values() for name in re.findall(r"[\"/]([a-z]+\.(?:js|css))\"", text)}
    assert named == {Path(name).name for name in written if name.startswith("listen/")}
