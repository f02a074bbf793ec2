"""Windows at any distance: where they lie, and that each follows from its own samples alone."""

import itertools
import math
import os
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.audio.decode import AudioInfo, decode, decode_part, probe
from features.audio.protocol import Decoded
from features.errors import ClipError, Reason, UsageError
from features.frontend import blocks, windows
from features.frontend.presets import preset
from features.frontend.waveform import fit
from features.frontend.windows import (
    DROP,
    OVERLAP,
    PAD,
    TAILS,
    Windowing,
    num_windows,
    waveform_windows,
    window_waveforms,
    windowing_of,
)
from tests.features.audio.test_decode import encoded, wav
from tests.features.examples import STFT, TINY, changed
from tests.signals import noise, to_int16

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)
POOLED = preset("urbansound-mfcc")
CLIP = TINY.clip_samples


def spans(frames: int, rate_hz: int, windowing: Windowing) -> list[tuple[int, int]]:
    """Where windows lie by the rules, in fractions, which round nothing."""

    def at(sample: int) -> int:
        return math.floor(Fraction(sample * rate_hz, TINY.sample_rate_hz))

    hop, found = windowing.hop_samples or CLIP, []
    while at(len(found) * hop + CLIP) <= frames:
        found.append((at(len(found) * hop), at(len(found) * hop + CLIP)))
    if not found:
        return [(0, frames)]
    begin = at(len(found) * hop)
    behind = frames - max(begin, found[-1][1])
    if behind > 0 and Fraction(behind, rate_hz) >= Fraction(1, 2 * TINY.sample_rate_hz):
        least = Fraction(windowing.least_seconds).limit_denominator(10**6)
        if windowing.tail == OVERLAP:
            found.append((max(found[-1][0], frames - at(CLIP)), frames))
        elif windowing.tail == PAD and Fraction(frames - begin, rate_hz) >= least:
            found.append((begin, frames))
    return found


@st.composite
def lengths(draw: st.DrawFn, rate_hz: int) -> int:
    """Frames of 0 and 1, of a window, one less and one more, of ten windows, and of anything in between."""
    window = CLIP * rate_hz // TINY.sample_rate_hz
    return draw(st.one_of(st.sampled_from((0, 1, window - 1, window, window + 1, 10 * window)),
                          st.integers(0, 12 * window)))  # fmt: skip


@st.composite
def recordings(draw: st.DrawFn) -> tuple[int, int]:
    rate_hz = draw(st.sampled_from(RATES))
    return draw(lengths(rate_hz)), rate_hz


@st.composite
def windowings(draw: st.DrawFn, least_hop: int = 1) -> Windowing:
    hops = (None, 1, 7, CLIP // 10, CLIP // 2, CLIP - 1, CLIP, CLIP + 1, 2 * CLIP, 5 * CLIP)
    hop = draw(st.sampled_from([hop for hop in hops if hop is None or hop >= least_hop]))
    tail = draw(st.sampled_from(TAILS))
    return Windowing(hop, tail, draw(st.sampled_from((0.0, 0.001, 0.0025))) if tail == PAD else 0.0)


@given(recordings(), windowings())
@example((441, 44_100), Windowing(tail=OVERLAP))
def test_windows_lie_where_the_rules_say(recording, windowing):
    frames, rate_hz = recording
    assert num_windows(AudioInfo(frames, 1, rate_hz), TINY, windowing) == len(spans(frames, rate_hz, windowing))


@settings(max_examples=40)
@given(recordings(), windowings(least_hop=CLIP // 10), st.integers(0, 99))
@example((9_600, 192_000), Windowing(CLIP // 10), 100)
@example((2_205, 44_100), Windowing(CLIP // 2, OVERLAP), 1)
@example((481, 96_000), Windowing(CLIP // 2, DROP), 0)
def test_a_window_at_any_distance_follows_from_its_own_samples(recording, windowing, seed):
    frames, rate_hz = recording
    expected = spans(frames, rate_hz, windowing)
    samples = to_int16(noise(frames, seed))
    content = wav(rate_hz=rate_hz, samples=samples)
    info = probe(content)
    decoded = samples[:, None].astype(np.float32) / 32768
    try:
        by_themselves = [fit(decoded[begin:end], rate_hz, TINY) for begin, end in expected]
    except ClipError as error:  # so short that no sample is left of it at the other rate
        with pytest.raises(ClipError, match=error.message if frames else "no samples"):
            list(window_waveforms(content, info, TINY, 0, 1, windowing))
        return
    first = seed % len(expected)
    readings = {
        (0, len(expected)): waveform_windows(decoded, rate_hz, TINY, windowing),
        (first, len(expected)): window_waveforms(content, info, TINY, first, len(expected) - first, windowing),
        (first, first + 1): window_waveforms(content, info, TINY, first, 1, windowing),
    }
    for (begun, ended), found in readings.items():
        places, waveforms = expected[begun:ended], by_themselves[begun:ended]
        for window, (begin, end), alone in zip(found, places, waveforms, strict=True):
            assert window[1:4] == (begin / rate_hz, end / rate_hz, True)
            assert np.array_equal(window.waveform, alone)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16")])
def test_borders_of_blocks_are_not_to_be_seen(kind, subtype, monkeypatch):
    """Each sample is read once for all windows that share it, and a window may take more than one block."""
    content = encoded(np.stack([noise(1_600), noise(1_600, 1)], 1), kind, subtype)
    info = probe(content)
    whole = decode(content, info)
    read: list[tuple[int, int]] = []

    def counted(source, info, start, frames, forward):
        read.append((start, start + frames))
        return decode_part(source, info, start, frames, forward)

    monkeypatch.setattr(blocks, "decode_part", counted)
    for hop, tail, per_block in itertools.product((8, 30, 80, 200), TAILS, (3, 64)):
        read.clear()
        monkeypatch.setattr(windows, "_READ_WINDOWS", per_block)
        windowing = Windowing(hop, tail)
        expected = spans(1_600, 16_000, windowing)
        found = list(window_waveforms(content, info, TINY, 0, len(expected), windowing))
        for window, (begin, end) in zip(found, expected, strict=True):
            assert np.array_equal(window.waveform, fit(whole[begin:end], 16_000, TINY))
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(read))
        assert read[-1][1] == expected[-1][1]
    for number, window in enumerate(found):
        (alone,) = window_waveforms(content, info, TINY, number, 1, windowing)
        assert np.array_equal(alone.waveform, window.waveform)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16")])
def test_what_lies_between_distant_windows_is_not_decoded(kind, subtype, monkeypatch):
    decoded = []

    def counted(*arguments, **options):
        part = decode_part(*arguments, **options)
        decoded.append(len(part.samples))
        return part

    monkeypatch.setattr(blocks, "decode_part", counted)
    rate_hz, hop = 44_100, Windowing(hop_samples=round(20.3 * STFT.clip_samples))
    samples = to_int16(noise(61 * rate_hz))
    content = encoded(samples, kind, subtype, rate_hz)
    found = list(window_waveforms(content, probe(content), STFT, 0, 4, hop))
    assert len(found) == 4
    assert sum(decoded) <= 2 * 4 * rate_hz
    for window in found:
        begin = round(window.start_seconds * rate_hz)
        there = np.float32(samples[begin : begin + rate_hz, np.newaxis]) / 2**15
        assert np.array_equal(window.waveform, fit(there, rate_hz, STFT))


def test_what_a_damage_took_is_missing_in_the_windows_that_it_touches(monkeypatch):
    """Of blocks of 400 frames the second is lost, and of the fourth all but its first 100."""
    samples = noise(2_000)[:, None]
    content = wav(samples=to_int16(samples))
    info = probe(content)
    whole = decode(content, info)

    def damaged(source, info, start, frames, forward):
        if start == 400:
            raise ClipError("decode", Reason.DAMAGED, "a bad frame")
        return Decoded(whole[start : start + frames][: 100 if start == 1_200 else None])

    monkeypatch.setattr(blocks, "decode_part", damaged)
    monkeypatch.setattr(windows, "_READ_WINDOWS", 10)
    heard = whole.copy()
    heard[400:800] = heard[1_300:1_600] = 0
    lost = {*range(400, 800), *range(1_300, 1_600)}
    for tail in TAILS:
        windowing = Windowing(40, tail)
        expected = []
        for begin, end in spans(2_000, 16_000, windowing):
            behind = max((frame + 1 for frame in range(begin, end) if frame not in lost), default=begin)
            if behind > begin and (behind == end or tail != DROP):
                expected.append((begin, behind, lost.isdisjoint(range(begin, end))))
        found = list(window_waveforms(content, info, TINY, 0, num_windows(info, TINY, windowing), windowing))
        for window, (begin, end, is_whole) in zip(found, expected, strict=True):
            assert window[1:4] == (begin / 16_000, end / 16_000, is_whole)
            assert np.array_equal(window.waveform, fit(heard[begin:end], 16_000, TINY))


def test_windows_are_exact_after_a_day(tmp_path):
    rate_hz, frames, tone = 11_025, 24 * 3_600 * 11_025, to_int16(noise(3 * 11_025))
    path = tmp_path / "day.wav"
    header = wav(rate_hz=rate_hz, samples=np.empty(0, "<i2"))
    with path.open("wb") as file:
        file.write(header[:4] + struct.pack("<I", 36 + 2 * frames) + header[8:40] + struct.pack("<I", 2 * frames))
        file.truncate(44 + 2 * frames)  # zeros that take no room
        file.seek(-tone.nbytes, os.SEEK_END)
        file.write(tone.tobytes())
    info = probe(str(path))
    assert info.frames == frames
    windowing = windowing_of(STFT, 0.1, OVERLAP)
    count = num_windows(info, STFT, windowing)
    assert count == 24 * 36_000 - 9
    for number, window in enumerate(window_waveforms(str(path), info, STFT, count - 15, 15, windowing), count - 15):
        begin = number * 1_600 * rate_hz // 16_000
        assert window.start_seconds == begin / rate_hz
        at = begin - frames + len(tone)
        assert np.array_equal(window.waveform, fit(tone[at : at + rate_hz, None] / np.float32(32768), rate_hz, STFT))


def test_options_become_a_windowing():
    default = Windowing(None, PAD, 0.05)
    assert windowing_of(STFT) == windowing_of(STFT, 1.0) == windowing_of(STFT, 1.00002) == default
    assert windowing_of(STFT, 0.5, min_window_seconds=0.25) == Windowing(8_000, PAD, 0.25)
    assert windowing_of(STFT, 1e-9, DROP) == Windowing(1, DROP, 0.0)
    assert windowing_of(changed(STFT, clip_seconds=3.0), 10, OVERLAP) == Windowing(160_000, OVERLAP, 0.0)
    assert windowing_of(POOLED, None, PAD) == Windowing()
    for hop in (0, -0.5, math.nan, math.inf):
        with pytest.raises(UsageError, match=f"--hop-seconds is above 0, not {hop:g}"):
            windowing_of(STFT, hop)
    for arguments in ((None, DROP), (None, OVERLAP), (4.0, PAD)):
        with pytest.raises(UsageError, match="a clip length; this one takes each recording whole"):
            windowing_of(POOLED, *arguments)
    with pytest.raises(UsageError, match="--min-window-seconds is for --tail pad; with --tail drop"):
        windowing_of(STFT, None, DROP, 0.5)
    with pytest.raises(UsageError, match="--tail is one of pad, drop, overlap, not 'keep'"):
        windowing_of(STFT, None, "keep")
