"""`ballotpress webhooks`: the same from a shell."""

from typing import Any

import pytest
from asyncpg import Connection
from standardwebhooks import Webhook as Verifier

from services.cli.webhooks import KINDS
from services.webhooks import messages
from tests.support.receiver import received
from tests.support.shell import Shell

pytestmark = pytest.mark.server
UNKNOWN = "AaIBaD4Jdt2r0cFH3ftnxQ"


def test_the_kinds_are_those_there_are() -> None:
    """The command's own list, which its help needs before anything is loaded, is the messages'."""
    assert KINDS == messages.KINDS


async def test_a_webhook_from_its_beginning_to_its_end(shell: Shell) -> None:
    """Added, tried, turned off and on, replayed, rotated, removed; each says what it did, and JSON says the same."""
    shell.environ["BALLOTPRESS_WEBHOOK_LOOPBACK"] = "on"
    with received() as receiver:
        made = shell("webhooks", "add", receiver.url(), "--kind", "settled.changed", "--note", "shop", "--json").json()
        id_ = made["webhook"]["id"]
        assert made["webhook"]["kinds"] == ["settled.changed"] and made["secret"].startswith("whsec_")
        assert "It was taken (204)" in shell("webhooks", "test", id_, status=0).out
        Verifier(made["secret"]).verify(receiver.received[0].body, receiver.received[0].headers)
        receiver.answer = lambda received: "fails"
        assert "It was not taken: it answered 500" in shell("webhooks", "test", id_, status=1).out
    off = shell("webhooks", "off", id_, "--reason", "moving", status=0).out
    assert "off since" in off and "shell turned it off: moving" in off
    assert " on; told up to" in shell("webhooks", "on", id_, status=0).out
    assert shell("webhooks", "replay", id_, "--from", "1", "--json").json()["position"] == 0
    assert "The log ends before 1,000,000" in shell("webhooks", "replay", id_, "--from", "1000000", status=0).err
    assert shell("webhooks", "replay", id_, "--from", "1", status=0).err == ""
    rotated = shell("webhooks", "rotate", id_, "--json").json()
    assert rotated["secret"] != made["secret"] and rotated["webhook"]["secrets"] == 2
    assert "Those before it sign for 2 hours more" in shell("webhooks", "rotate", id_, "--hours", "2", status=0).out
    assert "Those before it sign no more" in shell("webhooks", "rotate", id_, "--hours", "0", status=0).out
    listed = shell("webhooks", "list", status=0).out
    assert id_ in listed and "shop" in listed and "whsec_" not in listed
    assert shell("webhooks", "show", id_, "--json").json()["id"] == id_
    assert shell("webhooks", "remove", id_, "--yes", "--json").json() == {"id": id_}
    assert "Nobody is told" in shell("webhooks", "list", status=0).out


async def test_what_cannot_be_is_one_line(shell: Shell) -> None:
    """An address that isn't public, an unknown webhook, a kind that there is not."""
    shell("webhooks", "add", "https://10.0.0.1/").failed("The address is an address that isn't public")
    shell("webhooks", "add", "http://127.0.0.1:8080/").failed("must begin with https://")
    shell("webhooks", "show", UNKNOWN).failed("There is no such webhook: see `ballotpress webhooks list`")
    for words in (("off",), ("on",), ("rotate",), ("test",), ("replay", "--from", "1"), ("remove", "--yes")):
        shell("webhooks", words[0], UNKNOWN, *words[1:]).failed("There is no such webhook")


async def test_status_names_a_webhook_that_went_off(shell: Shell, connection: "Connection[Any]") -> None:
    """It says which host, why, and how to turn it on; one that an operator turned off is no problem."""
    id_ = shell("webhooks", "add", "https://hooks.example/secret-path", "--json").json()["webhook"]["id"]
    went_off = "is_on = false, off_reason = '20 failures in a row', failures = 20, off_at = now()"
    await connection.execute(f"update webhooks.subscriptions set {went_off}")  # noqa: S608 - a constant
    said = shell("status", status=1).out
    assert "The webhook to hooks.example is off: 20 failures in a row" in " ".join(said.split())
    assert f"ballotpress webhooks on {id_}" in " ".join(said.split()) and "secret-path" not in said
    shell("webhooks", "on", id_, status=0)
    shell("webhooks", "off", id_, status=0)
    assert "hooks.example" not in shell("status").out
