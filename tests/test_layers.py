"""Holds imports to the rule of the folders: a file knows its own folder and those named before it, nothing after."""

import ast
import functools
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
# From the ground up. Rooms of one row do not know each other; a room is a folder, or a file beside the folders. A new
# folder is a decision about this table.
ROWS = (
    ("features.errors",),
    ("features.io",),
    ("features.runtime",),
    ("features.networks",),
    ("features.audio",),
    ("features.frontend", "features.sources"),
    ("features.store",),
    ("features.update", "features.pictures", "features.interchange"),
    ("features.maintenance",),
    ("features.show", "features.verify", "features.prune", "features.publish"),
    ("model.networks", "model.inference", "model.pictures"),
    ("model.labels",),
    ("model.training", "model.scoring", "model.formats", "model.neighbours"),
    ("model.evaluation", "model.tuning"),
    ("model.pages",),
    ("model.tracking",),
    (
        "model.train",
        "model.tune",
        "model.evaluate",
        "model.compare",
        "model.crossvalidate",
        "model.predict",
        "model.export",
        "model.quantize",
        "model.search",
        "model.report",
    ),
    ("pipelines.local",),
    ("pipelines.beam", "pipelines.cluster", "pipelines.downloads", "pipelines.speech"),
    ("pipelines.options", "pipelines.building"),
    ("pipelines.featurize", "pipelines.score", "pipelines.download", "pipelines.demo"),
    ("soundmill.feature_set", "soundmill.trained_model", "soundmill.command_process"),
    ("soundmill.command",),
)
PACKAGES = ("features", "model", "pipelines", "soundmill")
ROW = {room: row for row, rooms in enumerate(ROWS) for room in rooms}
# Who may import what is heavy or another's.
ALLOWED = {
    "apache_beam": ("pipelines.beam",),
    "tensorflow": ("model", "features.networks.saved_model_process"),
    "keras": ("model",),
    "optuna": ("model.tuning",),
    "ai_edge_quantizer": ("model.formats",),
    "matplotlib": ("features.pictures", "model.pictures"),
}
FOLDERS = {room for room in ROW if (ROOT / room.replace(".", "/")).is_dir()}
COMMANDS = {room for row in ROWS for room in row} - FOLDERS - {
    "features.errors", "pipelines.options", "pipelines.building", "soundmill.feature_set", "soundmill.trained_model",
    "soundmill.command_process",
}  # fmt: skip
COMPUTED = "an import by a computed name"
# The console script imports the module that its table names for a command; the Python interface is an __init__.py.
SCRIPT, INTERFACE = "soundmill.command", "soundmill"
# A network of the user's own is in a module that the user names.
OWN_NETWORKS = "model.networks.own"
PRINTS = ("print", "pprint", "pprint.pprint", "breakpoint")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_LINES = 300
MAX_PARAMETERS = 8


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    return relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_of(path): path for path in FILES}


@functools.cache  # not while tests are collected, which several processes do
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports(tree: ast.AST) -> set[str]:
    """The modules that a file imports anywhere, in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in inner}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            found.add(COMPUTED)
    return found


@functools.cache
def all_imports() -> dict[str, set[str]]:
    return {module: imports(trees()[path]) for module, path in MODULES.items()}


def own_imports() -> dict[str, set[str]]:
    return {
        module: {name for name in found if name.partition(".")[0] in PACKAGES}
        for module, found in all_imports().items()
    }


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_every_file_has_a_room():
    rooms = {room_of(module) for module in MODULES} - set(PACKAGES)
    assert rooms <= set(ROW)
    assert rooms >= FOLDERS
    assert len(FILES) > 100


def test_imports_point_down():
    def is_allowed(own: str, room: str) -> bool:
        row = len(ROWS) if own == INTERFACE else ROW.get(own, 0)  # the other packages' own __init__.py import nothing
        return room == own or (ROW[room] < row and room not in COMMANDS)

    pairs = [(module, name) for module, found in own_imports().items() for name in found]
    assert len(pairs) > 500
    assert not [f"{module} imports {name}" for module, name in pairs if not is_allowed(room_of(module), room_of(name))]


def test_what_is_heavy_is_imported_in_its_rooms_alone():
    for module, found in all_imports().items():
        assert not found & {"tests", "benchmarks"}, module
        assert COMPUTED not in found or module in (SCRIPT, OWN_NETWORKS), module
        for name in {name.partition(".")[0] for name in found} & set(ALLOWED):
            assert module.startswith(ALLOWED[name]), f"{module} imports {name}"


def test_there_is_no_circle_of_files():
    graph = {module: found & set(MODULES) for module, found in own_imports().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle of imports: {' -> '.join(error.args[1])}") from None


def test_a_folder_says_what_it_is_and_nothing_else():
    for path in FILES:
        if path.name == "__init__.py" and module_of(path) != INTERFACE:
            assert ast.get_docstring(trees()[path]), path
            assert len(trees()[path].body) == 1, f"what {path} imports is imported for --help too"


def test_no_file_is_longer_than_300_lines():
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {path: length for path, length in lengths.items() if length > MAX_LINES}


def test_no_function_takes_more_than_eight_parameters():
    for path, tree in trees().items():
        for function in functions(tree):
            given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            count = len([argument for argument in given if argument.arg not in ("self", "cls")])
            assert count <= MAX_PARAMETERS, f"{relative(path)}: {function.name} takes {count}"


def test_only_commands_print():
    """What a program has to say beside its results goes through the log, or to a stream that it names."""
    for path, tree in trees().items():
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8"):
            continue
        allowed = {call for function in functions(tree) if function.name == "finish" for call in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in PRINTS:
                named = any(keyword.arg == "file" for keyword in node.keywords)
                assert named or node in allowed, f"{relative(path)}, line {node.lineno}"


def test_nothing_is_named_utils():
    names = [path.stem for path in FILES] + [path.name for path in ROOT.iterdir() if path.is_dir()]
    assert not {"utils", "util", "helpers", "helper", "misc", "common"} & set(names)


def test_the_script_imports_commands_and_no_other_modules():
    from soundmill.command import COMMANDS as NAMES

    assert {module for module, _ in NAMES.values()} == COMMANDS - {SCRIPT}
    assert all_imports()[SCRIPT] >= {COMPUTED}
