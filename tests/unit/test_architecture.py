"""The shape of the house: import arrows, light imports, public names, sizes of rooms."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import librehps
from librehps import errors
from librehps_cli.ui.errors import EXIT_CODES

ROOT = Path(__file__).parents[2]
CORE, CLI = ROOT / "core" / "librehps", ROOT / "librehps_cli"

BASE = {"errors", "types", "settings", "choices", "files", "markup", "paths", "rowfiles"} | {
    "key_index",
    "storage",
}
ALLOWED = {
    "errors": set(),
    "key_index": set(),
    "markup": set(),
    "types": {"choices", "errors", "files"},
    "settings": {"types"},
    "choices": {"errors"},
    "files": {"errors"},
    "paths": {"files"},
    "locks": {"errors"},
    "storage": {"errors", "files", "paths", "storage"},
    "rowfiles": {"errors", "paths", "rowfiles", "storage"},
    "extras": {"errors"},
    "media": BASE | {"extras", "media"},
    "models": BASE | {"extras", "media", "models"},
    "scores": BASE | {"scores"},
    "items": BASE | {"media", "scores", "items"},
    "engine": BASE | {"media", "models", "scores", "engine"},
    "explain": BASE | {"engine", "explain", "media", "models", "scores"},
    "gradients": BASE | {"decide", "engine", "gradients", "media", "models"},
    "runs": BASE
    | {"decide", "engine", "explain", "extras", "items", "locks", "media", "models", "preferences"}
    | {"runs", "scorer", "scores"},
    "decide": BASE | {"media", "scores", "decide"},
    "preferences": BASE | {"media", "preferences"},
    "evaluate": BASE | {"scores", "decide", "preferences", "evaluate"},
    "train": BASE | {"media", "models", "engine", "preferences", "train"},
    "ratings": BASE | {"decide", "media", "ratings", "scores"},
    "report": BASE
    | {"decide", "evaluate", "explain", "extras", "media", "preferences", "report", "scores"},
    "scorer": BASE | {"decide", "explain", "gradients", "media", "models", "engine", "scores", ""},
    "inference": {"errors", "scorer", "types"},
    "rewards": BASE
    | {"decide", "gradients", "media", "models", "engine", "scores", "scorer", "rewards"},
    "serve": BASE | {"decide", "engine", "media", "models", "scores", "scorer", "serve", ""},
    "judge": BASE
    | {"decide", "evaluate", "extras", "judge", "locks", "media", "runs", "scores", "serve"},
    "bench": BASE | {"engine", "media", "models", "scores", "scorer", "bench", ""},
}


def imports(file: Path) -> set[str]:
    """Rooms of librehps that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "librehps":
                names = [f"librehps.{alias.name}" if (CORE / f"{alias.name}.py").exists()
                         else "librehps" for alias in node.names]  # fmt: skip
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "librehps":
                found.add(rest.partition(".")[0])
            if package == "librehps_cli":
                found.add("librehps_cli")
    return found


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda f: str(f.relative_to(CORE)))
def test_imports_point_one_way(file: Path) -> None:
    room = file.relative_to(CORE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    assert imports(file) <= ALLOWED[room]


def test_rooms_stand_in_an_order() -> None:
    """Each room may import those that can be built before it, so that no arrow points up."""
    TopologicalSorter({room: others - {room, ""} for room, others in ALLOWED.items()}).prepare()


def module_name(file: Path) -> str:
    root = CORE.parent if CORE in file.parents else ROOT
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_module_imports_itself_through_others() -> None:
    modules = {module_name(file): file for file in [*CORE.rglob("*.py"), *CLI.rglob("*.py")]}
    graph = {}
    for name, file in modules.items():
        if name == "librehps":
            # It imports what it names when that is first asked for.
            continue
        found = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= (whole | {node.module}) & modules.keys()
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names} & modules.keys()
        graph[name] = found - {name, "librehps"}
    TopologicalSorter(graph).prepare()


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import librehps",
        "import librehps_cli.main",
        "import librehps.types, librehps.errors",
        "import librehps.rewards",
        "import librehps.runs.scored",
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    heavy = "{'torch', 'transformers', 'numpy', 'pyarrow', 'PIL', 'av', 'decord'}"
    assert run(f"{code}; import sys; print({heavy} & set(sys.modules))") == "set()"


def test_public_names() -> None:
    assert set(librehps.__all__) == {
        "AXES", "BatchItem", "BestOfN", "CheckpointLoadError", "Comparison",
        "DEFAULT_PROBABILITY_CUTOFF", "DEFAULT_SIGMA_CEILING", "DEFAULT_TEMPERATURE",
        "ImageScore", "InferenceContractError", "Item", "Leaderboard", "MAX_BATCH_SIZE",
        "LibreHPS", "LibreHPSError", "Naming", "PairColumns", "PairComparison", "RunSummary",
        "Score", "ScoreAxis", "ScoreTable", "ScoredRow", "Tagged", "VideoScore",
        "__version__",
        "best_of_n", "compare", "compare_pairs", "copy_media", "explain_media", "filter_rows",
        "find_calibrator",
        "join_scores", "judge_pairs", "leaderboard", "read_scores", "score_to", "tag", "watch_to",
        "write_explanations", "write_report",
    }  # fmt: skip
    for name in librehps.__all__:
        assert getattr(librehps, name).__name__ == name if name[0].islower() else True
    # A module of the same name is imported by now, and must not stand in the function's place.
    assert callable(librehps.best_of_n) and callable(librehps.leaderboard)
    with pytest.raises(AttributeError, match="nothing"):
        librehps.nothing  # noqa: B018


def test_every_error_has_one_base_and_stands_in_the_tree() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    assert all(issubclass(c, errors.LibreHPSError) for c in classes)
    assert all(c.__name__ in (errors.__doc__ or "") for c in classes)
    direct = set(errors.LibreHPSError.__subclasses__())
    assert direct <= set(EXIT_CODES)


def test_rooms_stay_small() -> None:
    for file in [*CORE.rglob("*.py"), *CLI.rglob("*.py"), *(ROOT / "examples").rglob("*.py")]:
        assert len(file.read_text().splitlines()) < 400, file


def test_no_bare_except_and_no_lax_loading() -> None:
    for file in [*CORE.rglob("*.py"), *CLI.rglob("*.py")]:
        text = file.read_text()
        assert "except Exception" not in text, file
        assert "except:" not in text, file
        assert "load_state_dict(" not in text, file
        assert "trust_remote_code" not in text, file


LIBRARY_OF_COMMANDS = {
    "bench", "choices", "decide", "errors", "evaluate", "explain", "extras", "files", "judge",
    "preferences", "ratings", "report", "rowfiles", "runs", "scores", "serve", "settings", "train",
    "types", "",
}  # fmt: skip


@pytest.mark.parametrize("file", sorted((CLI / "commands").glob("*.py")), ids=lambda f: f.stem)
def test_a_command_calls_the_library_and_computes_nothing(file: Path) -> None:
    """Pixels, models, items and arrays are matters of the library, which Python users call too."""
    assert imports(file) - {"librehps_cli"} <= LIBRARY_OF_COMMANDS
    text = file.read_text()
    for package in ("numpy", "pyarrow", "torch", "PIL"):
        assert f"import {package}" not in text and f"from {package}" not in text
