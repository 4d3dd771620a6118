"""A day of a site that `up` runs, on which everything happens and much goes wrong; and all that nobody's log may hold of it."""

import asyncio
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path

import asyncpg
import httpx

from tests.support.http import Caller, Site
from tests.support.processes import Instance, wait_for
from tests.support.sink import Sink

SECRET = "secret-of-a-provider-of-mails"
READERS = ("ada.lovelace@quillfeather.example", "grace.hopper@quillfeather.example", "mary.shelley@quillfeather.example")
STRANGER = "joan.clarke@quillfeather.example"
NAME = "Persephone Quillfeather"
TEXT = "My landlord Bartholomew reads along, and it still does what it says."
WORDS = "This was written by my neighbour Cornelius"
TYPED = (*READERS, STRANGER, NAME, "Quillfeather", "Bartholomew", "Cornelius", "ada.lovelace")
# Where an address may stand in a request that is refused, or is none of ours.
ODD = (
    f"/v1/tools/{STRANGER}",
    f"/tools/{STRANGER}",
    f"/{STRANGER}/..//",
    f"/v1/tools?category={STRANGER}&cursor={STRANGER}&limit={STRANGER}",
    f"/v1/categories?after={STRANGER}",
    f"/search?q={STRANGER}",
    f"/v1/search?q={STRANGER}",
    f"/newsletter/confirm?token={STRANGER}",
    f"/newsletter/preferences?token={STRANGER}",
    f"/ops/log?words={STRANGER}",
    f"/outbox/{STRANGER}",
)
HEADERS = (
    "traceparent",
    "tracestate",
    "idempotency-key",
    "if-none-match",
    "accept",
    "user-agent",
    "referer",
    "cookie",
    "x-forwarded-for",
)


class Mail:
    """What came to a relay that names addresses in all that it refuses."""

    def __init__(self, sink: Sink, port: int) -> None:
        self._sink = sink
        self.url = f"smtp://127.0.0.1:{port}"

    def await_mails(self, reader: str, count: int) -> None:
        """Wait until so many mails to a reader have come."""
        assert wait_for(lambda: len(self._sink.to(reader)) >= count)

    def first_to(self, reader: str) -> str:
        """Return the text of the first mail to a reader, once it has come."""
        assert wait_for(lambda: self._sink.to(reader))
        body = message_from_bytes(self._sink.to(reader)[0], policy=policy.default).get_body(("plain",))
        assert body is not None
        return str(body.get_content())


@contextmanager
def receiving() -> Iterator[Mail]:
    """Run such a relay on a thread of its own for a while."""
    started, ended, found = threading.Event(), asyncio.Event(), list[tuple[Mail, asyncio.AbstractEventLoop]]()

    def answer(recipient: str) -> str:
        if recipient == READERS[1]:
            return f"550 5.1.1 <{recipient}>: {NAME} lives here no more"
        return f"450 4.2.1 <{recipient}>: {NAME} is asleep" if recipient == READERS[2] else "250 ok"

    async def run() -> None:
        sink = Sink(rcpt=answer)
        found.append((Mail(sink, await sink.start()), asyncio.get_running_loop()))
        started.set()
        await ended.wait()
        await sink.stop()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert started.wait(20)
        yield found[0][0]
    finally:
        found[0][1].call_soon_threadsafe(ended.set)
        thread.join()


class Day:
    """What happens, and all that must stand nowhere: `names`, with what each is."""

    def __init__(self, instance: Instance, site: Site, mail: Mail) -> None:
        self._instance = instance
        self._site = site
        self._mail = mail
        self.names = dict.fromkeys(TYPED, "typed")
        self.names[site.operator.token or ""] = "the operator's token"

    def sql(self, statement: str) -> "list[asyncpg.Record]":
        """Run a statement as an operator does with psql."""

        async def run() -> "list[asyncpg.Record]":
            connection = await asyncpg.connect(self._instance.database_url())
            try:
                return await connection.fetch(statement)
            finally:
                await connection.close()

        return asyncio.run(run())

    def visitor(self) -> Caller:
        """Make a visitor whose id and token nobody may write down."""
        made = self._site.visitor()
        self.names |= {made.visitor: "a visitor", made.token or "": "a visitor's token"}
        return made

    def happen(self) -> None:
        """Let everything happen."""
        ada, bea = self.visitor(), self.visitor()
        self.vote(ada, bea)
        self.write(ada, bea)
        self.sign_up()
        self.send()
        self.bounce()
        self.operate(bea)
        self.be_odd(ada)
        self.break_down(ada)

    def vote(self, *visitors: Caller) -> None:
        """Vote, change, take back, bookmark, repeat under a key."""
        for visitor in visitors:
            visitor.vote("aider", "ship")
            visitor.vote("aider", "skip")
            visitor.vote("n8n", "ship")
            assert visitor.delete("/v1/tools/n8n/vote").status_code == 200
            assert visitor.put("/v1/bookmarks/aider").status_code == 200
        visitors[0].put("/v1/tools/aider/vote", {"choice": "ship"}, {"idempotency-key": "a-key-of-this-day"})
        assert (
            visitors[0].put("/v1/tools/n8n/vote", {"choice": "ship"}, {"idempotency-key": "a-key-of-this-day"}).status_code
            == 422
        )

    def write(self, author: Caller, reporter: Caller) -> None:
        """Write a review under a name, have it approved, and report it in words."""
        review = {"verdict": "ship", "body": TEXT, "display_name": NAME}
        written = author.post("/v1/tools/aider/reviews", review).json()
        decision = {"decision": "approve", "revision": 1}
        assert self._site.operator.post(f"/v1/ops/reviews/{written['id']}/decision", decision).status_code == 200
        assert self._site.anyone.get("/v1/categories", after=self._site.head()).status_code == 200
        report = reporter.post(f"/v1/tools/aider/reviews/{written['id']}/reports", {"ground": "other", "words": WORDS})
        assert report.status_code < 500, report.text
        author.post("/v1/tools/aider/reviews", {**review, "verdict": NAME})
        author.post("/v1/tools/aider/reviews", {**review, "body": [STRANGER]})

    def sign_up(self) -> None:
        """Sign up, confirm by the mail's link, prefer, ask for a copy, be refused by the server, and be put off by it."""
        for reader in READERS:
            assert self._site.anyone.post("/v1/newsletter/subscriptions", {"email": reader}).status_code == 202
        token = self.token_of(READERS[0], "confirm")
        assert self._site.anyone.post("/v1/newsletter/confirm", {"token": token}).status_code == 200
        self.names[token] = "a link's token"
        for page in ("preferences", "unsubscribe", "export", "erase"):
            self._site.anyone.get(f"/newsletter/{page}?token={token}")
        self._site.anyone.get("/v1/newsletter/preferences", token=token)
        self._site.anyone.post("/v1/newsletter/subscriptions", {"email": f"{STRANGER} {STRANGER}"})
        self._site.anyone.post("/v1/newsletter/subscriptions", {"email": STRANGER, STRANGER: STRANGER})
        for row in self.sql("select person from vault.lookups"):
            self.names[row["person"]] = "a reader"

    def token_of(self, reader: str, link: str) -> str:
        """Return the token of a link in the first mail to a reader, once it has come."""
        text = self._mail.first_to(reader)
        found = re.search(rf"/newsletter/{link}\?token=(\S+)", text)
        assert found is not None, text
        return found[1]

    def send(self) -> None:
        """Send a reader a test of the digest, and then the digest."""
        for words in (("--to", READERS[0]), ("--now", "--unchecked")):
            ended = self._instance.command("digest", "send", *words, "--yes")
            assert ended.returncode == 0, ended.stderr
        self._mail.await_mails(READERS[0], 3)

    def bounce(self) -> None:
        """Be told of bounces and complaints: of known and unknown addresses, signed, unsigned and broken."""
        events = [{"type": "complaint", "recipient": READERS[0]}, {"type": "bounce", "hard": True, "recipient": STRANGER}]
        for body in (json.dumps({"events": events}), json.dumps({"events": [{"type": STRANGER}]}), STRANGER):
            at = int(time.time())
            signature = hmac.digest(SECRET.encode(), b"%d." % at + body.encode(), "sha256").hex()
            for headers in ({}, {"ballotpress-signature": f"t={at},v1={signature}"}):
                self._site.client.post("/v1/webhooks/mail/generic", content=body, headers=headers)

    def _bounce(self) -> Path:
        """Return the file of a bounce that names addresses."""
        said = f"Final-Recipient: rfc822; {STRANGER}\nAction: failed\nStatus: 5.1.1\n"
        said += f"Diagnostic-Code: smtp; 550 <{STRANGER}> {NAME}\n"
        parts = [
            f"From: MAILER-DAEMON@quillfeather.example\nTo: {STRANGER}\nSubject: Undelivered\nMIME-Version: 1.0",
            "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n",
            f"--b\nContent-Type: text/plain\n\n{TEXT} {STRANGER}\n",
            f"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; quillfeather.example\n\n{said}\n--b--\n",
        ]
        (file := self._instance.home.with_name("bounce")).write_text("\n".join(parts))
        return file

    def operate(self, voter: Caller) -> None:
        """Have an operator look people up, disqualify, reinstate, erase; and somebody try without a token that is right."""
        for words in (
            ("subscribers", "suppressed"),
            ("subscribers", "reinstate", READERS[1], "--reason", f"{NAME} says that it works"),
            ("subscribers", "reinstate", STRANGER, "--reason", NAME),
            ("subscribers", "consent", READERS[0]),
            ("person", "export", READERS[0]),
            ("person", "export", voter.visitor),
            ("person", "erase", STRANGER, "--yes"),
            ("mail", "ingest", str(self._bounce())),
            ("voters", "void", voter.visitor, "--reason", "a test"),
            ("explain", "tally", STRANGER),
        ):
            self._instance.command(*words)
        path = f"/v1/ops/voters/{voter.visitor}/disqualification"
        for caller in (voter, self._site.anyone):
            caller.post(path, {"reason": NAME})
            caller.delete(path)
        assert self._site.operator.delete(path).status_code == 200
        self._site.client.post("/ops/sign-in", data={"token": STRANGER})
        self._site.client.get(f"/ops/voters?visitor={voter.visitor}&words={STRANGER}")

    def be_odd(self, visitor: Caller) -> None:
        """Put addresses where none belongs."""
        for path in ODD:
            self._site.anyone.get(path)
            visitor.put(path, {"choice": STRANGER, STRANGER: 1})
        for name in HEADERS:
            self._site.anyone.get("/v1/categories", {name: STRANGER})
            visitor.put("/v1/tools/aider/vote", {"choice": "ship"}, {name: STRANGER})
        self._site.anyone.get("/v1/categories", {"authorization": f"Bearer {STRANGER}"})
        self._site.client.put("/v1/tools/aider/vote", content=f'{{"choice": "{STRANGER}'.encode())

    def break_down(self, visitor: Caller) -> None:
        """Have the database refuse what people send: rows that break a rule, tables that are gone."""
        self.sql("alter table newsletter.mails add constraint nobody check (reader = '') not valid")
        refused = self._site.anyone.post("/v1/newsletter/subscriptions", {"email": f"new.{READERS[2]}"})
        assert refused.status_code == 500, refused.text
        self.await_said("nobody")
        self.sql("alter table newsletter.mails drop constraint nobody")
        self.sql("alter table newsletter.mails add constraint settled check (state <> 'accepted') not valid")
        self._site.anyone.post("/v1/newsletter/subscriptions", {"email": f"another.{READERS[0]}"})
        self.await_said("settled")
        self.sql("alter table newsletter.mails drop constraint settled")
        self.names |= {row["person"]: "a reader" for row in self.sql("select person from vault.lookups")}
        self.sql("alter table log.events add constraint ballots check (type <> 'VoteCast') not valid")
        assert visitor.put("/v1/tools/n8n/vote", {"choice": "ship"}).status_code == 500
        self.sql("alter table log.events drop constraint ballots")
        self.sql("alter table vault.keys rename to gone")
        review = {"verdict": "ship", "body": TEXT, "display_name": NAME}
        assert self.visitor().post("/v1/tools/aider/reviews", review).status_code >= 500
        self.sql("alter table vault.gone rename to keys")

    def await_said(self, word: str) -> None:
        """Wait until the processes have said a word."""
        assert wait_for(lambda: word in self._instance.output.read_text())

    def told(self, traces: bytes) -> dict[str, str]:
        """Return all that the site said of itself, by where it stands."""
        texts = {"what `up` wrote": self._instance.output, "PostgreSQL's log": self._instance.home / "postgres.log"}
        found = {where: file.read_text(errors="replace") for where, file in texts.items()}
        found["Valkey's log"] = (self._instance.home / "valkey.log").read_text(errors="replace")
        for accept in ("text/plain", "application/openmetrics-text"):
            found[f"metrics, {accept}"] = self._site.anyone.get("/metrics", {"accept": accept}).text
        found["readiness"] = httpx.get(f"{self._site.client.base_url}/health/ready", timeout=60).text
        return found | {"traces": traces.decode("latin-1")}
