"""What loading TensorFlow and OpenVINO does to the process around them."""

import os
import re
import subprocess
import sys
import threading

from model.inference.tensorflow_setup import quiet_stderr
from tests.network import NetworkWatch
from tests.test_layers import imports, trees


def test_quiet_blocks_in_two_threads_leave_standard_error_as_it_was(capfd):
    second_entered, first_left = threading.Event(), threading.Event()

    def second():
        with quiet_stderr(re.compile("routine")):
            os.write(2, b"routine of the second\n")
            second_entered.set()
            first_left.wait(10)

    before = os.fstat(2)
    thread = threading.Thread(target=second)
    with quiet_stderr(re.compile("routine")):
        os.write(2, b"routine of the first\n")
        thread.start()
        second_entered.wait(0.5)  # where the second does not wait for the first
    first_left.set()
    thread.join()
    assert os.path.samestat(os.fstat(2), before)
    os.write(2, b"said afterwards\n")
    assert capfd.readouterr().err == "said afterwards\n"


def test_a_quiet_block_may_stand_in_another(capfd):
    with quiet_stderr(re.compile("outer")):
        with quiet_stderr(re.compile("inner")):
            os.write(2, b"inner\nsaid inside\n")
        os.write(2, b"outer\nsaid outside\n")
    assert capfd.readouterr().err == "said inside\nsaid outside\n"


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
