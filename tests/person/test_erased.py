"""After an erasure nothing of the person is anywhere, in any table, key, log or file, but what the table says remains."""

import asyncio
import contextlib
import email
import email.policy
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
from redis import Redis

from services.person.table import KEPT
from tests.support import calling
from tests.support.http import Caller, Site
from tests.support.processes import PATIENCE, Instance, wait_for
from tests.support.reviewing import report, submit

pytestmark = pytest.mark.server

HERE = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
TABLES = """
select n.nspname || '.' || c.relname as name, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as quoted
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema')
"""
TOOL = "ollama"
BOUNCED = "insert into newsletter.bounces (reader, report, kind, code) values ($1, 'x', 'soft', '4.2.2')"


class Person(NamedTuple):
    """Somebody who did everything that can be done: what must go, and the numbers that may remain."""

    visitor: Caller
    subscriber: str
    review: str
    address: str
    texts: Sequence[str]

    @property
    def numbers(self) -> Sequence[str]:
        """The numbers of the visitor, the subscriber and the review."""
        return (self.visitor.visitor, self.subscriber, self.review)


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """A running `up` without a relay, in no folder of pytest's, which another run of it may close."""
    with tempfile.TemporaryDirectory(prefix="test-") as folder:
        made = Instance(Path(folder) / "home").start()
        try:
            yield made.ready()
        finally:
            made.stop()


def ask(instance: Instance, query: str, *values: object) -> list[asyncpg.Record]:
    """Ask the instance's PostgreSQL."""

    async def answer() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(instance.database_url(), timeout=PATIENCE)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    return asyncio.run(answer())


def mail_of(instance: Instance, address: str, kind: str) -> str:
    """Return the text of the mail of a kind to an address, once it lies in the outbox."""

    def find() -> str:
        for file in (instance.home / "outbox").glob(f"{kind}*.eml"):
            mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            part = mail.get_body(("plain",))
            if address in str(mail["to"]) and part is not None:
                return str(part.get_content())
        return ""

    return wait_for(find)


def lives(instance: Instance, site: Site, name: str) -> Person:
    """Let somebody vote, change the vote, keep a tool, review it, report the first review there is, and sign up."""
    me, address = site.visitor(), f"{name}@planted-{name}.example"
    for choice in ("ship", "skip"):
        me.vote(TOOL, choice)
    assert me.put(f"/v1/bookmarks/{TOOL}", headers={"Idempotency-Key": f"the-key-of-{name}"}).status_code == 200
    texts = (
        f"The planted text of {name}, which says what it says.",
        f"Planted {name} the reviewer",
        f"Planted words of {name}",
    )
    review = submit(me, TOOL, body=texts[0], display_name=texts[1])["id"]
    decided = site.operator.post(f"/v1/ops/reviews/{review}/decision", {"decision": "approve"})
    assert site.anyone.get("/v1/categories", after=decided.json()["position"]).status_code == 200
    report(me, TOOL, review, words=texts[2])
    assert me.post("/v1/newsletter/subscriptions", {"email": address}).status_code == 202
    token = re.findall(r"confirm\?token=(\S+)", mail_of(instance, address, "confirmation"))[0]
    assert site.anyone.post("/v1/newsletter/confirm", {"token": token}).status_code == 200
    asked = "select data->>'subscriber' from log.events where type = 'SubscriptionRequested' and data->>'visitor' = $1"
    ((subscriber,),) = ask(instance, asked, me.visitor)
    ask(instance, BOUNCED, subscriber)
    return Person(me, subscriber, review, address, texts)


def everything(instance: Instance) -> dict[str, str]:
    """Return all that there is, by place: each table's rows, each key of Valkey, each file of the home but PostgreSQL's."""
    found = {}
    for row in ask(instance, TABLES):
        rows = ask(instance, f"select t::text as row from {row['quoted']} t")  # noqa: S608 - names of our own tables
        found[row["name"]] = "\n".join(one["row"] for one in rows)
    settings = instance.run()["settings"]
    assert isinstance(settings, dict)
    with contextlib.closing(Redis.from_url(settings["REDIS_URL"])) as valkey:
        for key in valkey.scan_iter():
            found[f"key {key.decode()}"] = f"{key.decode()} {valkey.dump(key)!r}"
    for file in instance.home.rglob("*"):
        name = file.relative_to(instance.home)
        if file.is_file() and name.parts[0] not in ("postgres", "secrets", "operator.token"):
            found[f"file {name}"] = f"{name}\n{file.read_bytes().decode('utf-8', 'replace')}"
    found["file output"] = instance.output.read_text()
    return found


def places(found: Mapping[str, str], *texts: str) -> set[str]:
    """Return where one of these texts is, in whatever case."""
    return {place for place, text in found.items() if any(one.casefold() in text.casefold() for one in texts)}


def in_data(instance: Instance, *sought: bytes) -> set[str]:
    """Return the files of PostgreSQL that hold any of these bytes; one that is removed meanwhile holds nothing."""
    found = set()
    for file in (instance.home / "postgres").rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            content = file.read_bytes()
            found |= {str(file) for one in sought if one in content}
    return found


def may_remain() -> set[str]:
    """Return where the table lets a person's numbers remain: where an erasure leaves anything, and in the log."""
    left = {place for row in KEPT if row.remains for place in (*row.tables, *row.files)}
    return {"log.events", *(place for place in left if not place.startswith(("{", "vault.")))}


def erase_by_themselves(instance: Instance, site: Site, person: Person) -> None:
    """Erase as a reader does: by the link that is mailed on request, in the browser where the texts were written."""
    manage = re.findall(r"preferences\?token=(\S+)", mail_of(instance, person.address, "issue-1"))[0]
    cookie = {"Cookie": f"ballotpress_visitor={person.visitor.token}", **HERE}
    asked = site.client.post("/newsletter/preferences", params={"token": manage}, data={"do": "export"}, headers=cookie)
    assert asked.status_code == 200, asked.text
    erase = re.findall(r"erase\?token=(\S+)", mail_of(instance, person.address, "export"))[0]
    answer = site.client.post("/newsletter/erase", params={"token": erase}, headers=cookie)
    assert "the texts you wrote are destroyed" in answer.text
    site.client.cookies.clear()


def erase_by_operator(instance: Instance, person: Person) -> None:
    """Erase as an operator does, by the address, and see what is said to remain."""
    done = instance.command("person", "erase", person.address, "--yes", "--json")
    said = json.loads(done.stdout)
    assert (said["erased"], said["reviews"], said["reports"], said["bookmarks"]) == (True, 1, 1, 1), done.stderr
    assert any(line.startswith("Votes: ") for line in said["remains"])


def test_nothing_of_an_erased_person_is_anywhere(instance: Instance) -> None:
    """One is erased by an operator, one by herself: no address and no text is left, and of numbers what the table declares.

    A third isn't erased, and hers is found.
    """
    with calling.Client(base_url=f"http://127.0.0.1:{instance.port}", timeout=PATIENCE) as client:
        site = Site(client)
        site.operator = Caller(client, (instance.home / "operator.token").read_text().strip())
        ada, eve, zoe = (lives(instance, site, name) for name in ("ada", "eve", "zoe"))
        assert site.anyone.get("/v1/categories", after=site.head()).status_code == 200
        assert instance.command("digest", "send", "--now").returncode == 0
        for person in (ada, eve, zoe):
            assert mail_of(instance, person.address, "issue-1")
        before = everything(instance)
        for person in (ada, eve, zoe):
            assert any(place.startswith("file outbox/") for place in places(before, person.address))
            assert places(before, person.subscriber) >= {"newsletter.mails", "newsletter.bounces", "log.events"}
            assert any(place.startswith("key limit:") for place in places(before, person.visitor.visitor))
        keys = [row["wrapped"] for row in ask(instance, "select wrapped from vault.keys where owner = any($1)", [*ada.numbers])]
        erase_by_operator(instance, ada)
        erase_by_themselves(instance, site, eve)
        swept = instance.command("keys", "sweep")
        assert swept.returncode == 0, f"{swept.stderr} {(instance.home / 'postgres.log').read_text()[-2000:]}"
        assert site.anyone.get("/v1/categories", after=site.head()).status_code == 200
        noted = instance.home / "erasures"
        assert wait_for(lambda: noted.exists() and noted.read_text().count("\n") >= 6)
    after = everything(instance)
    for person in (ada, eve):
        assert places(after, person.address, person.address.partition("@")[2], person.texts[2]) == set()
        assert places(after, *person.texts) <= {f"file outbox/issue-1-{zoe.subscriber}.eml"}, "what an issue quoted went to zoe"
        left = {place.removeprefix("file ").partition("/")[0] for place in places(after, *person.numbers)}
        assert left <= {place.partition("/")[0] for place in may_remain()}
        assert f"the-key-of-{person.address.partition('@')[0]}" not in "".join(after.values())
    assert keys and in_data(instance, *keys) == set()
    assert in_data(instance, *(text.encode() for one in (ada, eve) for text in (one.address, *one.texts))) == set()
    assert places(after, zoe.address) and places(after, zoe.subscriber) >= {"newsletter.bounces", "vault.lookups"}
    types = [row["type"] for row in ask(instance, "select type from log.events where meta->>'operator' = 'shell'")]
    assert types.count("DataRequested") == 1 and types.count("PersonErased") == 2
