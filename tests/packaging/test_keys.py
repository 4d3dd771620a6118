"""The pages that say how to make keys: once, into files, since a new key opens nothing of before."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.project import ROOT
from tests.support.processes import PATIENCE

PAGES = {
    "docs/operating.md": {"ballotpress.env", "projector.env"},
    "docs/systemd/README.md": {"env", "projector.env"},
    "docker-compose.yml": {".env", ".env.projector"},
}


def scripts(text: str) -> Iterator[str]:
    """Return the commands of a page that begin with a umask, each up to its last parenthesis, without prompts."""
    lines = iter(re.sub("^#? *", "", text, flags=re.MULTILINE).splitlines())
    for script in lines:
        if script.startswith("(umask"):
            while script.count("(") > script.count(")"):
                script += "\n" + next(lines)
            yield script


@pytest.mark.parametrize("page", PAGES)
def test_keys_are_made_once(page: str, tmp_path: Path) -> None:
    """No key is made where a process starts. What a page has one run makes files for their owner alone, and never others."""
    text = (ROOT / page).read_text()
    script = "\n".join(scripts(text))
    assert script.count("$(openssl rand") == text.count("$(openssl rand") > 0
    here = script.replace("/etc/ballotpress", str(tmp_path)).replace("docs/systemd", str(ROOT / "docs/systemd"))

    def made() -> tuple[str, dict[str, str]]:
        ran = subprocess.run(("bash", "-c", here), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return ran.stderr, {file.name: file.read_text() for file in tmp_path.iterdir()}

    said, files = made()
    assert (said, files.keys()) == ("", PAGES[page])
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    refused, same = made()
    assert refused.count("cannot overwrite existing file") == len(files) and same == files
