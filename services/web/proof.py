"""The proof, for people: what is proven to whom and what isn't, single entries, and a visitor's own votes in the public log.

A visitor's number is on that visitor's own page and nowhere else.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from projections import own_ballots
from projections.own_ballots import OwnEntry
from services.proof import health
from services.proof.checkpoint import Checkpoint
from services.proof.note import read_note
from services.web.http.answers import NO_STORE, Answer, json_answer
from services.web.http.auth import find_visitor
from services.web.http.pages import page, public_page, show
from services.web.http.problems import NotFound
from services.web.http.queries import Query
from services.web.page_head import Head
from services.web.public_tree import NotSignedYet, TooManyWaitForProof
from services.web.site import Call

MOST_ENTRIES: Final = 100
"""Entries on a visitor's page; `verify.py --visitor` finds them all."""
_COSIGNATURE_BYTES: Final = 72  # a time, 8 bytes, and an Ed25519 signature (tlog-cosignature v1)


class Cosignature(msgspec.Struct, frozen=True):
    """A witness, and when it saw the checkpoint as the log's largest."""

    witness: str
    at: datetime


class OwnBallot(msgspec.Struct, frozen=True):
    """The entries of a visitor's ballot on a tool, oldest first; `is_whole` unless older ones are left out."""

    entries: Sequence[OwnEntry]
    is_whole: bool

    @property
    def last(self) -> OwnEntry:
        """The entry that holds."""
        return self.entries[-1]


class OwnProofsQuery(Query, frozen=True, kw_only=True):
    """The size of the log as the visitor's browser saw it last."""

    from_: Annotated[int, Meta(ge=1, le=2**53)] | None = msgspec.field(name="from", default=None)


class EntryProof(msgspec.Struct, frozen=True):
    """An entry, and its inclusion proof; null while no published checkpoint covers it."""

    position: int
    entry: str
    hashes: list[bytes] | None


class OwnProofs(msgspec.Struct, frozen=True):
    """What the page's script checks: a checkpoint, the key, every entry, and that the log begins with what it was."""

    checkpoint: str
    vkey: str
    entries: list[EntryProof]
    consistency: list[bytes] | None


_HEAD: Final = Head(
    path="/proof",
    title="Proof: what the public log shows",
    description="What the public log of votes proves, to whom, and what it doesn’t; and how to check it.",
)


@page("/proof", Query)
async def proof_page(call: Call, query: Query) -> Answer:
    """Say what is proven, by whom, and what isn't; show the last checkpoint."""
    site = call.site
    with suppress(NotFound):  # nothing is published yet
        log = site.tree.present
        standing = await health.read(site.reading)
        return show(
            call,
            "proof.html",
            cache=public_page(call, many=True),
            head=_HEAD,
            checkpoint=log.checkpoint,
            vkey=log.vkey,
            cosignatures=_cosignatures(log.checkpoint),
            unmet=standing is not None and standing.unwitnessed_since is not None,
            has_policy=site.settings.public_log.witness_policy is not None,
        )
    return show(call, "proof.html", cache=public_page(call, many=True), head=_HEAD, checkpoint=None)


def _cosignatures(checkpoint: Checkpoint) -> list[Cosignature]:
    """Return who cosigned a checkpoint; the signer has checked the lines."""
    lines = [line for line in read_note(checkpoint.note.encode()).lines if len(line.signature) == _COSIGNATURE_BYTES]
    return [Cosignature(line.name, datetime.fromtimestamp(int.from_bytes(line.signature[:8], "big"), UTC)) for line in lines]


class _Dated(msgspec.Struct, frozen=True):
    """What every entry says of its time: the minute, from the beginning of 1970."""

    minute: int


@page("/proof/entries/{entry}", Query)
async def entry_page(call: Call, query: Query) -> Answer:
    """Show an entry of the public log, as it is hashed."""
    position = int(call.path["entry"])
    size = call.site.tree.newest.size
    if position > size:
        raise NotFound("The published checkpoint doesn't cover this entry yet.")
    entry = await call.site.tree.entry(position)
    return show(
        call,
        "proof_entry.html",
        cache=public_page(call, many=True),
        position=position,
        size=size,
        entry=entry.decode(),
        at=datetime.fromtimestamp(60 * msgspec.json.decode(entry, type=_Dated).minute, UTC),
    )


@page("/proof/mine", Query)
async def own_page(call: Call, query: Query) -> Answer:
    """Show the visitor's own ballots with every entry, which the page's script then checks."""
    visitor = find_visitor(call.head, call.site.tokens)
    if visitor is None:
        return show(call, "proof_mine.html", ballots=[])
    found = await own_ballots.entries(call.site.database, visitor, MOST_ENTRIES)
    return show(
        call,
        "proof_mine.html",
        visitor=visitor,
        ballots=_ballots(found),
        is_out=await own_ballots.is_out(call.site.database, visitor),
        is_cut=len(found) == MOST_ENTRIES,
    )


def _ballots(found: Sequence[OwnEntry]) -> list[OwnBallot]:
    """Return the ballots that entries are of, the one that changed last first; a ballot's entries oldest first."""
    by_tool = groupby(sorted(found, key=lambda entry: (entry.tool, entry.position)), key=lambda entry: entry.tool)
    ballots = [_ballot(list(entries)) for _, entries in by_tool]
    return sorted(ballots, key=lambda ballot: -ballot.last.position)


def _ballot(entries: Sequence[OwnEntry]) -> OwnBallot:
    return OwnBallot(entries, "previous" not in msgspec.json.decode(entries[0].entry))


@page("/proof/mine.json", OwnProofsQuery)  # for the page's script, so it stands on pages and not in the document of the API
async def own_proofs(call: Call, query: OwnProofsQuery) -> Answer:
    """Return the proofs of the visitor's entries; a vote just cast waits up to two seconds for its checkpoint."""
    visitor, tree = find_visitor(call.head, call.site.tokens), call.site.tree
    found = [] if visitor is None else await own_ballots.entries(call.site.database, visitor, MOST_ENTRIES)
    with suppress(NotSignedYet, TooManyWaitForProof):  # it is said of the entry itself
        if found:
            await tree.covering(found[0].position, call.network)
    log = tree.present
    size = log.checkpoint.size
    entries = [
        EntryProof(one.position, one.entry, await tree.inclusion(one.position - 1, size) if one.position <= size else None)
        for one in found
    ]
    was = query.from_
    consistency = await tree.consistency(was, size) if was is not None and was <= size else None
    return json_answer(OwnProofs(log.checkpoint.note, log.vkey, entries, consistency), headers=NO_STORE)
