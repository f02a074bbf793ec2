"""What importing and using the Python interface loads."""

import subprocess
import sys

from tests.signals import noise, write_wav

HEAVY = (
    "tensorflow", "keras", "apache_beam", "scipy", "matplotlib", "pyarrow", "numpy", "openvino", "ai_edge_litert",
    "onnxruntime",
)  # fmt: skip
PROGRAM = """
import sys

def loaded():
    return sorted({name.partition(".")[0] for name in sys.modules} & set(%r))

import soundmill
print(loaded())
features = soundmill.open_features(sys.argv[1])
features.array(features.clips()["path"][0].as_py())
for _ in features.batches("training", 16, seed=0):
    pass
print("tensorflow" in loaded(), "keras" in loaded(), "apache_beam" in loaded())
model = soundmill.load_model(sys.argv[2])
print(len(model.predict(sys.argv[3])))
print("tensorflow" in loaded(), "keras" in loaded(), "apache_beam" in loaded())
"""


def test_nothing_heavy_is_loaded_before_it_is_used(feature_set, run_folder, tmp_path):
    clip = write_wav(tmp_path / "clip.wav", noise(32_000))
    command = [sys.executable, "-c", PROGRAM % (HEAVY,), feature_set, run_folder, clip]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["[]", "False False False", "2", "False False False"]
