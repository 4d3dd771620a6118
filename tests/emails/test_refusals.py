"""Whom a refusal blames: one table for the relay's answers, notices and webhooks."""

import pytest

from emails.refusals import judge, judge_reported


@pytest.mark.parametrize(
    "said, blames",
    [
        ("504 5.5.2 <web-1>: Helo command rejected: need fully-qualified hostname", "ours"),
        ("550 5.7.1 <web-1>: Helo command rejected: Host not found", "ours"),
        ("550 5.1.7 <digest@verdicts.example>: Sender address rejected: undeliverable address", "ours"),
        ("550 5.1.8 <digest@verdicts.example>: Sender address rejected: Domain not found", "ours"),
        ("550 Sender verify failed", "ours"),
        ("550 198.51.100.7 is listed at bl.example.org", "ours"),
        ("554 Your IP address has a poor reputation", "ours"),
        ("550 5.4.5 Daily sending quota exceeded", "ours"),
        ("550 5.3.2 System not accepting network messages", "ours"),
        ("552 5.3.4 Message size exceeds fixed limit", "ours"),
        ("554 5.4.6 Too many hops", "passing"),
        ("550 5.7.1 Relaying denied", "ours"),
        ("553 sorry, that domain isn't in my list of allowed rcpthosts", "ours"),
        ("554 5.2.1 We will not accept delivery of this message: spam", "ours"),
        ("550 5.1.1 Message rejected: content looks like spam", "ours"),
        ("550 5.9.9 What is that", "ours"),
        ("550", "ours"),
        ("5.0.0", "ours"),
        ("552 5.2.2 The mailbox is full", "passing"),
        ("552 5.1.1 <ana@example.net>... mailbox is over quota", "passing"),
        ("550 5.2.1 The user receives mail too quickly", "passing"),
        ("x-unix; no space left on device", "passing"),
        ("retry timeout exceeded", "passing"),
        ("450 4.1.1 <ana@example.net>: user unknown, try again", "passing"),
        ("550 5.1.1 User unknown", "gone"),
        ("550 5.1.1", "gone"),
        ("550 5.1.1 <ana@example.net>: Recipient address rejected: User unknown in virtual mailbox table", "gone"),
        ("550 sorry, no mailbox here by that name", "gone"),
        ("554 delivery error: this user doesn't have a provider.example account", "gone"),
        ("550 The account <ana@example.net> has been disabled", "gone"),
        ("550 Mailbox does not exist", "gone"),
        ("550 No such user here", "gone"),
        ("550 Unrouteable address", "gone"),
        ("550 5.4.1 Recipient address rejected: Access denied", "gone"),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found by SMTP address lookup", "gone"),
        ("5.4.4 Host or domain name not found. Name service error for name=gone.example", "gone"),
        ("550 5.7.1 No such user c18si2365148hub", "gone"),
        ("550 5.7.1 No mailbox found", "gone"),
        ("550 5.7.1 Recipient address rejected: Access denied", "ours"),
        ("550 5.7.1 Unknown user blocked by policy", "ours"),
        ("Remote host said: 550 unknown user", "gone"),
        ("550 <ana@example.net> n'existe pas", "gone"),
        ("250 2.1.5 ok", "arrived"),
    ],
)
def test_only_words_or_codes_about_this_address_blame_it(said: str, blames: str) -> None:
    """Names, lists, policies, sizes, quotas and unknown codes are the sender's matter; a full mailbox passes."""
    assert judge(said).verdict == blames


def test_the_remote_servers_own_code_counts_more_than_a_summary() -> None:
    """A code in the words is taken before the notice's own, unless it only says "failed"."""
    assert judge("552 5.2.2 over quota", "5.1.1").status == "5.2.2"
    assert judge("550 5.0.0 no", "5.7.1").status == "5.7.1"
    assert judge("host 192.0.2.1 said no", "5.1.1").status == "5.1.1"


@pytest.mark.parametrize(
    "words, status, blames", [("", None, "gone"), ("", "5.0.0", "gone"), ("", "5.7.1", "ours"), ("spam", "5.0.0", "ours")]
)
def test_a_provider_is_believed_where_the_code_says_no_more(words: str, status: str | None, blames: str) -> None:
    """A bounce reported as permanent is one, unless its code or words blame somebody else."""
    assert judge_reported(words, status) == blames
