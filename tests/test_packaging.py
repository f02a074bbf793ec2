"""What an installation brings: all that is imported is declared, where it is needed by all or in an extra."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED = [folder for folder in ("features", "model", "pipelines", "soundmill") if (ROOT / folder).is_dir()]
OURS = {*INSTALLED, "tests", *(path.stem for path in (ROOT / "benchmarks").glob("*.py"))}
# What lives in an environment of its own, named after it.
PEERS = {path.stem for path in (ROOT / "tests" / "peers").glob("*.txt")}
# What only those import who have installed the extra of that name.
OF_EXTRAS = {
    "openvino": "openvino", "onnxruntime": "onnx", "espeakng-loader": "demo", "optuna": "tune",
    "onnx": "onnx", "tf2onnx": "onnx", "ai-edge-quantizer": "quantize",
    "comet-ml": "comet", "mlflow": "mlflow", "wandb": "wandb",
}  # fmt: skip
# Parts of libraries that import, when they are used, what their own library does not depend on.
IMPORTED_BY_USE = {
    "plot_model": "pydot",
    "to_pandas": "pandas",
    "from_pandas": "pandas",
}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normalised(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(tree: ast.AST) -> set[str]:
    """The modules of other projects that a file imports anywhere, in functions too, as dotted names."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A name may be a module of a folder that several distributions share, as google.protobuf is.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names | OURS}


@cache
def distributions() -> dict[str, list[str]]:
    return {folder: sorted(set(found)) for folder, found in packages_distributions().items()}


@cache
def record(name: str) -> str:
    return "\n" + (distribution(name).read_text("RECORD") or "")


@cache
def distribution_of(module: str) -> str:
    """The distribution that brings a module: the one that has its file, as several may share its first folder."""
    folders = module.split(".")
    for depth in range(len(folders), 0, -1):
        file = re.compile(rf"\n{re.escape('/'.join(folders[:depth]))}(/__init__)?\.")
        for name in distributions().get(folders[0], []):
            if file.search(record(name)):
                return normalised(name)
    raise AssertionError(f"{module} is imported and not installed: declare it, and set up the environment anew")


@cache
def needed(*folders: str) -> set[str]:
    """The distributions that the files of some folders import, themselves or by a part of a library that they use."""
    trees = [tree_of(path) for path in files(*folders)]
    modules = {module for tree in trees for module in imported_modules(tree) if module.partition(".")[0] not in PEERS}
    calls = {ast.unparse(node.func) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)}
    by_use = {name for use, name in IMPORTED_BY_USE.items() if any(f".{call}".endswith(f".{use}") for call in calls)}
    return {distribution_of(module) for module in modules} | by_use


def test_what_the_packages_import_is_declared():
    found = needed(*INSTALLED)
    assert {"numpy", "tensorflow", "apache-beam", "protobuf", "tensorboard"} <= found
    assert found - OF_EXTRAS.keys() <= names(PROJECT["dependencies"])


def test_what_only_an_extra_needs_is_declared_there_and_no_dependency():
    for name, extra in OF_EXTRAS.items():
        assert name in needed(*INSTALLED)
        assert name in names(EXTRAS[extra])
        assert name not in names(PROJECT["dependencies"])


def test_nothing_is_declared_that_nothing_imports():
    assert names(PROJECT["dependencies"]) <= needed(*INSTALLED)


def test_versions_that_are_asked_for_are_of_dependencies():
    """importlib.metadata.version() raises where a distribution is missing, as an import does."""
    from features.store.versions import library_versions

    stated = {normalised(name) for name in library_versions()} - {
        "python",
        "libsndfile",
        "ffmpeg",
        "decoding",
        "soundmill",
    }
    assert stated and stated <= names(PROJECT["dependencies"])


def test_what_tests_and_benchmarks_import_is_declared():
    everything = names([*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["demo"]])
    assert needed("tests", "benchmarks") <= everything


def test_only_programs_of_other_environments_import_what_is_installed_there():
    assert "librosa" in PEERS
    of_others = {ROOT / "benchmarks" / "peers.py", ROOT / "tests" / "peers" / "write_lhotse.py"}
    for path in files(*INSTALLED, "tests", "benchmarks"):
        if path not in of_others:
            assert not {module.partition(".")[0] for module in imported_modules(tree_of(path))} & PEERS, path
    everything = names([*PROJECT["dependencies"], *(name for extra in EXTRAS.values() for name in extra)])
    assert not everything & PEERS


@pytest.mark.parametrize("group", ["dependencies", *EXTRAS])
def test_each_declared_distribution_has_a_locked_version(group):
    locked = names(
        [
            line
            for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
            if line and not line.startswith("#")
        ]
    )
    assert names(PROJECT["dependencies"] if group == "dependencies" else EXTRAS[group]) <= locked
