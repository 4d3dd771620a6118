"""A suppression is taken back by an operator or by the reader, and then mail goes there again."""

import json

import httpx
import pytest

from events.commands.subscribers import ConfirmSubscription, EraseSubscriber, ReinstateSubscriber, SuppressSubscriber
from services.newsletter import reports
from services.newsletter.reports import Report
from services.newsletter.subscribers import read_suppressed
from tests.support.newsroom import Newsroom
from tests.support.sending import EDITOR


async def bounced(room: Newsroom, address: str) -> str:
    """Subscribe an address, and suppress it by a hard bounce."""
    reader = await room.subscribe(address)
    report = Report(kind="hard", fingerprint=b"first", recipient=address)
    finder = await room.vault.finder(room.database)
    (told,) = await reports.apply(room.database, room.committer, finder, [report])
    assert told.suppressed
    return reader


async def digests(room: Newsroom, address: str) -> int:
    """Send an issue; count the digests that an address has got so far."""
    await room.project()
    await room.send_now(extra=True)
    await room.deliver()
    return sum(b"List-Id" in mail for mail in room.sink.to(address))


async def test_a_reinstated_reader_is_mailed_again(room: Newsroom) -> None:
    """The look-up, the view and the ledger agree, the event has the reason, and the same report again changes nothing."""
    ada = await bounced(room, "ada@example.com")
    assert await digests(room, "ada@example.com") == 0
    (listed,) = await read_suppressed(room.database, room.vault, None, 10)
    assert (listed.subscriber, listed.email, listed.reason) == (ada, "ada@example.com", "hard bounce")
    await room.committer.submit(ReinstateSubscriber(ada, "our fault", "op"))
    assert await read_suppressed(room.database, room.vault, None, 10) == []
    assert await digests(room, "ada@example.com") == 1
    again = Report(kind="hard", fingerprint=b"first", recipient="ada@example.com")
    finder = await room.vault.finder(room.database)
    (told,) = await reports.apply(room.database, room.committer, finder, [again])
    assert (told.reader, told.suppressed) == (ada, False)


@pytest.mark.parametrize("reason", ["hard bounce", "complaint", "soft bounces"])
async def test_a_suppressed_reader_comes_back_by_a_link(room: Newsroom, reason: reports.Reason) -> None:
    """Signing up sends one link a day to a suppressed address; nothing else goes there until it is used."""
    ada = await room.subscribe("ada@example.com")
    await room.committer.submit(SuppressSubscriber(ada, reason))
    await room.database.execute("update newsletter.mails set planned_at = planned_at - interval '2 days'")
    await room.sign_up("ada@example.com")
    await room.sign_up("ada@example.com")
    assert await digests(room, "ada@example.com") == 0
    (link,) = room.sink.to("ada@example.com")
    assert b"/newsletter/confirm" in link
    await room.committer.submit(ConfirmSubscription(ada, 2, "form", "hash"))
    assert await digests(room, "ada@example.com") == 1


async def test_an_erased_persons_address_stays_suppressed(room: Newsroom) -> None:
    """Its hash is all that is left: signing up sends nothing, and it isn't listed."""
    ada = await bounced(room, "ada@example.com")
    await room.committer.submit(EraseSubscriber(ada))
    assert await room.sign_up("ada@example.com") is None
    await room.deliver()
    assert room.sink.mails == [] and await read_suppressed(room.database, room.vault, None, 10) == []


async def test_operators_see_suppressions_and_take_them_back(room: Newsroom, http: httpx.AsyncClient) -> None:
    """The page lists address and reason; its form and the API take a suppression back, and say when there is none."""
    ada = await bounced(room, "ada@example.com")
    html = {"accept": "text/html"}
    shown = await http.get("/ops/suppressions", headers=html)
    assert shown.status_code == 200 and "ada@example.com" in shown.text and "hard bounce" in shown.text
    for said in ("reinstated", "nothing"):
        form = {"email": "ada@example.com", "reason": "our fault"}
        done = await http.post("/ops/suppressions", data=form, headers=html)
        assert (done.status_code, done.headers["location"]) == (303, f"/ops/suppressions?said={said}")
    token = {"authorization": f"Bearer {EDITOR.token}"}
    assert (await http.get("/v1/ops/suppressions", headers=token)).json() == {"items": []}
    path = f"/v1/ops/suppressions/{ada}/reinstatement"
    for reason, status in (("our fault", 200), ("our fault", 200), ("another reason", 422)):
        answer = await http.post(path, json={"reason": reason}, headers={**token, "idempotency-key": "once"})
        assert answer.status_code == status and (status != 200 or answer.json()["subscriber"] == ada)
    receipts = await room.database.fetch("select receipt from log.idempotency")
    assert [json.loads(row["receipt"])["value"] for row in receipts] == [None], "a receipt that is kept tells of nobody"
