"""Policies for witnesses, as C2SP's tlog-policy spells them."""

import pytest

from services.proof.note import Signer
from services.proof.policy import Policy, PolicyMalformed, read_policy
from tests.support.witness import Witness

X1, X2, X3, Y1 = (Witness(f"w{n}.example", bytes([n]) * 32).verifier for n in range(4))
LOG = Signer("example.com/log/1", b"k" * 32).verifier
GROUPS = f"""
# two of three, and one more
log {LOG}

  witness X1 {X1} https://x1.example/submit
witness\tX2\t{X2}
witness X3 {X3}
group X 2 X1 X2 X3
witness Y1 {Y1}
group Y any Y1
group both all X Y
"""


def policy(text: str) -> Policy:
    return read_policy(text.encode())


@pytest.mark.parametrize(
    ("quorum", "cosigners", "is_met"),
    [
        ("none", [], True),
        ("X1", [], False),
        ("X1", [X1], True),
        ("X1", [X2, X3, Y1], False),
        ("X", [X1], False),
        ("X", [X1, X3], True),
        ("Y", [Y1], True),
        ("both", [X1, X2, X3], False),
        ("both", [X1, Y1], False),
        ("both", [X3, X2, Y1], True),
    ],
)
def test_a_quorum_is_met_by_enough_of_its_members(quorum: str, cosigners: list[object], is_met: bool) -> None:
    """A witness counts once; a group as its threshold says; `none` asks for nobody."""
    keys = {one.key for one in cosigners}  # type: ignore[attr-defined]
    assert policy(f"{GROUPS}quorum {quorum}\n").is_met(keys) == is_met


def test_addresses_belong_to_witnesses() -> None:
    """Whoever has an address is asked."""
    read = policy(f"{GROUPS}quorum none")
    assert {name: one.url for name, one in read.witnesses.items() if one.url} == {"X1": "https://x1.example/submit"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no line `quorum"),
        (GROUPS, "no line `quorum"),
        ("quorum none\nquorum none", "second"),
        ("quorum X", "'X' is no witness"),
        (f"quorum A\nwitness A {X1}", "Line 1"),
        (f"witness none {X1}\nquorum none", "taken"),
        (f"witness A {X1}\nwitness A {X2}\nquorum none", "taken"),
        (f"witness A {X1}\nwitness B {X1}\nquorum none", "twice"),
        (f"log {LOG}\nlog {LOG}\nquorum none", "twice"),
        (f"witness A {LOG}\nquorum none", "type 1"),
        (f"witness A {X1}\ngroup G 2 A\nquorum G", "number from 1 to 1"),
        (f"witness A {X1}\ngroup G 0 A\nquorum G", "number from 1 to 1"),
        (f"witness A {X1}\ngroup G some A\nquorum G", "number from 1 to 1"),
        (f"witness A {X1}\ngroup G any A A\nquorum G", "only once"),
        (f"witness A {X1}\ngroup G any A\ngroup H any A\nquorum H", "only once"),
        (f"witness A {X1}\ngroup G any none\nquorum G", "'none' is no witness"),
        (f"witness A {X1}\ngroup G any\nquorum G", "none of `log`"),
        ("quorum\u00a0none", "none of `log`"),
        ("quorum none\r\n", "control"),
        ("witness A nonsense\nquorum none", "no vkey"),
    ],
)
def test_what_is_no_policy_is_refused_by_its_line(text: str, says: str) -> None:
    """The sentence names the line and what is wrong with it."""
    with pytest.raises(PolicyMalformed, match=says):
        policy(text)
