"""What has transactions of its own is noted before it is done: what can't be noted isn't, and nothing is without a line."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.operators import log
from services.operators.deeds import KINDS
from tests.support.runners import catch_up_all
from tests.support.shell import Shell

REFUSE = """
create function public.refuse_line() returns trigger language plpgsql as $$ begin raise exception 'no line'; end $$;
create trigger refuse_line before {} on operators.acts for each row execute function public.refuse_line()
"""
KEPT = "select to_regnamespace('bookmarks_1_prev') is not null"
REPLAY = ("replay", "bookmarks", "--pause", "0", "--keep-previous")


async def told(connection: Any) -> list[str]:
    """Return what the operators' log says of what was done at the shell."""
    asked = log.Asked(kinds=frozenset(KINDS), operator="shell")
    return [one.what for one in await log.read(connection, asked, log.TOP, 100)]


@pytest.fixture
async def views(dsn: str, connection: Any, catalog: int) -> Any:
    """A connection to a site whose views have taken all in."""
    await catch_up_all(dsn)
    return connection


async def test_what_can_not_be_noted_is_not_done(shell: Shell, views: Any) -> None:
    """Before anything is switched the line stands there, or nothing is."""
    await views.execute(REFUSE.format("insert"))
    assert "no line" in shell(*REPLAY, status=1).err
    assert not await views.fetchval(KEPT)


async def test_what_was_done_is_never_without_a_line(shell: Shell, views: Any) -> None:
    """If nothing can be written after the switch, as after a kill, the line says that it was begun."""
    await views.execute(REFUSE.format("update"))
    assert "no line" in shell(*REPLAY, status=1).err
    assert await views.fetchval(KEPT)
    assert "began to rebuild the view bookmarks: how it ended isn't known" in await told(views)


async def test_what_is_refused_leaves_no_line(shell: Shell, empty: str, tmp_path: Path) -> None:
    """A file that is no export isn't imported."""
    (tmp_path / "log.jsonl").write_text("{}\n")
    assert shell("events", "import", str(tmp_path / "log.jsonl"), DATABASE_URL=empty).status == 1
    connection = await asyncpg.connect(empty)
    assert await told(connection) == []
    await connection.close()
