import json
import shutil

import pytest

from features.frontend.presets import preset
from features.store.manifest import load_manifest
from model.formats.exporter import export
from model.formats.parity import real_signals
from model.formats.saved_model import reads_file
from tests.conftest import clips_table
from tests.model.formats.dense import save_dense
from tests.signals import noise, write_wav

LOG_MEL = preset("log-mel")


@pytest.mark.parametrize("config", [None, "", "{", "[]", "{}", '{"features": 1}', '{"features": "/nothing"}'])
def test_features_that_are_gone_give_no_real_clips(tmp_path, config):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    signals, reason = real_signals(tmp_path, LOG_MEL, reads_file)
    assert signals == []
    assert "not where its config.json says" in reason


def test_clips_of_another_rate_go_in_as_waveforms(feature_set, tmp_path):
    run = save_dense(tmp_path / "run", preset("speech-commands"), ["a", "b"])
    features = shutil.copytree(feature_set, tmp_path / "features")
    (run / "config.json").write_text(json.dumps({"features": str(features)}))
    manifest = json.loads((features / "manifest.json").read_text())
    manifest["source"]["root"] = str(tmp_path / "source")
    (features / "manifest.json").write_text(json.dumps(manifest))
    spec = preset("speech-commands")
    assert real_signals(run, spec, reads_file) == (
        [],
        f"no clip of its source, {tmp_path / 'source'}, is there any more",
    )
    for path in clips_table(features, load_manifest(features))["path"].to_pylist():
        write_wav(tmp_path / "source" / path, noise(20_000), 22_050)
    signals, reason = real_signals(run, spec, reads_file)
    assert (len(signals), {signal.path for signal in signals}, reason) == (8, {None}, "")
    for path in clips_table(features, load_manifest(features))["path"].to_pylist():
        content = bytearray(write_wav(tmp_path / "source" / path, noise(20_000), 16_000).read_bytes())
        content[28] ^= 1  # bytes a second, which TensorFlow checks and soundfile does not
        (tmp_path / "source" / path).write_bytes(content)
    assert {signal.path for signal in real_signals(run, spec, reads_file)[0]} == {None}
    assert export(str(run), str(tmp_path / "model"))["real_clips"] == 8
