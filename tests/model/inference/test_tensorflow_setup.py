"""What loading TensorFlow and OpenVINO does to the process around them."""

import subprocess
import sys

from tests.network import NetworkWatch
from tests.test_layers import imports, trees


def test_openvino_is_loaded_without_looking_up_a_name_or_writing_into_the_home_folder(tmp_path):
    code = """
import sys
from model.inference.tensorflow_setup import load_openvino
assert load_openvino() is sys.modules["openvino"]
assert "openvino_telemetry" not in sys.modules
import openvino_telemetry
assert load_openvino() is sys.modules["openvino"]
assert sys.modules["openvino_telemetry"] is openvino_telemetry
"""
    watch = NetworkWatch(tmp_path)
    subprocess.run([sys.executable, "-c", code], check=True, env=watch.environment)
    assert (watch.attempts(), watch.written_into_home()) == ([], [])


def test_a_telemetry_that_the_process_has_loaded_already_is_neither_used_nor_lost(tmp_path):
    code = """
import sys
import openvino_telemetry
from model.inference.tensorflow_setup import load_openvino
load_openvino()
assert sys.modules["openvino_telemetry"] is openvino_telemetry
"""
    watch = NetworkWatch(tmp_path)
    subprocess.run([sys.executable, "-c", code], check=True, env=watch.environment)
    assert (watch.attempts(), watch.written_into_home()) == ([], [])


def test_the_watch_sees_what_openvino_does_by_itself(tmp_path):
    watch = NetworkWatch(tmp_path)
    subprocess.run([sys.executable, "-c", "import openvino"], check=True, env=watch.environment)
    assert watch.attempts()
    assert watch.written_into_home()


def test_choosing_an_executor_does_not_load_it():
    code = """
import sys
from model.inference.executor import choose_executor, executor_version
assert choose_executor("auto") == "openvino"
executor_version("openvino")
assert "openvino" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_openvino_is_imported_in_one_place():
    found = [path.name for path, tree in trees().items() if "openvino" in imports(tree)]
    assert found == ["tensorflow_setup.py"]
