import warnings

import numpy as np
import pytest
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg

from features.audio.decode import probe
from features.errors import UsageError
from features.frontend.spectrogram import compute_features
from features.pictures.drawing import (
    check_picture,
    draw_features,
    draw_spectrogram,
    draw_waveform,
    new_figure,
    plain,
    save,
)
from features.pictures.signal_summary import trace_file, trace_waveform
from tests.features.examples import LOG_MEL, MFCC, STFT, changed
from tests.features.networks.small import SAMPLES, SIZE, small_spec
from tests.signals import noise, sine, write_wav


def misplaced(figure) -> list[str]:
    """The texts of a figure that its edges cut off, and the pairs that lie on one another."""
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    texts = list(drawn_texts(figure))
    boxes = [text.get_window_extent(renderer) for text in texts]
    edge = figure.bbox
    found = [
        f"cut off: {text.get_text()}"
        for text, box in zip(texts, boxes, strict=True)
        if box.x0 < 0 or box.y0 < 0 or box.x1 > edge.x1 or box.y1 > edge.y1
    ]
    # Of a slanted name the box says nothing: it is mostly empty.
    straight = [
        (text.get_text(), box) for text, box in zip(texts, boxes, strict=True) if text.get_rotation() in (0, 90)
    ]
    for place, (one, box) in enumerate(straight):
        for other, beside in straight[place + 1 :]:
            if box.x0 < beside.x1 and beside.x0 < box.x1 and box.y0 < beside.y1 and beside.y0 < box.y1:
                found.append(f"overlapping: {one} and {other}")
    return found


def drawn_texts(figure):
    """The texts of a figure as it was drawn last, without the tick labels beyond the ends of their axes."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                seen = low <= tick.get_loc() <= high and axes.axison
                yield from (label for label in (tick.label1,) if seen and label.get_visible() and label.get_text())
            yield from (text for text in (axis.label,) if axes.axison and text.get_visible() and text.get_text())
        yield from (text for text in (axes.title, axes._left_title, *axes.texts) if text.get_text())
        if axes.get_legend():
            yield from axes.get_legend().get_texts()
    for part in (figure, *figure.subfigs):
        yield from (text for text in part.texts if text.get_text())


def axes_of(width: float = 4, height: float = 3):
    return new_figure(width, height, layout="constrained").subplots()


def test_a_trace_has_the_range_and_the_amplitude_of_a_sine():
    trace = trace_waveform(sine(1000, 16_000, amplitude=0.5), 16_000)
    assert (trace.rate_hz, trace.samples, trace.channels, trace.seconds) == (16_000, 16_000, 1, 1.0)
    assert (trace.minimum, trace.maximum) == pytest.approx((-0.5, 0.5), abs=1e-3)
    assert trace.rms == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)
    bins = trace.spectrum.shape[1]
    middle = trace.spectrum[len(trace.spectrum) // 2]
    assert middle.argmax() * 8_000 / (bins - 1) == pytest.approx(1000, abs=20)
    assert middle.max() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("samples", [1, 2, 63, 999, 1000, 1001, 16_000, 300_001])
def test_a_trace_of_any_length_covers_all_samples(samples):
    waveform = noise(samples, seed=samples)
    trace = trace_waveform(waveform, 16_000)
    assert len(trace.low) == len(trace.high) <= 1000
    assert len(trace.low) * trace.column_seconds >= trace.seconds
    assert len(trace.spectrum) <= 1000
    assert (trace.minimum, trace.maximum) == (waveform.min(), waveform.max())
    assert trace.rms == pytest.approx(np.sqrt(np.square(waveform, dtype=np.float64).mean()))


def test_a_long_file_read_in_blocks_gives_what_it_gives_in_one(tmp_path, monkeypatch):
    samples = np.stack([noise(100_000), sine(440, 100_000)], axis=1)
    path = str(write_wav(tmp_path / "sound.wav", samples))
    whole = trace_file(path, probe(path))
    monkeypatch.setattr("features.pictures.signal_summary._READ_SAMPLES", 4_000)
    blocks = trace_file(path, probe(path))
    assert whole.channels == 2
    for name in ("low", "high", "spectrum"):
        assert np.array_equal(getattr(whole, name), getattr(blocks, name)), name
    assert blocks.rms == pytest.approx(whole.rms)


def test_a_short_tone_is_seen_at_its_time_in_an_hour():
    waveform = np.zeros(8_000 * 600, np.float32)
    waveform[8_000 * 300 : 8_000 * 300 + 400] = sine(2000, 400, 8_000)
    trace = trace_waveform(waveform, 8_000)
    column = trace.spectrum.max(axis=1).argmax()
    assert column * trace.spectrum_column_seconds == pytest.approx(300, abs=1)
    assert trace.spectrum.max() > 0.4


def test_channels_that_cancel_one_another_stay_in_the_spectrum(tmp_path):
    tone = sine(1000, 16_000)
    path = str(write_wav(tmp_path / "sound.wav", np.stack([tone, -tone], axis=1)))
    assert trace_file(path, probe(path)).spectrum.max() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("spec", "x_label", "y_label"),
    [
        (STFT, "time (s)", "frequency (Hz)"),
        (LOG_MEL, "time (s)", "Hz, 64 mel bands"),
        (MFCC, "time (s)", "MFCC (coefficient)"),
        (changed(STFT, pool="mean"), "frequency (Hz)", "log of the mean"),
        (changed(LOG_MEL, pool="mean"), "Hz, 64 mel bands", "mean value"),
        (changed(MFCC, pool="mean", clip_seconds=None), "MFCC (coefficient)", "mean value"),
    ],
    ids=lambda value: f"{value.front_end}-{value.pool}" if hasattr(value, "pool") else "",
)
def test_features_have_axes_with_units(spec, x_label, y_label):
    axes = axes_of()
    draw_features(axes, compute_features([noise(spec.clip_samples or 30_000)], spec)[0], spec)
    assert (axes.get_xlabel(), axes.get_ylabel()) == (x_label, y_label)
    assert not misplaced(axes.figure)


def test_a_spectrogram_of_magnitudes_is_drawn_as_logarithms():
    axes = axes_of()
    draw_features(axes, np.full(STFT.shape, np.e, np.float32), STFT)
    [image] = axes.images
    assert np.allclose(image.get_array(), 1.0, atol=1e-5)
    assert tuple(image.get_extent()) == (0, 1, 0, 8_000)
    assert image.get_cmap().name == "cividis"
    draw_features(axes, np.zeros(STFT.shape, np.float32), STFT)
    assert np.isfinite(axes.images[-1].get_array()).all()


def test_windows_of_a_network_are_drawn_where_they_begin():
    spec = small_spec(clip_seconds=0.25, hop_samples=SAMPLES, pool=None)
    axes = axes_of()
    values = np.arange(3 * SIZE, dtype=np.float32).reshape(3, SIZE)
    draw_features(axes, values, spec)
    [image] = axes.images
    np.testing.assert_array_equal(image.get_array(), values.T)
    assert tuple(image.get_extent()) == pytest.approx((0, 0.3, -0.5, SIZE - 0.5))
    assert axes.get_xlim() == (0, 0.25)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (s)", "number of the value")


@pytest.mark.parametrize(("pool", "label"), [("mean", "mean value"), ("max", "largest value")])
def test_a_pooled_embedding_is_a_curve_of_its_values(pool, label):
    axes = axes_of()
    values = np.array([0.5, -3, 2, 0, 1, 4], np.float32)
    draw_features(axes, values, small_spec(pool=pool))
    [curve] = axes.lines
    np.testing.assert_array_equal(curve.get_ydata(), values)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("number of the value", label)
    assert not misplaced(axes.figure)


def test_ticks_of_mel_bands_lie_at_their_frequencies():
    axes = axes_of(4, 4)
    waveform = sine(1000, 16_000)
    features = compute_features([waveform], LOG_MEL)[0]
    draw_features(axes, features, LOG_MEL)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    place = axes.get_yticks()[labels.index("1000")]
    assert abs(features.mean(axis=0).argmax() - place) < 1


def test_sounds_have_axes_with_units():
    trace = trace_waveform(sine(1000, 8_000, 8_000), 8_000)
    axes = axes_of()
    draw_waveform(axes, trace)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xlim()) == ("time (s)", "amplitude", (0, 1))
    axes = axes_of()
    draw_spectrogram(axes, trace)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (s)", "frequency (Hz)")
    assert tuple(axes.images[0].get_extent()[2:]) == (0, 4_000)


def test_silence_is_a_line_and_dark():
    trace = trace_waveform(np.zeros(8_000, np.float32), 8_000)
    axes = axes_of()
    draw_waveform(axes, trace)
    assert axes.get_ylim()[1] > 0
    axes = axes_of()
    image = draw_spectrogram(axes, trace)
    assert image.norm(image.get_array()).max() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("down", "down"), ("a$b$c", r"a\$b\$c"), ("a\nb", r"a\x0ab"), ("x" * 10 + "y" * 10, "xxxx…yyy")],
)
def test_names_are_shown_as_they_are_and_never_as_formulas(name, shown):
    assert plain(name, 8) == shown


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    for name in ("one.png", "two.png"):
        axes = axes_of()
        draw_waveform(axes, trace_waveform(noise(1_000), 8_000))
        axes.set_title(plain("鳥 $"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            save(axes.figure, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("path", "message"),
    [("picture.jpg", "ends in .png, not picture.jpg"), ("nowhere/picture.png", "make nowhere first")],
)
def test_a_picture_that_cannot_be_written_is_refused(path, message):
    with pytest.raises(UsageError, match=message):
        check_picture("--output", path)


def test_a_folder_is_no_picture(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check_picture("--output", str(tmp_path / "a.png"))


@pytest.mark.data
@pytest.mark.parametrize("name", ["soundscape_120s.flac", "bat_selec2.wav"])
def test_real_recordings_have_traces(data, name):
    path = str(data / "field_recordings" / name)
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    trace = trace_file(path, probe(path))
    assert (trace.rate_hz, trace.samples, trace.channels) == (rate_hz, *samples.shape)
    assert (trace.minimum, trace.maximum) == (samples.min(), samples.max())
