import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("features", "model", "pipelines")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FORBIDDEN = {
    "features": {"model", "pipelines", "tensorflow", "keras", "apache_beam"},
    "model": {"pipelines", "apache_beam"},
    "pipelines": set(),
}
MAX_LINES = 300


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(tree: ast.AST) -> set[str]:
    """The packages that a file imports anywhere, in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            found.add("an import by a computed name")
    return found


def test_there_are_files_to_look_at():
    assert {path.parent.name for path in FILES} == set(PACKAGES)
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_point_from_features_to_model_to_pipelines(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not imports(tree) & (FORBIDDEN[path.parent.name] | {"an import by a computed name", "tests", "benchmarks"})


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_only_commands_print(path):
    """What a program has to say beside its results goes through the log, or to a stream that it names."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if 'if __name__ == "__main__":' in text:
        return
    finish = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "finish"]
    allowed = {call for function in finish for call in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "pprint", "pprint.pprint", "breakpoint"):
            named = any(keyword.arg == "file" for keyword in node.keywords)
            assert named or node in allowed, f"line {node.lineno}"


def test_nothing_is_named_utils():
    names = [path.stem for path in FILES] + [path.name for path in ROOT.iterdir() if path.is_dir()]
    assert not {"utils", "util", "helpers", "helper", "misc", "common"} & set(names)
