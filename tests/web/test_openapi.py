"""The OpenAPI document as other people's tools read it: linters and generators of clients have nothing to say about it.

The npm tools are installed as `openapi/package-lock.json` locks them, once, beside that file.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.http import Site
from tests.support.openapi import DOCUMENT

TOOLS = Path(__file__).parent / "openapi"
BINARIES = TOOLS / "node_modules" / ".bin"
LOCK = TOOLS / "package-lock.json"
INSTALLED = TOOLS / "node_modules" / "installed-lock.json"
PATIENCE = 500
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the document to a file."""
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_bytes(msgspec.json.encode(DOCUMENT))
    return path


@pytest.fixture(scope="module")
def npm_tools() -> None:
    """Install the locked npm tools, unless they are here already."""
    if shutil.which("npm") is None and "CI" not in os.environ:
        pytest.skip("npm isn't here: the document isn't shown to redocly, spectral and openapi-typescript")
    if not INSTALLED.exists() or INSTALLED.read_bytes() != LOCK.read_bytes():
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=TOOLS)
        shutil.copy(LOCK, INSTALLED)


def run(*command: str, folder: Path) -> str:
    """Return all that a command says. It must end well."""
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def client(document: Path) -> Iterator[str]:
    """Generate a Python client, any warning being an error, and return the name of its package."""
    out = document.parent / "generated_client"
    command = ("-m", "openapi_python_client", "generate", "--path", str(document), "--output-path", str(out))
    said = run(sys.executable, *command, "--meta", "none", "--fail-on-warning", folder=document.parent)
    assert "warning" not in said.lower()
    sys.path.insert(0, str(document.parent))
    yield out.name
    sys.path.remove(str(document.parent))


def test_a_generated_python_client_votes(client: str, site: Site) -> None:
    """openapi-python-client makes a client without a warning, and that client gets a token, votes, and reads the interval."""
    package = importlib.import_module(client)
    models = importlib.import_module(f"{client}.models")
    new_visitor = importlib.import_module(f"{client}.api.visitors.post_v1_visitors")
    put_vote = importlib.import_module(f"{client}.api.tools.put_v1_tools_tool_vote")
    get_tool = importlib.import_module(f"{client}.api.tools.get_v1_tools_tool")
    base_url, tool = str(site.client.base_url), site.add_tool()
    with package.Client(base_url=base_url) as anyone:
        visitor = new_visitor.sync(client=anyone)
    with package.AuthenticatedClient(base_url=base_url, token=visitor.token) as voter:
        answer = put_vote.sync(tool, client=voter, body=models.VoteChoice.from_dict({"choice": "ship"}))
        low, high = get_tool.sync(tool, client=voter, after=answer.position).community.interval
    assert (answer.choice, answer.community.ship) == ("ship", 1)
    assert 0 < low < high <= 100


def test_no_refusal_is_left_out_of_a_generated_client(client: str) -> None:
    """A client knows our problems, under one name without dots."""
    models = importlib.import_module(f"{client}.models")
    assert models.ProblemDetails
    assert [name for name in DOCUMENT["components"]["schemas"] if not name.isalnum()] == []


def test_every_component_is_used() -> None:
    """The document holds no schema that nothing refers to."""
    text = msgspec.json.encode(DOCUMENT).decode()
    assert [name for name in DOCUMENT["components"]["schemas"] if f'"#/components/schemas/{name}"' not in text] == []


@pytest.mark.server
@pytest.mark.usefixtures("npm_tools")
@pytest.mark.parametrize(
    "command",
    [
        ("redocly", "lint", "--format=github-actions"),
        ("spectral", "lint", "--ruleset", str(TOOLS / "spectral.yaml"), "-F", "hint"),
    ],
    ids=lambda command: command[0],
)
def test_linters_find_nothing(command: tuple[str, ...], document: Path) -> None:
    """redocly and spectral find neither an error nor a warning."""
    said = run(str(BINARIES / command[0]), *command[1:], str(document), folder=document.parent)
    assert "::warning" not in said
    assert "::error" not in said


@pytest.mark.server
@pytest.mark.usefixtures("npm_tools")
def test_a_generated_typescript_client_votes(document: Path, site: Site) -> None:
    """By openapi-typescript's types a strict TypeScript compiles a program of openapi-fetch, and that program votes."""
    folder = document.parent
    (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copy(TOOLS / "smoke.ts", folder)
    run(str(BINARIES / "openapi-typescript"), str(document), "-o", str(folder / "types.ts"), folder=folder)
    strict = ("--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable")
    run(str(BINARIES / "tsc"), *strict, "smoke.ts", folder=folder)
    tool = site.add_tool()
    said = run("node", "smoke.js", str(site.client.base_url), tool, folder=folder)
    assert json.loads(said) == ["ship", 1, tool, 1, 401]


def test_every_operation_says_that_its_head_may_be_refused() -> None:
    """A head that can't be read (400) or is too large (431) is refused on any path, so every operation names both."""
    responses = [set(o["responses"]) for path in DOCUMENT["paths"].values() for name, o in path.items() if name != "parameters"]
    assert responses and all({"400", "431"} <= named for named in responses)
