"""Witnesses, asked over HTTP as C2SP's tlog-witness says: what they answer, and what of it is believed and published."""

import base64
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import asyncpg
import pytest

from events.log.committer import Committer
from services.proof import health, published, witnesses
from services.proof.checkpoint import read_checkpoint
from services.proof.note import KeyMalformed, read_note, read_vkey, verified
from services.proof.policy import NO_QUORUM, Policy, read_policy
from services.proof.signer import Keys
from services.proof.witness import Witnessing
from tests.support import servers
from tests.support.log import patient
from tests.support.signing import ORIGIN, SEED, copied, grow, sign, signed, signer
from tests.support.witness import Answer, Witness

pytestmark = pytest.mark.postgres

VKEY = Keys((SEED,)).vkeys(ORIGIN)[0]


@pytest.fixture
def witness() -> Iterator[Witness]:
    """A witness that knows our log."""
    made = Witness()
    made.logs[ORIGIN] = read_vkey(VKEY)
    with made.serving():
        yield made


@pytest.fixture
async def one(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, witness: Witness
) -> Witness:
    """The same, beside a log of three events, signed once, that asks it."""
    await grow(committer, dsn, 3)
    assert await sign(signer(dsn, tmp_path), dsn)
    await witnesses.add(connection, str(witness.verifier), witness.url)
    return witness


async def asked(connection: "asyncpg.Connection[Any]", witness: Witness) -> witnesses.Asked:
    """Return what is known of a witness."""
    return (await witnesses.asked(connection, 1)).get(witness.verifier.name, witnesses.Asked())


async def refusal(connection: "asyncpg.Connection[Any]") -> str:
    """Return what the signer refuses with."""
    return await connection.fetchval("select what from proof.refusal") or ""


async def test_a_witness_cosigns_and_its_line_stands_below_ours(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, one: Witness
) -> None:
    """The first time from nothing, then by a proof from what it knows; a known checkpoint isn't sent again."""
    asking, signing = Witnessing(dsn, NO_QUORUM), signer(dsn, tmp_path)
    for events in (1, 300, 5):
        await asking.ask_all()
        await asking.ask_all()
        newest = await published.newest(connection)
        assert newest is not None
        assert len(verified(read_note(newest.note.encode()), [read_vkey(VKEY), one.verifier])) == 2
        assert await asked(connection, one) == witnesses.Asked(newest.size)
        await grow(committer, dsn, events)
        assert await sign(signing, dsn)
    assert [body.partition(b"\n")[0] for body in one.seen] == [b"old 0", b"old 3", b"old 4"]


async def test_a_witness_that_knows_another_size_is_asked_once_more(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, one: Witness
) -> None:
    """Where we forgot how far it is, or it forgot: its 409 says so, and is gone on from."""
    asking = Witnessing(dsn, NO_QUORUM)
    await asking.ask_all()
    await connection.execute("delete from proof.asked")
    await grow(committer, dsn, 4)
    assert await sign(signer(dsn, tmp_path), dsn)
    await asking.ask_all()
    assert await asked(connection, one) == witnesses.Asked(7)
    one.latest.clear()
    await grow(committer, dsn, 1)
    assert await sign(signer(dsn, tmp_path), dsn)
    await asking.ask_all()
    assert await asked(connection, one) == witnesses.Asked(8)


async def test_a_witness_ahead_of_us_stops_the_signer(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, one: Witness
) -> None:
    """It has seen a history that the database lost: nothing is signed until an operator has looked."""
    one.latest[ORIGIN] = (50, b"r" * 32)
    await Witnessing(dsn, NO_QUORUM).ask_all()
    await grow(committer, dsn)
    assert not await sign(signer(dsn, tmp_path), dsn)
    assert "knows 50 positions" in await refusal(connection)
    assert [note.size for note in await signed(connection)] == [3]
    assert await witnesses.remove(connection, one.verifier.name)
    assert await sign(signer(dsn, tmp_path), dsn) and await refusal(connection) == ""


@pytest.mark.parametrize("size", [2, 3])
async def test_a_witness_of_another_history_stops_the_signer(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, one: Witness, size: int
) -> None:
    """It cosigned another tree of a size, smaller or the same, and we hold no cosignature of its that says otherwise."""
    one.latest[ORIGIN] = (size, b"r" * 32)
    await Witnessing(dsn, NO_QUORUM).ask_all()
    assert (await asked(connection, one)).disputed
    await grow(committer, dsn)
    assert not await sign(signer(dsn, tmp_path), dsn)
    assert "another history" in await refusal(connection)


async def test_a_witness_that_errs_about_what_it_cosigned_stops_nobody(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, one: Witness
) -> None:
    """We hold its own cosignature from there: what it says now is its fault, and is listed."""
    asking = Witnessing(dsn, NO_QUORUM)
    await asking.ask_all()
    one.latest[ORIGIN] = (3, b"r" * 32)
    await grow(committer, dsn)
    assert await sign(signer(dsn, tmp_path), dsn)
    await asking.ask_all()
    seen = await asked(connection, one)
    assert seen.failed is not None and not seen.disputed
    await grow(committer, dsn)
    assert await sign(signer(dsn, tmp_path), dsn)


def _other_line(witness: Witness, text: str = "site.test/log/1\n9\nother\n", ahead: int = 0) -> Answer:
    return 200, f"{witness.line(text, int(time()) + ahead)}\n".encode(), "text/plain"


STRANGER = Witness("stranger.example", b"s" * 32)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((400, b"", "text/plain"), "can't read"),
        ((403, b"", "text/plain"), "our key"),
        ((404, b"", "text/plain"), "our log"),
        ((429, b"", "text/plain"), "too often"),
        ((500, b"oops", "text/plain"), "answered 500"),
        ((301, b"", "text/plain"), "answered 301"),
        ((409, b"many\n", "text/x.tlog.size"), "another log"),
        ((200, b"", "text/plain"), "signature lines"),
        ((200, b"\xff\xff\n", "text/plain"), "UTF-8"),
        ((200, b"thanks\n", "text/plain"), "no signature line"),
        ((200, b"x" * 70_000, "text/plain"), "signature lines"),
        (_other_line(STRANGER), "no line of this witness"),
        (_other_line(Witness()), "signature is wrong"),
    ],
)
async def test_whatever_else_a_witness_answers_is_listed_and_harms_nothing(
    connection: "asyncpg.Connection[Any]",
    committer: Committer,
    dsn: str,
    tmp_path: Path,
    one: Witness,
    answer: Answer,
    says: str,
) -> None:
    """Refusals, garbage, a line of somebody else, of another text: no cosignature is kept, and signing goes on."""
    one.fault = lambda body: answer
    await Witnessing(dsn, NO_QUORUM).ask_all()
    (listed,) = await witnesses.listed(connection, None)
    assert says in (listed.failed or "") and listed.size == 0
    assert await connection.fetchval("select count(*) from proof.cosignatures") == 0
    await grow(committer, dsn)
    assert await sign(signer(dsn, tmp_path), dsn)
    one.fault = lambda body: None
    await Witnessing(dsn, NO_QUORUM).ask_all()
    assert await asked(connection, one) == witnesses.Asked(4)


async def test_a_time_in_the_future_is_not_believed(connection: "asyncpg.Connection[Any]", dsn: str, one: Witness) -> None:
    """A cosignature dated an hour ahead would vouch for what comes."""

    def ahead(body: bytes) -> Answer:
        text = body.partition(b"\n\n")[2].partition(b"\n\n")[0].decode() + "\n"
        return _other_line(one, text, 3600)

    one.fault = ahead
    await Witnessing(dsn, NO_QUORUM).ask_all()
    assert "future" in ((await asked(connection, one)).failed or "")


async def test_a_silent_witness_harms_nothing(connection: "asyncpg.Connection[Any]", dsn: str, one: Witness) -> None:
    """Nobody listens at its address."""
    await witnesses.add(connection, str(one.verifier), "http://127.0.0.1:9")
    await Witnessing(dsn, NO_QUORUM).ask_all()
    assert (await asked(connection, one)).failed


def quorum(witness: Witness) -> Policy:
    """Return the policy that asks for a witness's cosignature."""
    return read_policy(f"witness w {witness.verifier} {witness.url}\nquorum w\n".encode())


async def test_only_what_meets_the_policy_is_published(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, witness: Witness
) -> None:
    """A checkpoint waits for its cosignature; what is published carries it."""
    policy = quorum(witness)
    asking, signing = Witnessing(dsn, policy), signer(dsn, tmp_path, policy=policy)
    await grow(committer, dsn, 3)
    assert await sign(signing, dsn)
    assert await published.newest(connection) is None
    await asking.ask_all()
    await grow(committer, dsn, 2)
    assert await sign(signing, dsn)
    newest = await published.newest(connection)
    assert newest is not None and newest.size == 3
    assert read_checkpoint(newest.note.encode(), [witness.verifier]) == newest
    assert health.said(await health.read(connection)) is None


async def test_without_witnesses_for_ten_minutes_the_newest_is_published_and_that_is_said(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, witness: Witness
) -> None:
    """Proofs don't stop for a witness that is away; it is *degraded* until it is back."""
    policy = quorum(witness)
    asking, signing = Witnessing(dsn, policy), signer(dsn, tmp_path, policy=policy)
    await grow(committer, dsn, 3)
    assert await sign(signing, dsn)
    async with connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute("update proof.checkpoints set signed_at = now() - interval '11 minutes'")
    await grow(committer, dsn, 1)
    assert await sign(signing, dsn)
    newest = await published.newest(connection)
    assert newest is not None and newest.size == 4
    wrong = health.said(await health.read(connection))
    assert wrong is not None and "fewer witnesses" in wrong[0]
    await asking.ask_all()
    assert await sign(signing, dsn)
    assert health.said(await health.read(connection)) is None


@pytest.mark.parametrize("url", ["", "witness.example", "ftp://witness.example", "https://", "https://w.example/?a=b"])
async def test_an_address_that_is_none_is_refused(connection: "asyncpg.Connection[Any]", url: str) -> None:
    """So is a key that isn't a witness's."""
    with pytest.raises(KeyMalformed):
        await witnesses.add(connection, str(Witness().verifier), url)
    with pytest.raises(KeyMalformed):
        await witnesses.add(connection, VKEY, "https://witness.example")


async def test_the_request_is_what_the_specification_says(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, one: Witness
) -> None:
    """The old size, a hash a line, a blank line, the note; each line ends."""
    asking = Witnessing(dsn, NO_QUORUM)
    await asking.ask_all()
    await grow(committer, dsn, 4)
    assert await sign(signer(dsn, tmp_path), dsn)
    await asking.ask_all()
    note = (await signed(connection))[-1].note.encode()
    first, last = one.seen
    assert first.startswith(b"old 0\n\nsite.test/log/1\n3\n")
    head, _, rest = last.partition(b"\n\n")
    assert rest == note
    old, *hashes = head.split(b"\n")
    assert old == b"old 3" and hashes and all(len(base64.b64decode(line)) == 32 for line in hashes)


async def test_a_lost_file_is_made_up_for_by_a_witness(
    postgres: servers.Postgres,
    committer: Committer,
    dsn: str,
    tmp_path: Path,
    connection: "asyncpg.Connection[Any]",
    one: Witness,
) -> None:
    """A backup is restored on another host, where no file says so: asked before the first signature, the witness does."""
    asking, signing = Witnessing(dsn, NO_QUORUM), signer(dsn, tmp_path)
    await asking.ask_all()
    async with copied(postgres, dsn) as backup:
        async with patient(dsn) as again:
            await grow(again, dsn, 4)
        assert await sign(signing, dsn)
        await asking.ask_all()
        elsewhere = Witnessing(backup, NO_QUORUM)
        await elsewhere.ask_all(anew=True)
        async with patient(backup) as other:
            await grow(other, backup, 9)
        assert not await sign(signer(backup, tmp_path / "elsewhere"), backup)
        restored = await asyncpg.connect(backup)
        try:
            assert "knows 7 positions" in await refusal(restored)
        finally:
            await restored.close()
