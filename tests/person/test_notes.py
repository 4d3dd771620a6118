"""What was erased is erased again when a backup from before is brought back; what wasn't stays."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.commands.bookmarks import SetBookmark
from events.commands.erasure import EraseVisitor
from events.commands.reviews import SubmitReview, WithdrawReview
from events.commands.subscribers import EraseSubscriber
from events.commands.voters import CorrectVoters
from events.erasure import VisitorIsErased
from events.log.committer import Committer
from events.log.vault import Vault
from projections.cards import tallies_at_head
from services.clock import fresh_id
from services.newsletter import outbox
from services.person.notes import Notes, add_notes, read_notes
from tests.support import catalogs, servers
from tests.support.log import patient
from tests.support.newsroom import newsroom
from tests.support.processes import wait_for
from tests.support.settings import VAULT_KEY, environ, settings
from tests.support.stem import forked

TEXT = "It does what it says, and says what it does."
LAST_TYPES = "select array_agg(type order by position) from log.events where position > $1"


class Lives(dict[str, str]):
    """The numbers of the people of a test, by name."""


async def write_review(committer: Committer, visitor: str) -> str:
    """Have a visitor review the tool; return the review's number."""
    review = fresh_id()
    key, keep = Vault([VAULT_KEY]).new_key(review)
    submit = SubmitReview(
        visitor=visitor,
        slug="alpha",
        review=review,
        verdict="ship",
        score=None,
        text=key.seal("text", TEXT),
        name=None,
        keep=keep,
    )
    await committer.submit(submit)
    return review


async def live(dsn: str, valkey_url: str, home: Path) -> Lives:
    """Let two readers sign up, and three visitors write and keep something."""
    async with newsroom(settings(dsn, valkey_url, home=home)) as room:
        await room.import_tools(catalogs.tool("alpha"))
        found = Lives(ada=await room.sign_up("ada@example.com") or "", bob=await room.sign_up("bob@example.com") or "")
        for name in ("gone", "withdrew", "stays"):
            found[name] = fresh_id()
            found[f"review of {name}"] = await write_review(room.committer, found[name])
            await room.committer.submit(SetBookmark(found[name], "alpha", keep=True))
    return found


@asynccontextmanager
async def looking(dsn: str, valkey_url: str, home: Path, **more: Any) -> AsyncIterator[tuple[Notes, Any]]:
    """Open the notes of a worker, and a connection for it to look by."""
    connection = await asyncpg.connect(dsn)
    yield Notes(settings(dsn, valkey_url, home=home, **more)), connection
    await connection.close()


async def ask(dsn: str, query: str) -> str:
    """Ask a database for one text, and leave it."""
    connection = await asyncpg.connect(dsn)
    value: str = await connection.fetchval(query)
    await connection.close()
    return value


async def keyed(connection: Any, lives: Lives) -> set[str]:
    """Return whose keys are in the vault, by name."""
    owners = {row["owner"] for row in await connection.fetch("select owner from vault.keys")}
    return {name for name, number in lives.items() if number in owners}


@pytest.fixture
async def backup(dsn: str, postgres: servers.Postgres, valkey_url: str, tmp_path: Path) -> AsyncIterator[tuple[str, Lives]]:
    """A site with people, a backup of its database, and what happened after it: three erasures, which were noted."""
    lives = await live(dsn, valkey_url, tmp_path)
    async with servers.database(postgres, await ask(dsn, "select current_database()")) as copy:
        async with patient(dsn) as committer, looking(dsn, valkey_url, tmp_path) as (notes, connection):
            await notes.look(connection)
            await committer.submit(EraseSubscriber(lives["ada"], operator="op"))
            await committer.submit(EraseVisitor(lives["gone"]))
            await committer.submit(WithdrawReview(lives["withdrew"], lives["review of withdrew"]))
            await notes.look(connection)
        yield copy, lives


async def test_erasures_are_done_again_on_a_backup_from_before(
    backup: tuple[str, Lives], valkey_url: str, tmp_path: Path
) -> None:
    """Reader, visitor and withdrawn text are erased again, by events; nobody else is; and a second look changes nothing."""
    copy, lives = backup
    async with looking(copy, valkey_url, tmp_path) as (notes, connection):
        head = await connection.fetchval("select position from log.head")
        assert await keyed(connection, lives) >= {"ada", "bob", "review of gone", "review of withdrew", "review of stays"}
        await notes.look(connection)
        assert await keyed(connection, lives) == {"bob", "review of stays"}
        types = await connection.fetchval(LAST_TYPES, head)
        assert sorted(types) == sorted(
            ["PersonErased", "PersonErased", "BookmarkRemoved", *2 * ["ReviewWithdrawn", "ReviewCleared"]]
        )
        lines = (tmp_path / "erasures").read_text()
        await notes.look(connection)
        assert (tmp_path / "erasures").read_text() == lines
        assert await connection.fetchval(LAST_TYPES, head + len(types)) is None
    async with looking(copy, valkey_url, tmp_path) as (notes, connection):
        await notes.look(connection)
        assert await connection.fetchval(LAST_TYPES, head + len(types)) is None


async def test_a_worker_erases_again_before_it_sends(backup: tuple[str, Lives], valkey_url: str, tmp_path: Path) -> None:
    """On the backup both readers' confirmations wait to be sent: the one of who was erased since never is."""
    copy, lives = backup
    with forked("worker", environ=environ(copy, valkey_url, tmp_path), output=tmp_path / "said"):
        mailed = lambda: [mail.name for mail in outbox.filed(tmp_path)]  # noqa: E731
        assert wait_for(lambda: any(lives["bob"] in name for name in mailed())), (tmp_path / "said").read_text()
        assert not any(lives["ada"] in name for name in mailed())
    assert "the log had lost" in (tmp_path / "said").read_text()
    assert "ada@example.com" not in (tmp_path / "said").read_text()


async def test_the_notes_hold_numbers_alone(backup: tuple[str, Lives], tmp_path: Path) -> None:
    """A line is an event's mark, a kind and a number; no address, no text, no key; and nobody else may read the file."""
    _, lives = backup
    file = tmp_path / "erasures"
    found = [(note.kind, note.id) for note in read_notes(file)]
    assert sorted(found) == sorted(
        [
            ("subscriber", lives["ada"]),
            ("visitor", lives["gone"]),
            ("review", lives["review of gone"]),
            ("review", lives["review of withdrew"]),
        ]
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert "example.com" not in file.read_text() and TEXT not in file.read_text()


async def test_who_never_confirmed_and_was_forgotten_is_not_noted(dsn: str, valkey_url: str, tmp_path: Path) -> None:
    """A flood of sign-ups that nobody confirms fills no file: it is forgotten again by itself."""
    lives = await live(dsn, valkey_url, tmp_path)
    async with patient(dsn) as committer, looking(dsn, valkey_url, tmp_path) as (notes, connection):
        await committer.submit(EraseSubscriber(lives["ada"], unconfirmed_only=True))
        await committer.submit(EraseVisitor(lives["gone"]))
        with pytest.raises(VisitorIsErased):
            await committer.submit(SetBookmark(lives["gone"], "alpha", keep=True))
        await committer.submit(EraseVisitor(lives["gone"]))
        await notes.look(connection)
    kinds = [note.kind for note in read_notes(tmp_path / "erasures")]
    assert kinds == ["review", "visitor"]


async def test_a_line_that_a_crash_cut_short_harms_no_other(tmp_path: Path, backup: tuple[str, Lives]) -> None:
    """What was half written is passed over, and the next line begins anew."""
    file = tmp_path / "erasures"
    notes = read_notes(file)
    file.write_text(file.read_text()[:-10])
    assert read_notes(file) == notes[:-1]
    add_notes(file, notes[-1:])
    assert read_notes(file) == notes


async def test_the_texts_of_who_is_disqualified_go_too(backup: tuple[str, Lives], valkey_url: str, tmp_path: Path) -> None:
    """An author who may write nothing on the backup can't withdraw anew: the text is destroyed all the same."""
    copy, lives = backup
    async with patient(copy) as committer, newsroom(settings(copy, valkey_url, home=tmp_path)) as room:
        await room.project()
        correct = CorrectVoters(fresh_id(), [lives["withdrew"]], "why", tallies_at_head, reinstate=False, operator="op")
        await committer.submit(correct)
    async with looking(copy, valkey_url, tmp_path) as (notes, connection):
        await notes.look(connection)
        assert await keyed(connection, lives) == {"bob", "review of stays"}


async def test_a_file_that_cant_be_used_is_trouble_and_stops_nothing(dsn: str, valkey_url: str, tmp_path: Path) -> None:
    """It is said, and once the file can be used, what came meanwhile is noted."""
    lives = await live(dsn, valkey_url, tmp_path)
    (tmp_path / "erasures").mkdir()
    async with patient(dsn) as committer, looking(dsn, valkey_url, tmp_path) as (notes, connection):
        await notes.look(connection)
        assert notes.trouble is not None and "erasures is no plain file" in notes.trouble
        await committer.submit(EraseVisitor(lives["gone"]))
        (tmp_path / "erasures").rmdir()
        await notes.look(connection)
        assert notes.trouble is None
    assert ("visitor", lives["gone"]) in [(note.kind, note.id) for note in read_notes(tmp_path / "erasures")]


async def test_a_log_that_goes_back_under_a_running_worker_is_noticed(
    backup: tuple[str, Lives], dsn: str, valkey_url: str, tmp_path: Path
) -> None:
    """A worker that lives on while the database is replaced erases again at its next look."""
    copy, lives = backup
    async with looking(copy, valkey_url, tmp_path) as (notes, restored), looking(dsn, valkey_url, tmp_path) as (_, before):
        await notes.look(before)
        assert await keyed(before, lives) == {"bob", "review of stays"}
        await notes.look(restored)
        assert await keyed(restored, lives) == {"bob", "review of stays"}


async def test_a_lost_file_is_written_anew_from_the_log(
    backup: tuple[str, Lives], dsn: str, valkey_url: str, tmp_path: Path
) -> None:
    """The log itself holds every erasure: a worker that finds no file notes all of them, killed in between or not."""
    file = tmp_path / "erasures"
    before = file.read_text()
    for kept in ("", "\n".join(before.split("\n")[:2]) + "\n"):
        file.write_text(kept)
        async with looking(dsn, valkey_url, tmp_path) as (notes, connection):
            await notes.look(connection)
        assert file.read_text() == before
