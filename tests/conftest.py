"""What several tests share: real recordings where they are, a small set made in code, and a network trained on it."""

import contextlib
import fcntl
import fnmatch
import gc
import importlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hypothesis
import imageio_ffmpeg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.store.manifest import Manifest
from features.store.versions import library_versions
from model.inference.tensorflow_setup import ONEDNN
from tests import browser as real_browser
from tests import real_networks
from tests import web_runtime as real_runtime
from tests.browser import browser, visit  # noqa: F401 - fixtures
from tests.object_store.server import s3, s3_server  # noqa: F401 - fixtures
from tests.peers.library import (
    ENVIRONMENTS,
    LIVE,
    LIVE_RECORDERS,
    WRITTEN,
    Expected,
    golden_values,
    is_installed,
    live_values,
)
from tests.signals import write_words

# As `load_tensorflow` has it: a test that imports TensorFlow first computes as the commands that it starts.
os.environ.setdefault(ONEDNN, "1")
hypothesis.settings.register_profile("soundmill", deadline=None, derandomize=True, database=None, max_examples=60)
hypothesis.settings.load_profile("soundmill")

DATA = os.environ.get("SOUNDMILL_DATA")
# The files that take longest, as they were measured.
LONGEST_FIRST = (
    "test_no_network.py",
    "test_network_sets.py",
    "test_resume.py",
    "test_score.py",
    "test_train.py",
    "test_evaluator.py",
    "test_exporter.py",
    "test_parity.py",
    "test_featurize_interrupted.py",
    "test_cross_validation.py",
    "test_study.py",
    "test_executor.py",
    "test_job_server.py",
    "test_model_page_in_browser.py",
    "test_show.py",
    "test_readme.py",
    "test_verify.py",
    "test_spectrogram.py",
    "test_any_damage.py",
    "test_increment.py",
    "test_score_page_in_browser.py",
    "test_review_in_browser.py",
    "test_loop_in_browser.py",
    "test_decode.py",
    "test_changes.py",
    "test_wrong_use.py",
    "test_cache_properties.py",
    "test_repair_killed.py",
    "test_full_disk.py",
    "test_store_sets.py",
    "test_objects.py",
)
STARTED: list[subprocess.Popen] = []


def pytest_addoption(parser):
    parser.addoption(
        "--ffmpeg",
        choices=("found", "yes", "no"),
        default="found",
        help="is an ffmpeg on the PATH of the tests? As it is found there, always, or never",
    )
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="have other projects' libraries compute anew the values that tests/golden holds; with -m golden and -n 0",
    )


def pytest_configure(config):
    # Tests start hundreds of processes: each would compile anew what it imports, be it half of what it takes to start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if not hasattr(config, "workerinput"):  # xdist's processes, and all that tests start, inherit it
        folder = tempfile.TemporaryDirectory(prefix="soundmill-programs-")
        config.add_cleanup(folder.cleanup)
        os.environ["PATH"] = str(freeze_path(Path(folder.name), config.getoption("ffmpeg")))
        if config.getoption("numprocesses"):
            # There is a process of pytest for each core: threads beside them would only take turns.
            os.environ |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
    # A shell starts what runs in its background with Ctrl-C ignored, and all that this starts would inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def freeze_path(folder: Path, ffmpeg: str) -> Path:
    """Fills a folder that stands for the whole PATH, so that once a run it is decided which decoders there are.

    Sets of features name the ffmpeg that was there, and tests compare what was made minutes apart and in several
    processes: one that comes onto the PATH meanwhile would be a difference. No folder can be left out instead, as the
    one with ffmpeg holds needed programs too. By default the tests meet what the machine has, as they have to hold with
    an ffmpeg and without one; a test that needs one of the two asks for the fixture `ffmpeg` or `no_ffmpeg`.
    """
    for place in os.get_exec_path():
        with contextlib.suppress(OSError):
            for program in Path(place).absolute().iterdir():
                entry = folder / program.name
                if os.access(program, os.X_OK) and program.is_file() and not entry.exists():
                    # A link would not do: through one, the Python of a virtual environment does not find that.
                    entry.write_text(f'#!/bin/sh\nexec {shlex.quote(str(program))} "$@"\n', errors="surrogateescape")
                    entry.chmod(0o755)
    program = folder / "ffmpeg"
    if ffmpeg == "no":
        program.unlink(missing_ok=True)
    elif ffmpeg == "yes" and not program.exists():
        program.symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    return folder


@pytest.fixture(autouse=True)
def nothing_goes_on_running():
    """Ends what a test has started and, as it failed, did not wait for."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def pytest_collection_modifyitems(items):
    # A file goes to one process as a whole. Begun last, a long one would leave the others without work.
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.name) if item.path.name in LONGEST_FIRST else sys.maxsize)
    for item in items:
        for missing in filter(None, needs_of(item).values()):
            item.add_marker(pytest.mark.skip(reason=missing))


def pytest_collection_finish():
    # TensorFlow and all tests are there for good: a collection need not walk them each time.
    gc.collect()
    gc.freeze()


def needs_of(item: pytest.Item) -> dict[str, str]:
    """Returns what a test needs of this machine, as the variables that promise it, with what is missing or nothing."""
    needs = {}
    if "data" in item.keywords:
        needs["SOUNDMILL_DATA"] = "" if DATA else "SOUNDMILL_DATA is not set: the real recordings are not here"
    if "birdnet" in {*item.keywords, *item.fixturenames}:
        missing = f"{real_networks.FOLDER} has not the networks of others: run `make birdnet`"
        needs["SOUNDMILL_BIRDNET"] = "" if real_networks.are_here() else missing
    if "browser" in item.fixturenames:
        needs[real_browser.VARIABLE] = real_browser.missing()
    if "web_runtime" in item.fixturenames:
        needs[real_runtime.VARIABLE] = real_runtime.missing()
    for marker in item.iter_markers("peers"):
        [environment] = marker.args
        missing = f"{ENVIRONMENTS / environment} is not set up: run `make peers`"
        needs["SOUNDMILL_PEERS"] = "" if is_installed(environment) else missing
    return needs


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    promised = [variable for variable in needs_of(item) if os.environ.get(variable)]
    if report.skipped and promised and len(promised) == len(needs_of(item)):
        report.outcome = "failed"
        report.longrepr = (
            f"{' and '.join(promised)}: set, so nothing excuses that this test is skipped: {report.longrepr}"
        )


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    # How a process of pytest ended that crashed: by itself, or by a signal from wherever it came.
    if error:
        code = node.gateway._io.popen.wait(10)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        node.config.pluginmanager.getplugin("terminalreporter").write_line(f"{node.gateway.id} ended: {how}")


def pytest_terminal_summary(terminalreporter):
    # What the first try of a test said that was run again: its second one may have passed.
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.write_sep("_", f"first try of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings."""
    return Path(DATA or "")


@pytest.fixture(scope="session")
def birdnet() -> Path:
    """The folder of others' networks: BirdNET's, `real_networks.BIRDNET`, and nmp.tflite, nmp.onnx, nmp/."""
    return real_networks.FOLDER


@pytest.fixture(scope="session")
def web_runtime() -> Path:
    """The folder whose `node_modules` has what the page of an ONNX export runs networks by."""
    return real_runtime.FOLDER


@pytest.fixture(scope="session")
def golden_librosa(pytestconfig) -> Iterator[Expected]:
    """What librosa computes, from tests/golden."""
    with golden_values("librosa", "librosa", pytestconfig.getoption("update_golden")) as values:
        yield values


@pytest.fixture(scope="session")
def golden_scikit_learn(pytestconfig) -> Iterator[Expected]:
    """What scikit-learn computes, from tests/golden; of its parts, `sklearn.metrics`."""
    with golden_values("librosa", "sklearn", pytestconfig.getoption("update_golden")) as values:
        yield values


@pytest.fixture(scope="session")
def golden_sed_scores_eval(pytestconfig) -> Iterator[Expected]:
    """What sed_scores_eval computes, from tests/golden."""
    with golden_values("crowsetta", "sed_scores_eval", pytestconfig.getoption("update_golden")) as values:
        yield values


@pytest.fixture(scope="session")
def live_sed_scores_eval() -> Iterator[Expected]:
    """What sed_scores_eval computes now."""
    with live_values("crowsetta", "sed_scores_eval") as values:
        yield values


@pytest.fixture(scope="session")
def live_librosa() -> Iterator[Expected]:
    """What librosa computes now."""
    with live_values("librosa", "librosa") as values:
        yield values


@pytest.fixture(scope="session")
def live_scikit_learn() -> Iterator[Expected]:
    """What scikit-learn computes now."""
    with live_values("librosa", "sklearn") as values:
        yield values


@pytest.fixture(params=[WRITTEN, pytest.param("live", marks=LIVE)])
def librosa(request) -> Expected:
    """What librosa computes, from tests/golden and, as a trial, now."""
    return request.getfixturevalue(f"{request.param}_librosa")


@pytest.fixture(params=[WRITTEN, pytest.param("live", marks=LIVE)])
def scikit_learn(request) -> Expected:
    """What scikit-learn computes, from tests/golden and, as a trial, now."""
    return request.getfixturevalue(f"{request.param}_scikit_learn")


@pytest.fixture(params=[WRITTEN, pytest.param("live", marks=(pytest.mark.trial, pytest.mark.peers("crowsetta")))])
def sed_scores_eval(request) -> Expected:
    """What sed_scores_eval computes, from tests/golden and, as a trial, now."""
    return request.getfixturevalue(f"{request.param}_sed_scores_eval")


@pytest.fixture(params=[WRITTEN, pytest.param("live", marks=LIVE_RECORDERS)])
def guano(request) -> Iterator[Expected]:
    """What guano-py reads, from tests/golden and, as a trial, now."""
    with recorder_values(request, "guano") as values:
        yield values


@pytest.fixture(params=[WRITTEN, pytest.param("live", marks=LIVE_RECORDERS)])
def aru_metadata_parser(request) -> Iterator[Expected]:
    """What opensoundscape's reader of names and headers reads, likewise."""
    with recorder_values(request, "aru_metadata_parser") as values:
        yield values


def recorder_values(request, library: str):
    if request.param == "live":
        return live_values("recorders", library)
    return golden_values("recorders", library, request.config.getoption("update_golden"))


def run_command(
    module: str, *arguments: object, check: bool = True, timeout: float = 300, **options
) -> subprocess.CompletedProcess:
    """Runs a command of soundmill as a user does, in a process of its own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    if check and result.returncode:
        raise AssertionError(f"{module} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


def call(module: str, *arguments: object) -> int:
    """Runs a command in this process, where TensorFlow is loaded once for all tests; returns its exit code."""
    command = importlib.import_module(module)
    return command.main(*command.parser().parse_known_args(list(map(str, arguments))))


def succeed(module: str, *arguments: object) -> None:
    """Runs a command in this process, which ends well."""
    assert call(module, *arguments) == 0


def start_command(module: str, *arguments: object) -> subprocess.Popen:
    """Starts a command as the leader of a group of processes, which a terminal's Ctrl-C reaches as a whole."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    STARTED.append(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    )
    return STARTED[-1]


def clips_table(folder: Path, manifest: Manifest) -> pa.Table:
    """Reads the clips of a feature set, as any reader of Parquet does."""
    return pa.concat_tables([pq.read_table(folder / part.file) for part in manifest.clips_tables])


def no_lines(names: Sequence[str]) -> pa.Table:
    """The lines of the shards of a new set that stay, as none does."""
    raise AssertionError(names)


def wait_until(holds: Callable[[], object], seconds: float = 180.0) -> None:
    """Waits for something that another process does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"it did not come true in {seconds} s"
        time.sleep(0.01)


def files_below(folder: Path, pattern: str) -> list[Path]:
    """Returns the files of some name that lie anywhere below a folder, while others are made and removed there.

    `Path.rglob` raises where a folder goes away that it has just listed.
    """
    return [Path(place, name) for place, _, names in os.walk(folder) for name in fnmatch.filter(names, pattern)]


@pytest.fixture
def no_ffmpeg(monkeypatch, tmp_path_factory) -> Iterator[Path]:
    """A PATH without ffmpeg, and without all else."""
    folder = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", str(folder))
    library_versions.cache_clear()  # a process asks once
    yield folder
    library_versions.cache_clear()


@pytest.fixture
def ffmpeg(no_ffmpeg) -> Path:
    """A PATH with a real ffmpeg: the one that the package imageio-ffmpeg carries."""
    program = no_ffmpeg / "ffmpeg"
    program.symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    return program


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a folder for all processes of a run of the tests: the first that asks makes it, the others wait for it.

    A test that changes such a folder copies it first.
    """
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "made-once"
    root.mkdir(exist_ok=True)

    def made(name: str, make: Callable[[Path], object]) -> Path:
        with open(root / f"{name}.lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # goes with the process that holds it
            if not (root / f"{name}.made").exists():
                shutil.rmtree(root / name, ignore_errors=True)
                make(root / name)
                (root / f"{name}.made").touch()
        return root / name

    return made


@pytest.fixture(scope="session")
def words(made_once) -> Path:
    """A small labelled folder: 40 speakers, three words."""
    return made_once("words", write_words)


@pytest.fixture(scope="session")
def feature_set(words, made_once) -> Path:
    """The features of `words`, as TFRecord."""
    command = ("pipelines.featurize", "--input", words, "--preset", "speech-commands")
    return made_once("set", lambda output: succeed(*command, "--output", output))


@pytest.fixture(scope="session")
def parquet_set(words, made_once) -> Path:
    """The features of `words`, as Parquet."""
    command = ("pipelines.featurize", "--input", words, "--preset", "speech-commands", "--format", "parquet")
    return made_once("parquet-set", lambda output: succeed(*command, "--output", output))


@pytest.fixture(scope="session")
def trained(feature_set, made_once) -> Path:
    """A run folder: the tutorial's network after three epochs on `words`."""
    command = ("model.train", "--features", feature_set, "--network", "tutorial-cnn", "--epochs", 3, "--batch-size", 16)
    return made_once("trained", lambda output: succeed(*command, "--output", output))


@pytest.fixture(scope="session")
def untrained(feature_set, made_once) -> Path:
    """A run folder with a network that guesses: it makes mistakes, and none of its probabilities is near 0 or 1."""
    from tests.model.untrained import save_untrained  # loads Keras

    return made_once("untrained", lambda output: save_untrained(output, feature_set))
