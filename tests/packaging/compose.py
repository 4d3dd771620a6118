"""Reads docker-compose.yml as Compose does: merges anchors, puts the variables of .env in, makes each service's environment."""

import re
import subprocess
from collections.abc import Mapping
from typing import Any

import yaml

from tests.packaging.project import ROOT
from tests.support.processes import PATIENCE

FILE = ROOT / "docker-compose.yml"
OURS = ("migrate", "api", "projector", "worker")
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>\w+)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


class NotSet(Exception):
    """A variable that the file demands is not set; the message is the file's own."""


def written_env() -> str:
    """Run the instructions at the head of the file and return the .env that they make."""
    lines = [line.removeprefix("#").removeprefix("   ") for line in FILE.read_text().splitlines() if line.startswith("#")]
    begin = next(n for n, line in enumerate(lines) if line.startswith("(umask"))
    script = "\n".join(lines[begin : lines.index(")", begin) + 1]).replace("cat > .env", "cat")
    return subprocess.run(("sh", "-ec", script), capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def env_values(text: str) -> dict[str, str]:
    """Read the lines of a .env: values in single quotes, in double quotes, or bare up to a comment."""
    values = {}
    for line in text.splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith("#"):
            quote = value[:1]
            quoted = quote in ("'", '"') and value.endswith(quote)
            values[name] = value[1:-1] if quoted else re.split(r"\s#", value)[0].strip()
    return values


def _put_in(text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        given = values.get(found["name"] or found["plain"], "")
        if not given and found["kind"] == "?":
            raise NotSet(found["rest"])
        return given or (found["rest"] if found["kind"] == "-" else "")

    return VARIABLE.sub(value, text)


def _resolved(node: Any, values: Mapping[str, str]) -> Any:
    match node:
        case str():
            return _put_in(node, values)
        case list():
            return [_resolved(item, values) for item in node]
        case dict():
            return {key: _resolved(item, values) for key, item in node.items()}
    return node


def services(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the file's services with these values in place of its variables. Raises NotSet."""
    resolved: dict[str, Any] = _resolved(yaml.safe_load(FILE.read_text()), values)["services"]
    return resolved


def environment(service: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service's container: that of its env_file, overruled by its own."""
    from_files = {} if "env_file" not in service else dict(values)
    return from_files | {name: str(value) for name, value in service.get("environment", {}).items()}
