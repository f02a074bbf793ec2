"""Nothing from an input executes: what the code never calls, and what a hostile model does not get done."""

import ast
import json
import shutil
from pathlib import Path

import pytest

from features.errors import UsageError
from model.inference.artifact import _sha256, load_artifact
from tests.test_layers import imports, trees

UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
# What a command sends to the process that it has forked of itself, through a pipe that nobody else has.
BETWEEN_OWN_PROCESSES = {Path("pipelines/local/workers.py"), Path("pipelines/local/worker_main.py")}
RUNNERS = {"eval", "exec", "compile", "os.system", "os.popen", "runpy.run_path", "runpy.run_module"}


def calls(tree: ast.AST) -> dict[str, list[ast.Call]]:
    found: dict[str, list[ast.Call]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found.setdefault(ast.unparse(node.func), []).append(node)
    return found


def constant(call: ast.Call, name: str) -> object:
    """The value of a keyword of a call, None where it is not there or no constant."""
    values = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def test_no_code_unpickles_or_runs_what_it_reads():
    for path, tree in trees().items():
        imported = {name.partition(".")[0] for name in imports(tree)} & UNPICKLERS
        own = any(path.match(str(one)) for one in BETWEEN_OWN_PROCESSES)
        assert imported == ({"pickle"} if own else set()), path
        called = calls(tree)
        assert called.keys().isdisjoint(RUNNERS), path
        for name, found in called.items():
            for call in found:
                where = f"{path}, line {call.lineno}"
                assert constant(call, "shell") is not True, where
                if name.endswith("np.load"):
                    assert constant(call, "allow_pickle") is False, where
                if name.endswith("load_model"):
                    assert constant(call, "safe_mode") is True, where


def test_the_calls_that_are_looked_for_are_there():
    called = {name for tree in trees().values() for name in calls(tree)}
    assert {"np.load", "keras.saving.load_model", "subprocess.Popen"} <= called


def test_a_model_that_holds_code_is_refused_and_its_code_is_not_run(untrained, tmp_path):
    import keras

    run = shutil.copytree(untrained, tmp_path / "run")
    artifact = load_artifact(run)
    mark = tmp_path / "mark"
    inputs = keras.Input(artifact.network.input_shape[1:])
    code = keras.layers.Lambda(lambda tensor, path=str(mark): (open(path, "w").close(), tensor)[1])
    hostile = keras.Model(inputs, artifact.network(code(inputs)))
    assert mark.exists()
    mark.unlink()
    hostile.save(run / "model" / "network.keras")
    description = run / "model" / "artifact.json"
    content = json.loads(description.read_text())
    content["network_sha256"] = _sha256(run / "model" / "network.keras")
    description.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"network\.keras cannot be loaded: .*[Ll]ambda"):
        load_artifact(run)
    assert not mark.exists()


def test_a_network_that_is_none_is_named(untrained, tmp_path):
    run = shutil.copytree(untrained, tmp_path / "run")
    network: Path = run / "model" / "network.keras"
    network.write_bytes(b"not a network")
    description = run / "model" / "artifact.json"
    content = json.loads(description.read_text())
    content["network_sha256"] = _sha256(network)
    description.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"network\.keras cannot be loaded"):
        load_artifact(run)
