"""The drill: let a backup come back beside the live site, verify it, and say how much would be lost were the machine gone now.

It has a home folder, sockets and a server of its own and starts nothing else: no mail, no webhook, no signature leaves it. What
it made is removed in the end; what a killed drill left, by the next one.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec
from asyncpg import Connection

from events.log import history, postgres
from events.log.archive import state as archived
from events.log.archive.present import Present
from events.registry import REGISTRY
from projections.engine.folding import Jobs
from projections.engine.ranges import side_by_side
from projections.engine.verify import verify
from projections.registry import PROJECTIONS
from projections.sources import SOURCES
from services.backup.places import Backup
from services.backup.restoring import Target, chosen, ends_at, recovered, transaction_of
from services.embedded.home import HomeInUse, opened_home
from services.embedded.start import find_settings
from services.embedded.supervisor import Supervisor
from services.migrate import migrate
from services.proof import store
from services.proof.checkpoint import Checkpoint
from services.proof.continuity import NotYet, Refused, must_extend
from services.settings import Settings, SettingsError, home_folder, process_environ

PREFIX: Final = "ballotpress-drill-"
MADE: Final = re.compile(PREFIX + "[a-z0-9_]{8}")
MARKER: Final = "drill"
"""The file that a drill puts into its folder before anything else: no other folder is ever removed."""
SIGN_UPS: Final = "select count(*) from log.events where position > $1 and type = 'SubscriptionRequested'"
# Of an issue's mails those taken or refused for good since; a restored database counts at most as many.
SETTLED: Final = "select count(*) from newsletter.mails where state in ('accepted', 'rejected')"

Say = Callable[[str], None]


class ViewResult(msgspec.Struct, frozen=True):
    """Whether a view of the backup is what its log says."""

    view: str
    is_right: bool
    said: str


class ProofResult(msgspec.Struct, frozen=True):
    """Whether the backup's public log begins with what was signed."""

    is_right: bool
    said: str


class Lost(msgspec.Struct, frozen=True):
    """What the live database has and the backup hasn't; `is_another` if it isn't the same log."""

    is_another: bool
    positions: int = 0
    seconds: float = 0
    mails: int = 0
    sign_ups: int = 0

    @property
    def said(self) -> str:
        """It in words."""
        if not (self.positions or self.mails):
            return "nothing"
        return (
            f"{self.positions} positions, the last {self.seconds / 60:.1f} minutes of the log, with {self.sign_ups} sign-ups,"
            f" and what became of {self.mails} mails"
        )


class Head(msgspec.Struct, frozen=True):
    """The end of a log."""

    position: int
    recorded_at: datetime | None

    def __str__(self) -> str:
        """Say where it is."""
        when = "" if self.recorded_at is None else f", {self.recorded_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"the log ends at position {self.position}{when}"


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """What a drill found. Without a live log that can be reached, `lost` is None."""

    backup: str
    head: Head
    views: Sequence[ViewResult]
    proof: ProofResult
    lost: Lost | None
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether the backup is good."""
        return self.proof.is_right and all(one.is_right for one in self.views) and not (self.lost and self.lost.is_another)


async def head_of(url: str) -> Head:
    """Return the end of a database's log."""
    connection = await postgres.connect(url, "restore", seconds=60)
    try:
        mark = await history.mark_of_head(connection)
    finally:
        await connection.close()
    return Head(0, None) if mark is None else Head(mark.position, mark.recorded_at)


@asynccontextmanager
async def recovered_to(
    supervisor: Supervisor, folder: Path, target: Target, identity: Any
) -> AsyncIterator[tuple[Backup, str]]:
    """Recover the newest fitting backup; yield it and the server's URL. Raises BackupUnusable.

    PostgreSQL knows transactions, not positions, so for a position all is replayed once to learn which transaction appended it.
    """
    backup = chosen(folder, target)
    if ends_at(backup, target):
        target = msgspec.structs.replace(target, in_backup=True)
    elif target.position is not None:
        async with recovered(supervisor, folder, backup, Target(), identity) as url:
            target = msgspec.structs.replace(target, transaction=await transaction_of(url, target.position))
    async with recovered(supervisor, folder, backup, target, identity) as url:
        yield backup, url


async def drill(folder: Path, target: Target, identity: Any, say: Say) -> Drill:
    """Try a backup. Raises BackupUnusable where it doesn't come back at all."""
    began = monotonic()
    settings = _live()
    live = await _known_of(settings)
    async with _scratch_home(say) as supervisor, recovered_to(supervisor, folder, target, identity) as (backup, url):
        head = await head_of(url)
        await migrate(url)
        say("Verifying the views")
        views = await _all_verified(url)
        connection = await postgres.connect(url, "restore", seconds=600)
        try:
            proof = await _proven(connection, live)
            lost = None if live is None else await _lost(connection, settings, live, head)
        finally:
            await connection.close()
    return Drill(
        backup=backup.name,
        head=head,
        views=views,
        proof=proof,
        lost=lost,
        seconds=monotonic() - began,
    )


@asynccontextmanager
async def _scratch_home(say: Say) -> AsyncIterator[Supervisor]:
    """Yield the supervisor of a home folder that is removed in the end; first remove what a killed drill left."""
    home = home_folder(process_environ())
    where = home if (home / "postgres").exists() else Path(tempfile.gettempdir())
    for left in where.glob(f"{PREFIX}*"):
        await _remove_left(left)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
    try:
        (made / MARKER).touch(mode=0o600)
        async with opened_home(made, say) as supervisor:
            yield supervisor
    finally:
        shutil.rmtree(made, ignore_errors=True)


async def _remove_left(folder: Path) -> None:
    """Remove the home of a drill that isn't running any more, with what runs on it; leave alone what no drill of ours made."""
    if not _is_left(folder):
        return
    with contextlib.suppress(HomeInUse):
        async with opened_home(folder, lambda line: None):
            pass
        shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    if not MADE.fullmatch(folder.name) or folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
        return False
    return (folder / MARKER).is_file() and (folder / "up.lock").is_file()


class _Live(msgspec.Struct, frozen=True):
    """What the live database knew when the drill began."""

    mark: history.Mark | None
    last: Checkpoint | None
    settled: int


def _live() -> Settings | None:
    try:
        return find_settings(needs_keys=False)
    except SettingsError:
        return None


async def _known_of(settings: Settings | None) -> _Live | None:
    if settings is None:
        return None
    try:
        connection = await postgres.connect(settings.database_url, "drill", seconds=30)
    except postgres.FAILED:
        return None
    try:
        state = await store.read(connection)
        return _Live(await history.mark_of_head(connection), state.last, await connection.fetchval(SETTLED))
    finally:
        await connection.close()


async def _all_verified(url: str) -> list[ViewResult]:
    """Compare all views. A backup needs the files of the parts that were archived by its day.

    One view after the other; where parts are archived all go through each together, so that it is loaded once.
    """
    connection = await postgres.connect(url, "drill", seconds=30)
    try:
        together = await archived.is_any_away(connection)
    finally:
        await connection.close()
    jobs = Jobs()
    async with Present(url, [projection.name for projection in PROJECTIONS] if together else []) as present:
        if together:
            return await side_by_side(*(_verified(url, projection, jobs, present) for projection in PROJECTIONS))
        return [await _verified(url, projection, jobs, present) for projection in PROJECTIONS]


async def _verified(url: str, projection: Any, jobs: Jobs, present: Present) -> ViewResult:
    diff = await verify(url, projection, REGISTRY, SOURCES, jobs=jobs, present=present)
    if not diff.tables:
        return ViewResult(projection.name, True, f"equal to the log up to position {diff.position}")
    return ViewResult(projection.name, False, f"{diff.count} rows differ from the log up to position {diff.position}")


async def _proven(connection: "Connection[Any]", live: _Live | None) -> ProofResult:
    """Check that the backup begins with its last signed checkpoint, and with the live log's as far as it goes."""
    state = await store.read(connection)
    signed = [one for one in (state.last, live.last if live else None) if one is not None and one.size <= state.head]
    if not signed:
        return ProofResult(True, "nothing in it was ever signed")
    for checkpoint in signed:
        try:
            await must_extend(connection, state, checkpoint)
        except NotYet:
            return ProofResult(False, f"the tree is behind the {checkpoint.size} positions that were signed")
        except Refused as refusal:
            return ProofResult(False, str(refusal))
    most = max(one.size for one in signed)
    beyond = live.last.size - state.head if live and live.last and live.last.size > state.head else 0
    more = f"; {beyond} signed positions are not in it" if beyond else ""
    return ProofResult(True, f"it begins with what was signed, up to position {most}{more}")


async def _lost(connection: "Connection[Any]", settings: Settings | None, live: _Live, head: Head) -> Lost:
    """Compare with the live log as it was when the drill began."""
    assert settings is not None  # noqa: S101 - it was reached
    ours = await history.mark_of_head(connection)
    site = await postgres.connect(settings.database_url, "drill", seconds=60)
    try:
        if not await history.holds(site, ours):
            return Lost(is_another=True)
        sign_ups = await site.fetchval(SIGN_UPS, head.position)
    finally:
        await site.close()
    positions = max(0, (live.mark.position if live.mark else 0) - head.position)
    seconds = (live.mark.recorded_at - head.recorded_at).total_seconds() if positions and live.mark and head.recorded_at else 0
    mails = max(0, live.settled - await connection.fetchval(SETTLED))
    return Lost(is_another=False, positions=positions, seconds=seconds, mails=mails, sign_ups=sign_ups if positions else 0)
