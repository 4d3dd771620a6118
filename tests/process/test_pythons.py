"""The releases of Python that pyproject.toml promises: what one of them gets wrong is not written."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("events", "projections", "emails", "services", "tests")
INLINED = (ast.ListComp, ast.SetComp, ast.DictComp)


def module_names(tree: ast.Module) -> set[str]:
    """Return the names of a module: what it defines, assigns and imports at its top."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            case ast.Assign():
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def shadowed(source: str) -> Iterator[str]:
    """Yield each variable of a list, set or dict comprehension that bears a name of its module."""
    tree = ast.parse(source)
    names = module_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, INLINED):
            targets = [part for generator in node.generators for part in ast.walk(generator.target)]
            yield from (f"{part.id}, line {node.lineno}" for part in targets if isinstance(part, ast.Name) and part.id in names)


def test_no_comprehension_shadows_a_name_of_its_module() -> None:
    """Python 3.12.0 and 3.12.1 take the module's name for the comprehension's variable in the rest of the function."""
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    assert len(files) > 150
    found = [f"{file.relative_to(ROOT)}: {name}" for file in files for name in shadowed(file.read_text())]
    assert found == []


def test_a_shadowed_function_is_found() -> None:
    """The fault as it once was: the function of that name could not be called any more."""
    source = (
        "def stream(x): ...\ndef decide(xs):\n    known = [one for stream in xs for one in stream]\n    return stream(known)\n"
    )
    assert list(shadowed(source)) == ["stream, line 3"]
    assert list(shadowed("def stream(x): ...\nknown = sum(stream for stream in [1])")) == []
