import os
import re
import subprocess
import sys
import threading

from features.runtime.native_messages import quiet_stderr


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


def test_where_standard_error_is_closed_its_number_is_left_to_the_file_that_has_it(tmp_path):
    code = """
import os, re, sys
from features.runtime.native_messages import quiet_stderr
with open(sys.argv[1], "w") as file:
    os.dup2(file.fileno(), 2)
    with quiet_stderr(re.compile("")):
        os.write(2, b"of the file")
"""
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code, tmp_path / "file"]
    subprocess.run(closed, check=True)
    assert (tmp_path / "file").read_text() == "of the file"
