"""Every answer that a relay may give, at every stage: no reader is refused by mistake, and the next mail is right."""

import asyncio
import ssl
from typing import Final, Literal

import pytest

from emails import smtp
from emails.smtp import Outcome, Relay, Timeouts
from tests.support.relays import MAIL, RECIPIENT, SENDER, Reply, relay

Meaning = Literal["later", "never", "broken"]

QUICK: Final = Timeouts(connect=0.5, command=0.5, body=1, final=0.5)

ANSWERS: Final[dict[str, tuple[Reply, Meaning]]] = {
    "421": (b"421 4.3.2 shutting down", "later"),
    "421 without a text": (b"421", "later"),
    "450": (b"450 busy", "later"),
    "451 on two lines": (b"451-4.3.0 not\r\n451 4.3.0 now", "later"),
    "452 with another code": (b"452 5.2.2 full", "later"),
    "471, unknown": (b"471 what", "later"),
    "499": (b"499 9.9.9 strange", "later"),
    "500": (b"500 5.5.1 what", "never"),
    "503 out of order": (b"503 5.5.1 bad sequence of commands", "never"),
    "535": (b"535 5.7.8 no", "never"),
    "550 without a code": (b"550 no", "never"),
    "550 without a text": (b"550", "never"),
    "550 with a space": (b"550 ", "never"),
    "550 on many lines": (b"550-5.7.1 a\r\n" * 50 + b"550 5.7.1 z", "never"),
    "550 in 8 bits": (b"550 5.1.1 \xfcnknown \xff\xfe\x80", "never"),
    "550 with NUL and escapes": (b"550 5.1.1 \x00\x1b[31m%s{0}", "never"),
    "554 in pieces": ([b"5", b"54", b" 5.7", b".1 no\r", b"\n"], "never"),
    "599": (b"599 x", "never"),
    "100": (b"150 working on it", "broken"),
    "a class too high": (b"650 what", "broken"),
    "no number": (b"go away", "broken"),
    "HTTP": (b"HTTP/1.1 400 Bad Request", "broken"),
    "an empty line": (b"\r\n", "broken"),
    "binary": (bytes(range(128, 256)), "broken"),
    "half a line": ([b"25"], "broken"),
    "lines that never end": ([b"250-more\r\n"] * 30, "broken"),
    "a line that never ends": ([b"250 " + b"x" * 70_000], "broken"),
    "two codes, of which the last counts": (b"250-yes\r\n550 no", "never"),
    "silence": (b"", "broken"),
    "a hang-up": (None, "broken"),
}
TWO_REPLIES: Final[dict[str, Reply]] = {
    "twice": b"250 ok\r\n250 ok",
    "the next answer too": b"250 ok\r\n550 no such user",
}
# A relay that answers EHLO by anything but 2xx is greeted by HELO, unless it hangs up.
KINDS: Final[dict[str, dict[Meaning, str]]] = {
    "CONNECT": {"later": "deferred", "never": "deferred", "broken": "not_sent"},
    "EHLO": {"later": "accepted, deferred", "never": "accepted", "broken": "accepted, not_sent"},
    "MAIL": {"later": "deferred", "never": "deferred", "broken": "not_sent"},
    "RCPT": {"later": "deferred", "never": "rejected", "broken": "not_sent"},
    "DATA": {"later": "deferred", "never": "rejected", "broken": "not_sent"},
    "DOT": {"later": "deferred", "never": "rejected", "broken": "uncertain"},
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect again at once."""
    monkeypatch.setattr(smtp, "UNREACHABLE_SECONDS", 0.0)


async def answered(stage: str, reply: Reply) -> Outcome:
    """Return the outcome of a mail whose relay answers so at a stage, once; the next mail must be taken as it is."""
    misbehaves = True

    def script(verb: str, line: bytes) -> Reply | str:
        return reply if misbehaves and verb == stage else "usual"

    async with relay(script) as server, Relay(f"smtp://127.0.0.1:{server.port}", 1, timeouts=QUICK) as client:
        outcome = await client.send(SENDER, RECIPIENT, MAIL)
        taken = len(server.mails)
        assert taken == (outcome.kind in ("accepted", "uncertain") or stage == "DOT")
        misbehaves = False
        again = await client.send(SENDER, RECIPIENT, MAIL.replace(b"Subject: ", b"Subject: Another "))
        assert again.kind == "accepted" and server.mails[taken:] == [MAIL.replace(b"Subject: ", b"Subject: Another ")]
    return outcome


@pytest.mark.parametrize("stage", KINDS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_each_answer_at_each_stage(stage: str, answer: str) -> None:
    """A reader is refused by a final answer alone; what can't be understood is no refusal; after the dot it is a doubt."""
    reply, meaning = ANSWERS[answer]
    outcome = await answered(stage, reply)
    assert outcome.kind in KINDS[stage][meaning].split(", ")
    if stage in ("CONNECT", "MAIL"):
        assert outcome.whole_relay and (outcome.verdict == "ours") == (meaning == "never")


@pytest.mark.parametrize("stage", ["EHLO", "MAIL", "RCPT", "DOT"])
@pytest.mark.parametrize("reply", TWO_REPLIES.values(), ids=TWO_REPLIES)
async def test_answers_out_of_step_end_the_connection(stage: str, reply: Reply) -> None:
    """A second answer would be taken for that to the next command: nothing is accepted by mistake, and nothing sent twice."""
    outcome = await answered(stage, reply)
    assert outcome.kind == ("uncertain" if stage == "DOT" else "not_sent")


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "DOT"])
async def test_an_answer_that_drips_is_waited_for_no_longer_than_any(stage: str) -> None:
    """A relay that says a letter now and then can't hold a connection for ever."""
    begun = asyncio.get_running_loop().time()
    outcome = await answered(stage, [b"2"] + [b"5"] * 2000)
    assert outcome.kind == ("uncertain" if stage == "DOT" else "not_sent")
    assert asyncio.get_running_loop().time() - begun < 30


@pytest.mark.parametrize("stage", ["STARTTLS", "AUTH"])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_mail_goes_without_the_encryption_or_login_that_was_asked_for(
    stage: str, answer: str, certificate: ssl.SSLContext
) -> None:
    """Whatever a relay answers to STARTTLS or AUTH, no mail is sent in the clear, and no reader refused."""
    reply, _ = ANSWERS[answer]
    offers = b"250-relay.example.com\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN"
    named = {"STAR": "STARTTLS"}

    def script(verb: str, line: bytes) -> Reply | str:
        return offers if verb == "EHLO" else reply if named.get(verb, verb) == stage else "usual"

    scheme = "smtp+starttls" if stage == "STARTTLS" else "smtps"
    tls = None if stage == "STARTTLS" else certificate
    async with (
        relay(script, tls) as server,
        Relay(f"{scheme}://ana:secret@127.0.0.1:{server.port}", 1, timeouts=QUICK) as client,
    ):
        outcome = await client.send(SENDER, RECIPIENT, MAIL)
        assert server.mails == [] and "MAIL" not in server.verbs
    assert outcome.kind in ("deferred", "not_sent") and outcome.stage == "connect"
