import pytest

from features.errors import UsageError
from features.frontend.presets import PRESETS, load_spec, preset
from features.frontend.spec import FeatureSpec
from tests.features.examples import LOG_MEL, MFCC, SPECS, STFT, changed

REQUIRED = ("front_end", "sample_rate_hz", "clip_seconds", "window_samples", "hop_samples", "fft_samples")


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (STFT, (124, 129)),
        (LOG_MEL, (98, 64)),
        (MFCC, (44, 40)),
        (changed(STFT, clip_seconds=255 / 16_000), (1, 129)),
        (changed(STFT, clip_seconds=(255 + 127) / 16_000), (1, 129)),
        (changed(STFT, clip_seconds=(255 + 128) / 16_000), (2, 129)),
        (changed(STFT, clip_seconds=(255 + 129) / 16_000), (2, 129)),
        (changed(MFCC, clip_seconds=1 / 22_050), (1, 40)),
        (changed(MFCC, clip_seconds=511 / 22_050), (1, 40)),
        (changed(MFCC, clip_seconds=512 / 22_050), (2, 40)),
    ],
)
def test_shape(spec, shape):
    assert spec.shape == shape
    assert spec.count_frames(spec.clip_samples) == shape[0]
    assert spec.row_bytes == shape[0] * shape[1] * 4
    assert changed(spec, storage_dtype="float16").row_bytes == shape[0] * shape[1] * 2


@pytest.mark.parametrize(
    ("spec", "fields", "rule", "met"),
    [
        (STFT, {"window_samples": 257}, "fits into the FFT (fft_samples=256)", "window_samples=257"),
        (STFT, {"clip_seconds": 254 / 16_000}, "one window at least (window_samples=255)", "(254 samples)"),
        (MFCC, {"clip_seconds": 0.4 / 22_050}, "one window at least", "(0 samples)"),
        (MFCC, {"window_samples": 2000}, "centred frames have fft_samples=2048", "window_samples=2000"),
        (STFT, {"spectrum_power": 2}, "magnitudes", "spectrum_power=2"),
        (STFT, {"front_end": "wavelet"}, "front_end is one of", "front_end=wavelet"),
        (STFT, {"pool": "max"}, "pool is one of", "pool=max"),
        (STFT, {"crop": "end"}, "crop is one of", "crop=end"),
        *(
            (STFT, {"channels": value}, "the number of a channel, from 1", f"={value}")
            for value in ("left", "2", 0, -1)
        ),
        *((STFT, {"channels": value}, "channels is str or int", f"{value!r}") for value in (True, 1.5, None)),
        (STFT, {"resample_quality": "best"}, "resample_quality is one of", "best"),
        (STFT, {"storage_dtype": "float64"}, "storage_dtype is one of", "float64"),
        (LOG_MEL, {"spectrum_power": 3}, "spectrum_power is one of", "spectrum_power=3"),
        (LOG_MEL, {"mel_filter_bank": "bark"}, "mel_filter_bank is one of", "bark"),
        (LOG_MEL, {"log_scale": "sone"}, "log_scale is one of", "sone"),
        *((STFT, {name: 0}, f"{name} is above 0", f"{name}=0") for name in REQUIRED[1:]),
        (STFT, {"hop_samples": -1}, "hop_samples is above 0", "-1"),
        (STFT, {"hop_samples": 128.5}, "hop_samples is int", "128.5"),
        (STFT, {"hop_samples": True}, "hop_samples is int", "True"),
        (STFT, {"hop_samples": "128"}, "hop_samples is int", "'128'"),
        (STFT, {"centred": 1}, "centred is bool", "centred=1"),
        (STFT, {"clip_seconds": float("nan")}, "clip_seconds is float", "nan"),
        (STFT, {"clip_seconds": float("inf")}, "clip_seconds is float", "inf"),
        (STFT, {"mel_bands": 64}, "stft has no mel_bands", "mel_bands=64"),
        (STFT, {"log_offset": 0.001}, "stft has no log_offset", "log_offset=0.001"),
        (STFT, {"coefficients": 13}, "stft has no coefficients", "coefficients=13"),
        (STFT, {"dynamic_range_db": 80}, "log_scale='decibel'", "dynamic_range_db=80"),
        (LOG_MEL, {"coefficients": 13}, "log_mel has no coefficients", "coefficients=13"),
        (LOG_MEL, {"dynamic_range_db": 80}, "log_scale='decibel'", "dynamic_range_db=80"),
        (LOG_MEL, {"log_scale": "decibel"}, "decibels are of power", "spectrum_power=1"),
        (LOG_MEL, {"mel_high_hz": 8000.5}, "half the sample rate, 8000 Hz", "mel_high_hz=8000.5"),
        (LOG_MEL, {"mel_low_hz": -1}, "mel_low_hz is at least 0", "mel_low_hz=-1"),
        (LOG_MEL, {"mel_low_hz": 8000}, "mel_high_hz is above mel_low_hz", "mel_high_hz=8000"),
        (LOG_MEL, {"mel_bands": 0}, "mel_bands is above 0", "mel_bands=0"),
        (LOG_MEL, {"mel_bands": 400}, "every mel band meets a bin", "mel_bands=400"),
        (LOG_MEL, {"log_offset": 0}, "log_offset is above 0", "log_offset=0"),
        (MFCC, {"coefficients": 0}, "at most as many coefficients as mel_bands=128", "coefficients=0"),
        (MFCC, {"coefficients": 129}, "at most as many coefficients as mel_bands=128", "coefficients=129"),
        (MFCC, {"dynamic_range_db": 0}, "the range is above 0", "dynamic_range_db=0"),
    ],
)
def test_contradictions_give_the_rule_and_the_value(spec, fields, rule, met):
    with pytest.raises(UsageError) as error:
        changed(spec, **fields)
    assert rule in str(error.value)
    assert met in str(error.value)


@pytest.mark.parametrize("front_end", ["log_mel", "mfcc"])
@pytest.mark.parametrize(
    "name", ["mel_filter_bank", "mel_bands", "mel_low_hz", "mel_high_hz", "log_scale", "log_offset"]
)
def test_mel_fields_are_needed(front_end, name):
    fields = SPECS[front_end].to_dict()
    del fields[name]
    fields.pop("dynamic_range_db", None)
    with pytest.raises(UsageError, match=f"{front_end} needs {name}"):
        FeatureSpec.from_dict(fields)


def test_coefficients_are_needed():
    with pytest.raises(UsageError, match="mfcc needs coefficients"):
        FeatureSpec.from_dict({**LOG_MEL.to_dict(), "front_end": "mfcc"})


@pytest.mark.parametrize("name", [name for name in REQUIRED if name != "clip_seconds"])
def test_required_fields_are_named_when_missing(name):
    fields = STFT.to_dict()
    del fields[name]
    with pytest.raises(UsageError, match=rf"^there: {name} missing"):
        FeatureSpec.from_dict(fields, where="there")


def test_clips_of_any_length_are_pooled():
    fields = STFT.to_dict()
    del fields["clip_seconds"]
    with pytest.raises(UsageError, match="clips of any length need pool='mean', but clip_seconds=None"):
        FeatureSpec.from_dict(fields)
    pooled = FeatureSpec.from_dict({**fields, "pool": "mean"})
    assert (pooled.clip_samples, pooled.shape, pooled.row_bytes) == (None, (129,), 129 * 4)
    assert changed(STFT, pool="mean").shape == (129,)


def test_unknown_field_is_named_with_those_that_are_known():
    with pytest.raises(UsageError, match=r"^there: unknown field 'hop_size'; a spec has .*hop_samples"):
        FeatureSpec.from_dict({**STFT.to_dict(), "hop_size": 128}, where="there")


# A digest changes only with a new FRONT_END_VERSION or new fields: then every cached feature set is void.
@pytest.mark.parametrize(
    ("spec", "digest"),
    [
        (STFT, "0616e0f5e1ec71306d9f794744d0ed10f2343821d7a525ff35caf81065e267b5"),
        (LOG_MEL, "31f39925ef529daef2aa93528b60e4663856d961f89ce2f30d985e58433c74f5"),
        (MFCC, "3091b14ac4baf6afea87c763765a58da133dc6a888445f9fe04000a844d1a034"),
        (preset("log-mel-40"), "439ca61134f7a8c21f7465af8d995d054b25fca49e863143741a231607f26d3b"),
        (preset("urbansound-mfcc"), "cd62e52ad210c92f368205f54292ee99f00b544225254615d9257d19b5f46395"),
    ],
    ids=[*SPECS, "log-mel-40", "urbansound-mfcc"],
)
def test_fingerprint_is_the_published_one(spec, digest):
    assert spec.fingerprint == digest


@pytest.mark.parametrize(
    ("channels", "digest"),
    [
        ("mean", "0616e0f5e1ec71306d9f794744d0ed10f2343821d7a525ff35caf81065e267b5"),
        ("loudest", "3854ae0a19ed729cb0ddbcb117cc7843c3a65122839c2859c345504b3c1c2bab"),
        (2, "b397f584129b2f34c3a27f065f31c4b1871d5307fce6c5a5e23991d7a4375e25"),
    ],
)
def test_a_channel_is_a_field_and_the_mean_is_the_spec_without_one(channels, digest):
    spec = changed(STFT, channels=channels)
    assert spec.fingerprint == digest
    assert spec.to_dict().get("channels", "mean") == channels
    assert ("channels" in spec.to_dict()) == (channels != "mean") == (spec != STFT)
    assert FeatureSpec.from_dict(spec.to_dict()) == spec


OTHER_VALUES = {
    "channels": "loudest",
    "sample_rate_hz": 24_000,
    "clip_seconds": 1.5,
    "crop": "centre",
    "resample_quality": "VHQ",
    "hop_samples": 100,
    "mel_filter_bank": "htk",
    "mel_bands": 100,
    "mel_low_hz": 10.0,
    "mel_high_hz": 8_000.0,
    "log_offset": 1e-9,
    "dynamic_range_db": 70.0,
    "coefficients": 13,
    "storage_dtype": "float16",
    "pool": "mean",
    "centred": False,
}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_every_field_changes_the_fingerprint(name):
    other = changed(MFCC, **{name: OTHER_VALUES[name]})
    assert other.fingerprint != MFCC.fingerprint
    assert MFCC.differences(other) == f"{name}: {getattr(MFCC, name)} against {OTHER_VALUES[name]}"


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (STFT, {"clip_seconds": 1}),
        (STFT, {"hop_samples": 128.0, "sample_rate_hz": 16e3}),
        (LOG_MEL, {"mel_low_hz": 20, "mel_high_hz": 8000, "mel_bands": 64.0, "spectrum_power": 1.0}),
        (MFCC, {"dynamic_range_db": 80, "coefficients": 40.0, "mel_low_hz": 0}),
    ],
)
def test_int_and_float_of_the_same_value_are_the_same_spec(spec, fields):
    other = changed(spec, **fields)
    assert other == spec
    assert other.fingerprint == spec.fingerprint
    assert other.to_dict() == spec.to_dict()
    assert [type(value) for value in other.to_dict().values()] == [type(value) for value in spec.to_dict().values()]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_dict_round_trip(spec):
    assert FeatureSpec.from_dict(spec.to_dict()) == spec
    assert None not in spec.to_dict().values()


def test_differences_name_every_field_that_differs():
    assert STFT.differences(STFT) == ""
    other = changed(STFT, hop_samples=64, crop="centre")
    assert STFT.differences(other) == "crop: start against centre; hop_samples: 128 against 64"
    assert "mel_bands: None against 64" in STFT.differences(LOG_MEL)


def test_spec_cannot_be_changed():
    with pytest.raises(AttributeError):
        STFT.hop_samples = 1


@pytest.mark.parametrize("name", PRESETS)
def test_preset_from_toml(tmp_path, name):
    file = tmp_path / "spec.toml"
    file.write_text(f'preset = "{name}"\n', encoding="utf-8")
    assert load_spec(str(file)).spec == preset(name)
    file.write_text(f'preset = "{name}"\nclip_seconds = 2\ncrop = "centre"\nchannels = 2\n', encoding="utf-8")
    assert load_spec(str(file)).spec == changed(preset(name), clip_seconds=2.0, crop="centre", channels=2)


def test_toml_without_preset(tmp_path):
    file = tmp_path / "spec.toml"
    lines = (
        f"{name} = {str(value).lower() if value is True else repr(value)}" for name, value in MFCC.to_dict().items()
    )
    file.write_text("\n".join(lines), encoding="utf-8")
    assert load_spec(str(file)).spec == MFCC


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'preset = "speech"', "no preset 'speech'; there are birdnet-2.4, log-mel, log-mel-40, speech-commands"),
        (b"hop_samples = 128", "front_end, sample_rate_hz, window_samples, fft_samples missing"),
        (b'preset = "log-mel"\nmel_band = 3', "unknown field 'mel_band'"),
        (b'preset = "log-mel"\nmel_bands = "many"', "mel_bands is int"),
        (b'preset = "log-mel"\n[log_mel]\nmel_bands = 3', "unknown field 'log_mel'"),
        (b"front_end stft", "is not TOML"),
        (b"front_end = '\xff'", "is not TOML"),
    ],
)
def test_toml_that_cannot_be_used(tmp_path, content, message):
    file = tmp_path / "spec.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load_spec(str(file))
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_toml_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageError, match=f"cannot read the spec {path}"):
            load_spec(str(path))


@pytest.mark.parametrize(("name", "window", "hop"), [("log-mel", 0.025, 0.01), ("log-mel-40", 0.03, 0.01)])
def test_lengths_in_seconds_are_kept_in_samples(tmp_path, caplog, name, window, hop):
    file = tmp_path / "spec.toml"
    file.write_text(f'preset = "{name}"\nwindow_seconds = {window}\nhop_seconds = {hop}\n', encoding="utf-8")
    assert load_spec(str(file)).spec.fingerprint == preset(name).fingerprint
    for rate_hz in (8_000, 22_050, 32_000, 44_100):
        file.write_text(
            f'preset = "{name}"\nsample_rate_hz = {rate_hz}\nmel_high_hz = {rate_hz / 2}\nmel_bands = 20\n'
            f"window_seconds = {window}\nhop_seconds = {hop}\n",
            encoding="utf-8",
        )
        spec = load_spec(str(file)).spec
        assert spec.window_samples == round(window * rate_hz) <= spec.fft_samples < 2 * spec.window_samples
        assert spec.hop_samples == round(hop * rate_hz)
        assert spec.shape == (preset(name).shape[0], 20), "a rate changes nothing else"
    assert caplog.messages == []


def test_a_centred_window_in_seconds_is_the_length_of_its_transform(tmp_path):
    file = tmp_path / "spec.toml"
    file.write_text('preset = "urbansound-mfcc"\nwindow_seconds = 0.09\n', encoding="utf-8")
    spec = load_spec(str(file)).spec
    assert spec.window_samples == spec.fft_samples == round(0.09 * 22_050)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ["mel_high_hz = 8000", "window_samples = 400, 12.5 ms instead of 25", "hop_samples = 160, 5 ms instead"]),
        ("mel_high_hz = 16000", ["window_samples = 400", "hop_samples = 160"]),
        ("window_seconds = 0.025", ["mel_high_hz = 8000", "hop_samples = 160"]),
        ("hop_samples = 160\nwindow_samples = 400", ["mel_high_hz = 8000"]),
        ("hop_samples = 160\nwindow_seconds = 0.025\nmel_high_hz = 8000", []),
    ],
)
def test_another_rate_than_the_presets_says_what_it_keeps(tmp_path, caplog, given, kept):
    file = tmp_path / "spec.toml"
    file.write_text(f'preset = "log-mel"\nsample_rate_hz = 32000\n{given}\n', encoding="utf-8")
    load_spec(str(file))
    assert len(caplog.messages) == bool(kept)
    text = "".join(caplog.messages)
    assert all(one in text for one in kept)
    assert text.count("mel_high_hz = 16000") == ("mel_high_hz" in "".join(kept))
    for name, seconds in (("window", "0.025"), ("hop", "0.01")):
        is_kept = any(one.startswith(name) for one in kept)
        assert (f"{name}_seconds = {seconds}" in text) == is_kept


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('preset = "log-mel"\nhop_seconds = 0.01\nhop_samples = 160', "hop_samples and hop_seconds are one length"),
        ('preset = "log-mel"\nhop_seconds = 0', "hop_seconds is a number above 0, not 0"),
        ('preset = "log-mel"\nhop_seconds = true', "hop_seconds is a number above 0, not True"),
        ('preset = "log-mel"\nhop_seconds = nan', "hop_seconds is a number above 0, not nan"),
        ('preset = "log-mel"\nwindow_seconds = "25 ms"', "window_seconds is a number above 0, not '25 ms'"),
        ('preset = "log-mel"\nhop_seconds = 1e-9', "hop_samples"),
        ("hop_seconds = 0.01", "hop_seconds needs sample_rate_hz"),
    ],
)
def test_lengths_in_seconds_that_cannot_be(tmp_path, content, message):
    file = tmp_path / "spec.toml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as error:
        load_spec(str(file))
    assert str(file) in str(error.value)
