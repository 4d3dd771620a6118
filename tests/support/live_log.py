"""A site with a public log, run by real processes, where people voted, changed their minds, and were disqualified."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.proof import verify
from tests.support import servers
from tests.support.catalogs import opinion, tool
from tests.support.http import Caller, Site, serving
from tests.support.processes import PATIENCE, wait_for

VOTERS: Final = 170
DATABASE: Final = "public_log"


class Live(NamedTuple):
    """A running site whose log is signed: its folder holds the second memory. `voters` voted, the first of them twice."""

    site: Site
    url: str
    folder: Path
    tools: tuple[str, str]
    voters: list[Caller]

    def vkey(self) -> str:
        """Return the log's key."""
        return self.site.anyone.get("/log/1/log.vkey").text.strip()

    def note(self) -> str:
        """Return the newest checkpoint."""
        return self.site.anyone.get("/log/1/checkpoint").text

    def signed(self) -> str:
        """Wait until all that happened is signed and published; return the checkpoint."""
        head = self.site.head()

        def covers() -> bool:
            answer = self.site.anyone.get("/log/1/checkpoint")
            return answer.status_code == 200 and verify.read_note(answer.text).size >= head

        assert wait_for(covers)
        return self.note()


def stranger(folder: Path, *words: str | Path) -> tuple[int, str]:
    """Run `verify.py` as a stranger would, with what it keeps in a folder; return the status and what it said."""
    command = (sys.executable, "-I", verify.__file__, *words, "--cache", folder / "cache")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


def vote(live: Live) -> None:
    """Let everybody vote, some change their minds, and some be disqualified and one of them reinstated."""
    first, second = live.tools
    for n, voter in enumerate(live.voters):
        voter.vote(first, "ship" if n % 3 else "skip")
        if n % 2:
            voter.vote(second, "skip")
    for voter in live.voters[:10]:
        voter.vote(first, "skip" if voter.vote(first, "ship") % 2 else "ship")
    assert live.voters[3].delete(f"/v1/tools/{second}/vote").status_code == 200
    operator = live.site.operator
    for n in (1, 3, 5):
        path = f"/v1/ops/voters/{live.voters[n].visitor}/disqualification"
        assert operator.post(path, {"reason": "bought"}).status_code == 200
    assert operator.delete(f"/v1/ops/voters/{live.voters[5].visitor}/disqualification").status_code == 200
    assert live.voters[0].put(f"/v1/bookmarks/{first}").status_code == 200


def renamed(site: Site, panel: list[dict[str, Any]]) -> str:
    """Add a tool that has a vote, a slug of elsewhere, and then another slug; return that. Its persona is described."""
    slug = site.add_tool(name="Alpha", panel=panel)
    site.visitor().vote(slug, "ship")
    taken = tool(f"{slug}-renamed", name="Alpha", panel=panel, former_slugs=[slug, f"{slug}-elsewhere"])
    assert site.import_catalog({"tools": [taken], "personas": [{"persona": "Builder", "excited_by": ["Exits"]}]}) == 3
    return f"{slug}-renamed"


@contextmanager
def living(
    postgres: servers.Postgres, template: str, valkey_url: str, folder: Path, database: str = DATABASE
) -> Iterator[Live]:
    """Run a site where all of this happened, and is signed."""
    asyncio.run(servers.execute(postgres.dsn(), f"create database {database} template {template}"))
    with serving(postgres.dsn(database), valkey_url, folder / "output") as site:
        panel = [opinion(), opinion("Skeptic", verdict="skip")]
        tools = renamed(site, panel), site.add_tool(name="Beta")
        url = str(site.client.base_url).rstrip("/")
        live = Live(site, url, folder, tools, [site.visitor() for _ in range(VOTERS)])
        vote(live)
        live.signed()
        yield live
