"""Sending: each planned reader gets one mail or is accounted for, whatever relay, reader and operator do meanwhile."""

import email
import email.policy
import json
from collections import Counter

from emails.addresses import read_address
from events.commands.imports import Imported, ImportSubscribers
from events.commands.subscribers import EraseSubscriber, Unsubscribe
from services.newsletter import gone_out, holds, issues, ledger
from services.newsletter.subscribers import new_person
from tests.support import catalogs
from tests.support.newsroom import Newsroom
from tests.support.sending import planned, problems, run, told_of_refusals
from tests.support.sink import says_250


async def test_each_reader_gets_one_mail(room: Newsroom) -> None:
    """All are accepted, each exactly once, the issue settles, and a second run finds nothing to do."""
    number, _ = await planned(room, 25)
    assert await room.accounts(number) == {"pending": 25}
    await room.deliver()
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 25}
    digests = Counter(to for to, message in room.sink.mails if b"List-Id" in message)
    assert digests == {f"reader{n}@example.com": 1 for n in range(25)}
    assert (await issues.issue(room.database, number)).state == "settled"


async def test_odd_but_legal_addresses_are_mailed(room: Newsroom) -> None:
    """Quoted local parts, tags, and international domains arrive, unchanged but for the domain's spelling."""
    odd = ['"odd one"@example.org', "o'hara+news@example.org", "x@ex\u00e4mple.ch"]
    for address in odd:
        await room.sign_up(read_address(address))
    await room.deliver()
    assert {to for to, _ in room.sink.mails} == {odd[0], odd[1], "x@xn--exmple-cua.ch"}


async def test_an_issue_that_has_gone_out_is_recorded_once(room: Newsroom) -> None:
    """The log says so when no mail waits any more, not before, with how many were taken, and not again."""
    number, _ = await planned(room, 3)
    assert await gone_out.record(room.database, room.committer) == 0
    await room.deliver()
    await room.deliver()
    assert [await gone_out.record(room.database, room.committer) for _ in range(2)] == [1, 0]
    rows = await room.database.fetch("select data from log.events where type = 'IssueSent'")
    assert [json.loads(row["data"]) for row in rows] == [{"issue": number, "edition": "weekly", "planned": 3, "accepted": 3}]


async def test_a_digest_says_how_to_leave_and_who_it_is(room: Newsroom) -> None:
    """Its headers are whole, its Message-ID names reader and issue, and the link unsubscribes that reader."""
    number, (reader,) = await planned(room, 1)
    await room.deliver()
    (raw,) = [m for m in room.sink.to("reader0@example.com") if b"List-Id" in m]
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["Message-ID"] == f"<issue-{number}.{reader}@verdicts.example>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = mail["List-Unsubscribe"].strip("<>").partition("token=")[2]
    assert room.tokens.read_unsubscribe(token) == reader


async def test_an_unsubscribe_stops_what_is_not_attempted(room: Newsroom) -> None:
    """A reader who unsubscribes or is erased between plan and sending gets nothing, without any view's help."""
    number, (leaver, erased, stayer) = await planned(room, 3)
    await room.committer.submit(Unsubscribe(leaver))
    await room.committer.submit(EraseSubscriber(erased))
    assert await room.accounts(number) == {"pending": 1, "cancelled": 2}
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 1, "cancelled": 2}
    assert await room.reasons(number) == {leaver: "unsubscribed", erased: "erased"}
    assert stayer not in await room.reasons(number)


async def test_a_plan_made_from_a_view_that_is_behind_mails_nobody_who_left(room: Newsroom) -> None:
    """The claim asks the log: an unsubscribe that the plan's view hadn't seen still stops the mail."""
    reader = await room.subscribe("reader@example.com")
    await room.project()
    number = await room.send_now()
    await room.committer.submit(Unsubscribe(reader))
    await room.database.execute("update newsletter.mails set state = 'pending', reason = null where issue = $1", number)
    await room.deliver()
    assert await room.reasons(number) == {reader: "unsubscribed"}


async def test_refused_addresses_bounce_and_the_others_go_out(room: Newsroom) -> None:
    """A dead address at RCPT is a hard bounce at once: it is suppressed, and the next issue says so."""
    number, readers = await planned(room, 3)
    room.sink.rcpt = lambda to: "550 5.1.1 no such user" if to == "reader1@example.com" else says_250(to)
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 2, "rejected": 1}
    assert await room.reasons(number) == {readers[1]: "hard bounce"}
    await room.project()
    another = await room.send_now(extra=True)
    assert await room.reasons(another) == {readers[1]: "suppressed"}


async def test_refusals_about_us_hold_their_provider_and_drop_nobody(room: Newsroom) -> None:
    """Ten equal ones in a row stop it: its mails wait, an operator is told, and resumed it reaches every reader."""
    number, _ = await planned(room, 23)
    room.sink.rcpt = lambda to: "504 5.5.2 <app-1>: Helo command rejected: need fully-qualified hostname"
    await room.deliver()
    accounts = await room.accounts(number)
    assert accounts.keys() <= {"deferred", "pending"} and sum(accounts.values()) == 23
    refused = await holds.read_refused(room.database)
    (held,) = refused.held
    assert (held.provider, held.reason, held.mails) == ("example.com", "refused, about us (5.5.2)", 23)
    assert refused.readers >= holds.ROW
    assert await room.database.fetchval("select count(*) from vault.lookups where suppressed is not null") == 0
    said = f"{holds.said_held(['example.com'])}: {holds.RESUME_HELD}"
    assert await told_of_refusals(room) == (said, 1.0, float(refused.readers))
    room.sink.rcpt = says_250
    await room.deliver()
    assert await room.accounts(number) == accounts
    assert "example.com: 23 mails since" in run(room, "digest", "holds").out
    run(room, "digest", "resume", "--provider", "google").failed("google is not held. Held: example.com")
    run(room, "digest", "resume")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 23}
    assert (await holds.read_refused(room.database)).held == ()
    said = f"The servers of {refused.readers} readers refused mail of ours in the last day, for no fault of theirs"
    assert said in [problem.what for problem in await problems(room)]
    assert await told_of_refusals(room) == (None, 0.0, float(refused.readers))


async def test_a_relay_that_knows_hardly_any_address_is_doubted_once(room: Newsroom) -> None:
    """It stops the issue and drops nobody; once an operator has resumed, its refusals are believed."""
    number, readers = await planned(room, 23)
    room.sink.rcpt = lambda to: says_250(to) if to == "reader1@example.com" else "550 5.1.1 no such user"
    await room.deliver()
    accounts = await room.accounts(number)
    assert accounts.get("rejected", 0) == 0 and sum(accounts.values()) == 23
    assert [hold.reason for hold in await holds.read_holds(room.database)] == [holds.DOUBTED]
    assert await room.database.fetchval("select count(*) from vault.lookups where suppressed is not null") == 0
    await holds.resume(room.database, "ed")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 1, "rejected": 22}
    assert await room.reasons(number) == dict.fromkeys(set(readers) - {readers[1]}, "hard bounce")


async def test_mails_that_were_held_for_days_are_tried_as_often_as_others(room: Newsroom) -> None:
    """Three days are counted from the resumption, not from the planning before a pause."""
    number, _ = await planned(room, 1)
    await issues.set_paused(room.database, "ed", paused=True)
    await room.database.execute("update newsletter.mails set planned_at = now() - interval '4 days'")
    await issues.set_paused(room.database, "ed", paused=False)
    room.sink.rcpt = lambda to: "451 4.3.0 later"
    await room.deliver()
    assert await room.accounts(number) == {"deferred": 1}


async def test_a_single_refusal_about_us_keeps_its_reader_and_can_be_sent_again(room: Newsroom) -> None:
    """The mail is rejected, the reader stays, the others go out; an operator sends it again when the cause is mended."""
    number, readers = await planned(room, 3)
    room.sink.rcpt = lambda to: "550 5.7.1 blocked" if to == "reader1@example.com" else says_250(to)
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 2, "rejected": 1}
    assert await room.reasons(number) == {readers[1]: "refused, about us (5.7.1)"}
    assert (await issues.issue(room.database, number)).state == "settled"
    room.sink.rcpt = says_250
    assert await told_of_refusals(room) == (None, 0.0, 1.0)
    assert f"{readers[1]} rejected" in run(room, "digest", "status", str(number), "--missed").out
    assert run(room, "digest", "resolve", str(number), "--refused", "resend").out == "1 mail will be sent again\n"
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 3}
    again = run(room, "digest", "resolve", str(number), "--refused", "resend", "--json")
    assert again.json() == {"resolved": 0, "how": "resend"}
    run(room, "digest", "resolve", str(number)).failed("--uncertain, --refused", status=2)


async def test_a_full_mailbox_at_rcpt_is_a_soft_bounce(room: Newsroom) -> None:
    """It counts as the same bounce by mail would, and suppresses nobody by itself."""
    number, readers = await planned(room, 1)
    room.sink.rcpt = lambda to: "552 5.2.2 mailbox full"
    await room.deliver()
    assert await room.reasons(number) == {readers[0]: "soft bounce"}
    assert await room.database.fetchval("select kind from newsletter.bounces where reader = $1", readers[0]) == "soft"
    assert await room.database.fetchval("select count(*) from vault.lookups where suppressed is not null") == 0


async def test_a_confirmation_that_is_refused_because_of_us_is_tried_again(room: Newsroom) -> None:
    """A person who signs up isn't lost over our relay's settings."""
    await room.sign_up("new@example.com")
    room.sink.rcpt = lambda to: "550 5.7.1 not from there"
    await room.deliver()
    assert await room.database.fetchval("select state from newsletter.mails where issue = 0") == "deferred"
    room.sink.rcpt = says_250
    await room.database.execute("update newsletter.mails set not_before = now()")
    await room.deliver()
    assert len(room.sink.to("new@example.com")) == 1


async def test_a_relay_that_throttles_gets_the_mail_later(room: Newsroom) -> None:
    """451 defers and slows the domain down; nobody is dropped, and when it takes mail again all is delivered."""
    number, _ = await planned(room, 3)
    room.sink.rcpt = lambda to: "451 4.7.1 slow down"
    await room.deliver()
    accounts = await room.accounts(number)
    assert accounts == {"deferred": 3}
    assert (await issues.issue(room.database, number)).state == "planned"
    room.sink.rcpt = says_250
    await room.database.execute("update newsletter.mails set not_before = now()")
    await room.database.execute("update newsletter.slowdowns set until = now()")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 3}
    assert await room.database.fetchval("select count(*) from newsletter.slowdowns") == 0


async def test_a_connection_lost_after_the_final_dot_is_uncertain(room: Newsroom) -> None:
    """Such a mail is held for the operator: sent again when told so, and never by itself."""
    number, _ = await planned(room, 2)
    room.sink.data = lambda to: "lost" if to == "reader0@example.com" else says_250(to)
    await room.deliver()
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 1, "uncertain": 1}
    room.sink.data = says_250
    assert await ledger.resolve(room.database, number, "resend") == 1
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 2}
    assert len([m for m in room.sink.to("reader0@example.com") if b"List-Id" in m]) == 2


async def test_a_lost_workers_chunk_becomes_uncertain_when_its_lease_is_over(room: Newsroom) -> None:
    """Claimed and never answered for is uncertain, not pending; dropped, it is cancelled."""
    number, _ = await planned(room, 3)
    await ledger.claim(room.database, "lost", 30, most=2)
    await ledger.settle(room.database)
    assert (await room.accounts(number))["attempting"] == 2
    await room.database.execute("update newsletter.mails set lease_until = now() where state = 'attempting'")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 1, "uncertain": 2}
    assert await ledger.resolve(room.database, number, "drop") == 2
    assert await room.accounts(number) == {"accepted": 1, "cancelled": 2}


async def test_a_pause_holds_digests_and_lets_confirmations_out(room: Newsroom) -> None:
    """While paused no digest goes out; a confirmation does."""
    number, _ = await planned(room, 1)
    await issues.set_paused(room.database, "ed", paused=True)
    await room.sign_up("new@example.com")
    await room.deliver()
    assert await room.accounts(number) == {"pending": 1}
    assert len(room.sink.to("new@example.com")) == 1
    await issues.set_paused(room.database, "ed", paused=False)
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 1}


async def test_a_cancelled_issue_stops(room: Newsroom) -> None:
    """Mails not yet sent never are, and the next issue covers the same period."""
    await room.import_tools(catalogs.tool())
    number, _ = await planned(room, 2)
    assert await issues.cancel(room.database, number, "ed") == 2
    await room.deliver()
    assert await room.accounts(number) == {"cancelled": 2}
    another = await room.send_now(extra=True)
    first, second = [await issues.issue(room.database, n) for n in (number, another)]
    assert first.from_position == second.from_position


async def test_one_address_that_cannot_be_written_to_holds_up_nobody(room: Newsroom) -> None:
    """Such a mail is rejected with its reason, and the others of its chunk go out."""
    finder = await room.vault.finder(room.database)
    broken = new_person(room.vault, finder, "x@nodot")  # as another release's stricter or laxer reading may have let in
    await room.committer.submit(ImportSubscribers([Imported(broken, "sealed proof")], "op"))
    number, _ = await planned(room, 2)
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 2, "rejected": 1}
    assert await room.reasons(number) == {broken.id: "could not be written"}


async def test_a_ledger_that_went_back_sends_nothing_again(room: Newsroom) -> None:
    """A standby that lacks the last claims takes over, where sent mails are pending: they wait until an operator resumes."""
    number, readers = await planned(room, 25)
    await room.deliver()
    await room.database.execute(
        "update newsletter.mails set state = 'pending', claim = null, settled_at = null, lease_until = null where issue = $1",
        number,
    )
    await room.database.execute("update newsletter.issues set state = 'planned', settled_at = null where number = $1", number)
    sent = len(room.sink.mails)
    await room.deliver()
    assert (len(room.sink.mails), await room.accounts(number)) == (sent, {"pending": 25})
    said = [problem.what for problem in await problems(room)]
    assert "The newsletter is held: the ledger doesn't have mails any more that were sent" in said
    await issues.set_paused(room.database, "ed", paused=False)
    await room.deliver()
    assert await room.accounts(number) == {"accepted": len(readers)}
