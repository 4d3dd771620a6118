"""Voters prove their archived votes as ever."""

import shutil
from pathlib import Path
from typing import Any

from services.web.http.auth import VisitorTokens
from tests.support.archiving import SLUGS, VOTERS, archive
from tests.support.http import Caller, serving
from tests.support.processes import wait_for
from tests.support.settings import SECRET_KEY


async def test_a_vote_is_proven_without_its_file(dsn: str, connection: Any, valkey_url: str, tmp_path: Path) -> None:
    """A voter's proof of a vote is the same to the byte once that has left for the archive, and while the archive is away."""
    proofs = [f"/v1/tools/{slug}/vote/proof" for slug in SLUGS]
    with serving(dsn, valkey_url, tmp_path / "site.log") as site:
        me = Caller(site.client, VisitorTokens((SECRET_KEY,)).issue(VOTERS[0]), VOTERS[0])
        assert wait_for(lambda: any(me.get(path).status_code == 200 for path in proofs))
        before = [me.get(path).text for path in proofs]
        for part in (0, 1):
            await archive(connection, tmp_path / "kept", part)
        shutil.rmtree(tmp_path / "kept")
        assert [me.get(path).text for path in proofs] == before
