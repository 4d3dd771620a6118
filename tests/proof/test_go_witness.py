"""A witness in Go, on the code that `go` itself trusts: it cosigns what grows, refuses the rest, and `verify.py` reads it."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from services.proof import verify
from tests.support import go
from tests.support.go_witness import Witness, running
from tests.support.public_log import ORIGIN, PublicLog, Signer, a_log


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the witness."""
    return go.build("witness", tmp_path_factory.mktemp("go"))


@pytest.fixture
def witness(program: Path) -> Iterator[Witness]:
    """Run a witness of the log of these tests."""
    with running(program, Signer().vkey) as witness:
        yield witness


def proof(log: PublicLog, old: int, new: int) -> list[bytes]:
    """Prove a prefix."""
    return verify.prove_prefix(old, log.leaves()[:new])


def test_what_grows_is_cosigned_and_the_cosignature_holds(witness: Witness) -> None:
    """Its line, put under the note, is what a policy counts; monitors get the checkpoint cosigned last."""
    log = a_log()
    for old, new in ((0, 7), (7, 20), (20, 20)):
        status, line = witness.add(old, proof(log, old, new) if old and old < new else [], log.note(new))
        assert status == 200, line
        times = verify.Policy([witness.vkey]).times(verify.read_note(log.note(new) + line))
        assert len(times) == 1
    origin = sha256(ORIGIN.encode()).hexdigest()
    assert witness.call(f"/{origin}/checkpoint") == (200, log.note(20))


def test_what_does_not_grow_is_refused(witness: Witness) -> None:
    """Each refusal has the status that its specification gives it, and leaves what was seen as it is."""
    log = a_log()
    assert witness.add(0, [], log.note(10))[0] == 200
    rewritten = a_log()
    rewritten.entries[4] = rewritten.entries[4].replace(b"skip", b"ship")
    forged = log.note(20)[:-12] + "AAAAAAAAAA=\n"
    assert witness.add(5, proof(log, 5, 20), log.note(20)) == (409, "10\n")
    assert witness.add(30, [], log.note(20))[0] == 400
    assert witness.add(10, proof(log, 10, 20), rewritten.note(20))[0] == 422
    assert witness.add(10, proof(log, 11, 20), log.note(20))[0] == 422
    assert witness.add(10, [], rewritten.note(10)) == (409, "10\n")
    assert witness.add(10, proof(log, 10, 20), forged)[0] == 403
    assert witness.add(10, proof(log, 10, 20), log.note(20, origin="other.example/log/1"))[0] == 404
    assert witness.call("/add-checkpoint", b"new 3\n\n")[0] == 400
    assert witness.add(10, proof(log, 10, 20), log.note(20))[0] == 200
