"""Sending: each mail has an outcome, and none is said to be sent that wasn't."""

import asyncio
import ssl
from email.message import Message
from typing import Any, cast

import pytest
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from emails.relay_url import parse_relay_url
from emails.smtp import Outcome, Relay, Timeouts
from tests.support.relays import MAIL, RECIPIENT, SENDER, Reply, relay, saying

QUICK = Timeouts(connect=0.3, command=0.3, body=0.3, final=0.3)


async def sent(script: dict[str, Reply], timeouts: Timeouts = QUICK) -> Outcome:
    """Send one mail to a relay with this script."""
    async with relay(saying(**script)) as server, Relay(f"smtp://127.0.0.1:{server.port}", 1, timeouts=timeouts) as client:
        outcome = await client.send(SENDER, RECIPIENT, MAIL)
        if outcome.kind == "accepted":
            assert server.mails == [MAIL]
        if outcome.kind == "not_sent":
            assert not server.mails
        return outcome


async def test_an_accepted_mail_arrives_unchanged() -> None:
    """Lines that begin with a dot, or are one, arrive as they were; one recipient is named."""
    async with relay() as server, Relay(f"smtp://127.0.0.1:{server.port}", 1) as client:
        outcome = await client.send(SENDER, '"a b"@example.com', MAIL)
        assert outcome == Outcome("accepted", 250, status="2.0.0")
        assert server.mails == [MAIL] and server.recipients == [b'<"a b"@example.com>']


@pytest.mark.parametrize(
    "script, outcome",
    [
        ({"RCPT": b"550 5.1.1 <ana@example.com> unknown"}, Outcome("rejected", 550, False, "recipient", "5.1.1", "gone")),
        ({"RCPT": b"551-no\r\n551 such user"}, Outcome("rejected", 551, False, "recipient", None, "gone")),
        ({"RCPT": b"421 4.7.0 slow down"}, Outcome("deferred", 421, True, "recipient", "4.7.0", None, True)),
        ({"RCPT": b"450 4.2.0 Greylisted"}, Outcome("deferred", 450, False, "recipient", "4.2.0")),
        ({"RCPT": b"451 later"}, Outcome("deferred", 451, True, "recipient")),
        ({"RCPT": b"452 full"}, Outcome("deferred", 452, True, "recipient")),
        ({"RCPT": b"455 what"}, Outcome("deferred", 455, False, "recipient")),
        ({"DOT": b"454 Throttling failure: Maximum sending rate exceeded."}, Outcome("deferred", 454, True, "data")),
        ({"DOT": b"554 5.7.1 spam"}, Outcome("rejected", 554, False, "data", "5.7.1", "ours")),
        ({"DATA": b"451 4.3.0 no"}, Outcome("deferred", 451, True, "data", "4.3.0")),
        ({"DATA": b"554 no valid recipients"}, Outcome("rejected", 554, False, "data", None, "ours")),
        ({"MAIL": b"451 4.7.1 later"}, Outcome("deferred", 451, True, "sender", "4.7.1")),
        ({"MAIL": b"550 5.4.5 daily quota"}, Outcome("deferred", 550, True, "sender", "5.4.5", "ours")),
        ({"CONNECT": b"421 too busy"}, Outcome("deferred", 421, True, "connect")),
        ({"CONNECT": b"554 go away"}, Outcome("deferred", 554, True, "connect", None, "ours")),
    ],
)
async def test_a_refusal_says_for_good_or_for_now(script: dict[str, Reply], outcome: Outcome) -> None:
    """A refusal for good is a rejection, throttling slows us down, and a refusal of us is no fault of a reader's."""
    assert await sent(script) == outcome


@pytest.mark.parametrize(
    "reply, blames",
    [
        (b"550 no", "ours"), (b"550 5.1.1 unknown", "gone"), (b"552 5.2.2 full", "passing"), (b"553 5.1.2 bad", "gone"),
        (b"500 5.3.0 no", "ours"), (b"550 no such user here", "gone"), (b"550 5.5.2 <app-1>: Helo command rejected", "ours"),
        (b"554 5.7.1 Relay access denied", "ours"), (b"530 5.7.0 log in first", "ours"), (b"503 bad sequence", "ours"),
        (b"450 4.1.1 not now", None),
    ],
)  # fmt: skip
async def test_a_refusal_blames_the_reader_only_if_it_says_so(reply: bytes, blames: str | None) -> None:
    """A relay that was set up wrongly costs no reader their subscription, whether it refuses at RCPT or after DATA."""
    assert (await sent({"RCPT": reply})).verdict == (await sent({"DOT": reply})).verdict == blames


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("reply", [None, b"", b"hello?", b"999 what", b"150 hm", b"250 two\r\n250 replies", b"350 hm", b"2"])
async def test_what_fails_before_the_mail_left_is_safe_to_send_again(verb: str, reply: Reply) -> None:
    """A hang-up, silence or nonsense before the mail was sent is never doubtful."""
    if verb == "EHLO" and reply != b"":
        script = {"EHLO": reply, "HELO": reply}
    elif (verb, reply) == ("CONNECT", b"250 two\r\n250 replies"):
        script = {"CONNECT": reply, "EHLO": reply}
    elif (verb, reply) == ("DATA", b"350 hm"):
        return  # of the kind that is expected
    else:
        script = {verb: reply}
    outcome = await sent(script)
    assert outcome.kind == "not_sent" or (outcome.kind == "deferred" and outcome.stage == "connect")


async def test_a_hang_up_in_the_mail_is_safe_to_send_again() -> None:
    """A relay that hangs up before it had the whole of a long mail leaves no doubt."""
    long = MAIL + b"x" * 70 + b"\r\n"
    async with relay(saying(BODY=None)) as server, Relay(f"smtp://127.0.0.1:{server.port}", 1, timeouts=QUICK) as client:
        outcome = await client.send(SENDER, RECIPIENT, long + (b"y" * 70 + b"\r\n") * 500_000)
    assert outcome.kind == "not_sent" and outcome.stage == "data" and not server.mails


@pytest.mark.parametrize("reply", [None, b"", b"hello?", b"999 what", b"354 again", b"250 one\r\n550 two", b"2"])
async def test_what_fails_after_the_final_dot_is_uncertain(reply: Reply) -> None:
    """Nobody can say whether the relay kept a mail that it didn't answer properly."""
    assert await sent({"DOT": reply}) == Outcome("uncertain")


async def test_nobody_listening_is_safe_to_send_again() -> None:
    """A relay that is down costs nothing, and is not asked again at once by every mail."""
    async with relay() as server:
        port = server.port
    async with Relay(f"smtp://127.0.0.1:{port}", 4, timeouts=QUICK) as client:
        outcomes = await asyncio.gather(*(client.send(SENDER, RECIPIENT, MAIL) for _ in range(20)))
    assert set(outcomes) == {Outcome("not_sent", stage="connect")} and outcomes[0].whole_relay


async def test_connections_are_few_and_kept() -> None:
    """No more connections than were allowed, each used up to its limit."""
    async with relay() as server:
        async with Relay(f"smtp://127.0.0.1:{server.port}", 3, mails_per_connection=10) as client:
            outcomes = await asyncio.gather(*(client.send(SENDER, f"r{n}@example.com", MAIL) for n in range(60)))
        assert {outcome.kind for outcome in outcomes} == {"accepted"} and len(server.mails) == 60
        assert len(set(server.recipients)) == 60
        assert server.most_at_once <= 3 and 6 <= server.connections <= 8  # at the end up to three are part used
        assert server.verbs.count("QUIT") == server.connections and "RSET" not in server.verbs


async def test_a_refusal_leaves_the_connection_usable() -> None:
    """After a refused recipient the next mail goes over the same connection."""

    def script(verb: str, line: bytes) -> Reply | str:
        return b"550 5.1.1 no" if b"nobody" in line else "usual"

    async with relay(script) as server, Relay(f"smtp://127.0.0.1:{server.port}", 1) as client:
        kinds = [(await client.send(SENDER, f"{name}@example.com", MAIL)).kind for name in ("nobody", "ana", "nobody", "bea")]
        assert kinds == ["rejected", "accepted", "rejected", "accepted"]
        assert server.connections == 1 and server.verbs.count("RSET") == 2 and server.mails == [MAIL, MAIL]


async def test_a_kept_connection_that_was_closed_is_replaced() -> None:
    """The relay's hanging up between two mails is not noticed by the second."""
    async with relay() as server, Relay(f"smtp://127.0.0.1:{server.port}", 1) as client:
        assert (await client.send(SENDER, RECIPIENT, MAIL)).kind == "accepted"
        server.hang_up()
        assert (await client.send(SENDER, RECIPIENT, MAIL)).kind == "accepted"
        assert server.connections == 2 and len(server.mails) == 2


async def test_a_cancelled_send_spoils_no_other() -> None:
    """The connection of a mail that was given up is not used again."""
    slow = {"on": True}

    def script(verb: str, line: bytes) -> Reply | str:
        return b"" if verb == "RCPT" and slow["on"] else "usual"

    async with relay(script) as server, Relay(f"smtp://127.0.0.1:{server.port}", 1) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.send(SENDER, RECIPIENT, MAIL)
        slow["on"] = False
        assert (await client.send(SENDER, RECIPIENT, MAIL)).kind == "accepted"
        assert server.connections == 2 and len(server.mails) == 1


@pytest.mark.parametrize("mail", [b"a\nb\r\n", b"a\rb\r\n", b"no end", "é\r\n".encode(), b"", b"a\r\n.\nQUIT\r\n"])
async def test_a_malformed_mail_is_refused_before_anything_is_said(mail: bytes) -> None:
    """A mail that two relays could read differently is not sent."""
    async with relay() as server, Relay(f"smtp://127.0.0.1:{server.port}", 1) as client:
        with pytest.raises(ValueError):
            await client.send(SENDER, RECIPIENT, mail)
        assert server.connections == 0


class Kept(MessageHandler):
    """The mails that a real SMTP server was given, and whether its client had logged in."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[tuple[bytes, bool]] = []

    def prepare_message(self, session: Session, envelope: Envelope) -> Message:
        self.mails.append((cast(bytes, envelope.original_content), bool(session.authenticated)))
        return super().prepare_message(session, envelope)

    def handle_message(self, message: Message) -> None:
        """Nothing more is done with it."""


def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any) -> AuthResult:
    """Let ana in."""
    assert isinstance(login, LoginPassword)
    return AuthResult(success=(login.login, login.password) == (b"ana@x", b"p:ss/w"), handled=False)


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
async def test_a_login_goes_over_tls(scheme: str, certificate: ssl.SSLContext) -> None:
    """A real server that wants TLS and a login gets both, in each of the three ways."""
    kept = Kept()
    whole = certificate if scheme == "smtps" else None

    def protocol() -> SMTP:
        return SMTP(
            kept, authenticator=authenticate, auth_required=whole is None, hostname="relay.example.com",
            tls_context=None if whole else certificate, require_starttls=whole is None, auth_require_tls=whole is None,
        )  # fmt: skip

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=whole)
    port = server.sockets[0].getsockname()[1]
    try:
        async with Relay(f"{scheme}://ana%40x:p%3Ass%2Fw@127.0.0.1:{port}", 1) as client:
            assert [(await client.send(SENDER, RECIPIENT, MAIL)).kind for _ in range(3)] == ["accepted"] * 3
        async with Relay(f"{scheme}://ana%40x:wrong@127.0.0.1:{port}", 1) as client:
            assert await client.send(SENDER, RECIPIENT, MAIL) == Outcome("deferred", 535, True, "connect", None, "ours")
    finally:
        server.close()
        await server.wait_closed()
    assert kept.mails == [(MAIL, True)] * 3


async def test_tls_that_was_asked_for_is_not_done_without() -> None:
    """A relay that offers no STARTTLS gets no mail from who insists on it."""
    async with relay() as server, Relay(f"smtp+starttls://127.0.0.1:{server.port}", 1, timeouts=QUICK) as client:
        outcome = await client.send(SENDER, RECIPIENT, MAIL)
        assert (outcome.kind, outcome.stage) == ("not_sent", "connect") and not server.mails


@pytest.mark.parametrize(
    "url, security, port, verified",
    [
        ("smtp://mail.example.com", "offered", 25, False),
        ("smtp://mail.example.com:2525/", "offered", 2525, False),
        ("smtp://a:b@mail.example.com", "starttls", 587, True),
        ("smtp://a:b@127.0.0.1", "offered", 25, False),
        ("smtp+starttls://mail.example.com", "starttls", 587, True),
        ("smtps://a:b@mail.example.com", "tls", 465, True),
        ("smtps://[::1]", "tls", 465, False),
    ],
)
def test_a_password_never_goes_in_the_clear(url: str, security: str, port: int, verified: bool) -> None:
    """If a password is sent or TLS was asked for, the relay must prove its identity; loopback needs no proof."""
    parsed = parse_relay_url(url)
    assert (parsed.security, parsed.port, parsed.verified) == (security, port, verified)


@pytest.mark.parametrize(
    "url", ["", "http://x", "smtp://", "smtp://h/path", "smtp://h?x=1", "mail.example.com", "smtp://h:99999"]
)
def test_a_wrong_relay_address_is_refused(url: str) -> None:
    """A typing mistake is found at the start."""
    with pytest.raises(ValueError):
        parse_relay_url(url)
