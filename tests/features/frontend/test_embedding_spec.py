import hashlib

import pytest

from features.errors import UsageError
from features.frontend.presets import (
    NETWORKS,
    PRESETS,
    NetworkChoice,
    SpecChoice,
    load_preset,
    load_spec,
    preset,
    preset_name,
)
from features.frontend.spec import FeatureSpec
from features.io.filesystem import filesystem_of
from tests.features.examples import LOG_MEL, STFT, changed
from tests.features.networks.small import SAMPLES, SIZE, small_network, small_spec, write_small_network

SPEC = small_spec()
BIRDNET = preset("birdnet-2.4")
OTHER_SHA256 = "0" * 64


def begins(samples: int, window: int, hop: int) -> list[int]:
    """Where windows begin: one after the other until the clip's last sample is reached or passed."""
    found = [0]
    while found[-1] + window < samples and found[-1] + hop < samples:
        found.append(found[-1] + hop)
    return found


@pytest.mark.parametrize("hop", [1, 3, 7, 8, 9, 20])
def test_windows_reach_the_last_sample_and_each_has_one(hop):
    spec = changed(SPEC, window_samples=8, hop_samples=hop)
    for samples in [0, 1, 7, 8, 9, *range(10, 50), 400]:
        assert spec.count_frames(samples) == len(begins(samples, 8, hop)), samples


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"pool": None}, (4, SIZE)),
        ({"pool": None, "hop_samples": SAMPLES}, (3, SIZE)),
        ({"pool": None, "clip_seconds": 1 / 8_000}, (1, SIZE)),
        ({"pool": "mean"}, (SIZE,)),
        ({"pool": "max"}, (SIZE,)),
        ({"pool": "max", "clip_seconds": None}, (SIZE,)),
    ],
)
def test_shape(fields, shape):
    spec = small_spec(**fields)
    assert spec.shape == shape
    assert spec.num_bands == SIZE
    assert spec.least_samples == 1
    assert FeatureSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    ("spec", "fields", "rule", "met"),
    [
        (SPEC, {"fft_samples": 512}, "embedding has no fft_samples", "fft_samples=512"),
        (SPEC, {"mel_bands": 64}, "embedding has no mel_bands", "mel_bands=64"),
        (SPEC, {"coefficients": 13}, "embedding has no coefficients", "coefficients=13"),
        (SPEC, {"dynamic_range_db": 80}, "log_scale='decibel'", "dynamic_range_db=80"),
        (SPEC, {"centred": True}, "begins with the clip", "centred=True"),
        (SPEC, {"spectrum_power": 2}, "takes samples", "spectrum_power=2"),
        (SPEC, {"pool": "median"}, "pool is one of ('mean', 'max', None)", "pool=median"),
        (SPEC, {"clip_seconds": None, "pool": None}, "need pool='mean' or pool='max'", "clip_seconds=None"),
        (SPEC, {"clip_seconds": 1e-5}, "one sample at least", "(0 samples)"),
        (SPEC, {"network_sha256": None}, "embedding needs network_sha256", "=None"),
        (SPEC, {"network_sha256": "ab"}, "64 hexadecimal digits", "=ab"),
        (SPEC, {"network_sha256": "AB" * 32}, "in lower case", "ABAB"),
        (SPEC, {"network_sha256": "0" * 64 + "\n"}, "64 hexadecimal digits", "000"),
        (SPEC, {"network_sha256": 5}, "network_sha256 is str", "=5"),
        (SPEC, {"network_format": None}, "embedding needs network_format", "=None"),
        (SPEC, {"network_format": "pb"}, "network_format is one of", "=pb"),
        (SPEC, {"network_output": ""}, "the name of a tensor", "network_output=''"),
        (SPEC, {"embedding_size": None}, "embedding needs embedding_size", "=None"),
        (SPEC, {"embedding_size": 0}, "embedding_size is above 0", "=0"),
        (SPEC, {"input_scale": 0}, "input_scale is above 0", "=0"),
        (SPEC, {"input_scale": float("inf")}, "input_scale is float", "inf"),
        (SPEC, {"window_samples": 0}, "window_samples is above 0", "=0"),
        (SPEC, {"hop_samples": 0}, "hop_samples is above 0", "=0"),
        (STFT, {"network_sha256": OTHER_SHA256}, "stft has no network_sha256", OTHER_SHA256),
        (STFT, {"network_format": "tflite"}, "stft has no network_format", "=tflite"),
        (LOG_MEL, {"network_output": "x"}, "log_mel has no network_output", "=x"),
        (LOG_MEL, {"embedding_size": 3}, "log_mel has no embedding_size", "=3"),
        (LOG_MEL, {"input_scale": 1}, "log_mel has no input_scale", "=1"),
        (LOG_MEL, {"pool": "max"}, "pool is one of ('mean', None) for log_mel", "pool=max"),
    ],
)
def test_contradictions_give_the_rule_and_the_value(spec, fields, rule, met):
    with pytest.raises(UsageError) as error:
        changed(spec, **fields)
    assert rule in str(error.value)
    assert met in str(error.value)


def test_a_spectrum_needs_its_fft():
    fields = {**STFT.to_dict(), "fft_samples": None}
    with pytest.raises(UsageError, match="front end stft needs fft_samples, but fft_samples=None"):
        FeatureSpec(**fields)


def test_fingerprint_is_the_published_one():
    assert BIRDNET.fingerprint == "83c6f8240fe67d8e6bb0afbce00560b590ca7ce56e0fe8e93fc42eda6a5fd6f8"
    assert preset_name(BIRDNET) == "birdnet-2.4"
    assert (BIRDNET.shape, BIRDNET.clip_samples, BIRDNET.row_bytes) == ((1024,), 144_000, 4096)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network_sha256", OTHER_SHA256),
        ("network_format", "onnx"),
        ("network_output", "hidden"),
        ("embedding_size", 7),
        ("input_scale", 32_768.0),
        ("hop_samples", 200),
        ("window_samples", 200),
        ("pool", "max"),
    ],
)
def test_every_field_changes_the_fingerprint(name, value):
    other = changed(SPEC, **{name: value})
    assert other.fingerprint != SPEC.fingerprint
    assert SPEC.differences(other) == f"{name}: {getattr(SPEC, name)} against {value}"


def test_the_file_of_the_network_is_named_by_its_hash():
    assert SPEC.network_name == f"{SPEC.network_sha256}.tflite"
    assert changed(SPEC, network_format="saved_model").network_name == f"{SPEC.network_sha256}.zip"
    assert STFT.network_name is None


def toml(**fields: object) -> str:
    given = {
        "front_end": "embedding", "sample_rate_hz": 8_000, "clip_seconds": 0.25, "window_samples": SAMPLES,
        "hop_samples": SAMPLES // 2, "pool": "mean", "network_file": "networks/small.tflite", "embedding_size": SIZE,
    }  # fmt: skip
    lines = (f"{name} = {value!r}" for name, value in {**given, **fields}.items() if value is not None)
    return "\n".join(lines)


@pytest.fixture
def file(tmp_path):
    write_small_network(tmp_path / "networks" / "small.tflite")
    return tmp_path / "spec.toml"


def test_a_file_names_a_network_beside_it(file):
    file.write_text(toml(network_licence="CC0", network_source="two layers, drawn"), encoding="utf-8")
    choice = load_spec(str(file))
    assert choice.spec == SPEC
    assert choice.network == NetworkChoice(str(file.parent / "networks" / "small.tflite"), "CC0", "two layers, drawn")
    file.write_text(toml(network_sha256=SPEC.network_sha256), encoding="utf-8")
    assert load_spec(str(file)).spec == SPEC
    file.write_text(toml(network_file=None, network_sha256=SPEC.network_sha256, network_format="tflite"))
    assert load_spec(str(file)).spec == SPEC
    assert load_spec(str(file)).network == NetworkChoice(None)


def test_a_network_may_lie_in_a_store(file, s3):
    filesystem_of(s3.uri).write(f"{s3.uri}/small.tflite", small_network())
    file.write_text(toml(network_file=f"{s3.uri}/small.tflite"), encoding="utf-8")
    assert load_spec(str(file)) == SpecChoice(SPEC, NetworkChoice(f"{s3.uri}/small.tflite"))


def test_the_option_counts_more_than_the_file(file, tmp_path):
    other = write_small_network(tmp_path / "other.tflite", seed=1)
    file.write_text(toml(), encoding="utf-8")
    choice = load_spec(str(file), str(other))
    assert choice.network.file == str(other)
    assert choice.spec.network_sha256 == hashlib.sha256(small_network(seed=1)).hexdigest()


def test_lengths_in_seconds_and_no_pool(file):
    file.write_text(toml(window_samples=None, hop_samples=None, window_seconds=0.1, hop_seconds=0.05, pool="none"))
    assert load_spec(str(file)).spec == small_spec(pool=None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network_file": "none.tflite"}, "none.tflite: there is no such network"),
        ({"network_file": "spec.toml"}, "spec.toml: this is no network"),
        ({"network_file": 3}, "network_file is a text, not 3"),
        ({"network_licence": ""}, "network_licence is a text, not ''"),
        ({"network_file": None}, "embedding needs network_sha256"),
        ({"network_sha256": OTHER_SHA256}, f"another network than that of .*: its sha256 is {SPEC.network_sha256}"),
        ({"front_end": "stft", "fft_samples": 1024}, "a network is for the front end embedding, not stft"),
        ({"front_end": "stft", "network_file": None, "embedding_size": None, "fft_samples": 1024,
          "network_licence": "CC0"}, "a network is for the front end embedding, not stft"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_used(file, fields, message):
    file.write_text(toml(**fields), encoding="utf-8")
    with pytest.raises(UsageError, match=message) as error:
        load_spec(str(file))
    assert str(file.parent) in str(error.value)


def test_a_preset_takes_its_own_network_alone(tmp_path):
    origin = NETWORKS["birdnet-2.4"]
    assert load_preset("birdnet-2.4").network == NetworkChoice(None, origin.licence, origin.source)
    assert load_preset("log-mel").network is None
    other = str(write_small_network(tmp_path / "small.tflite"))
    with pytest.raises(UsageError, match=r"small\.tflite is another network than that of preset birdnet-2\.4: its"):
        load_preset("birdnet-2.4", other)
    with pytest.raises(UsageError, match="preset log-mel: a network is for the front end embedding, not log_mel"):
        load_preset("log-mel", other)
    file = tmp_path / "spec.toml"
    file.write_text('preset = "birdnet-2.4"\nclip_seconds = 5\npool = "none"\n', encoding="utf-8")
    choice = load_spec(str(file))
    assert choice.spec.shape == (2, 1024)
    assert choice.network == NetworkChoice(None, origin.licence, origin.source)


def test_each_preset_with_a_network_has_its_origin():
    assert set(NETWORKS) == {name for name in PRESETS if PRESETS[name]["front_end"] == "embedding"}
