"""The newsletter as an operator runs it, on a real `up` without a relay: every mail is a file in the outbox."""

import email
import email.policy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import calling
from tests.support.processes import PATIENCE, Instance, wait_for
from tests.support.shell import Ran, run_inside

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A running `up`."""
    instance = Instance(tmp_path_factory.mktemp("newsletter") / "home").start()
    try:
        yield instance.ready()
    finally:
        instance.stop()


def call(site: Instance, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Call the API."""
    answer = calling.request(method, f"http://127.0.0.1:{site.port}{path}", json=body, timeout=PATIENCE)
    return answer.status_code, answer.text


def outbox(site: Instance, name: str) -> list[Path]:
    """List the files of the outbox whose names begin so."""
    return sorted((site.home / "outbox").glob(f"{name}*.eml"))


def text_of(file: Path) -> str:
    mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def run(site: Instance, *words: str, status: int = 0) -> str:
    """Run a command; give its output."""
    done = Ran(run_inside(words, b"", site.environ | {"BALLOTPRESS_HOME": str(site.home)}))
    assert done.status == status, (words, done.out, done.err)
    return done.out + done.err


def test_from_sign_up_to_who_got_it(site: Instance, tmp_path: Path) -> None:
    """Sign up, confirm, preview, send, see the accounts, prove the content, and read the issue in the archive."""
    assert call(site, "POST", "/v1/newsletter/subscriptions", {"email": "ada@example.com"})[0] == 202
    (confirmation,) = wait_for(lambda: outbox(site, "confirmation"))
    assert confirmation.stem in call(site, "GET", "/outbox")[1]
    assert "Message-ID" in call(site, "GET", f"/outbox/{confirmation.stem}")[1]
    found = re.search(r"token=(\S+)", text_of(confirmation))
    assert found is not None
    assert call(site, "POST", "/v1/newsletter/confirm", {"token": found[1]})[0] == 200
    ada = confirmation.stem[-22:]

    wait_for(lambda: "1 would get it" in run(site, "digest", "preview", "--to", str(tmp_path)))
    run(site, "digest", "preview", "--to", str(tmp_path), "--reader", ada)
    assert b"To: ada@example.com" in (tmp_path / "digest-preview.eml").read_bytes()
    assert "<html" in (tmp_path / "digest-preview.html").read_text()
    assert json.loads(run(site, "digest", "compile"))["new_tools"]

    run(site, "digest", "pause")
    (sent,) = json.loads(run(site, "digest", "send", "--now", "--json"))
    assert (sent["issue"]["number"], sent["sent_now"], sent["accounts"]["pending"]) == (1, True, 1)
    assert outbox(site, "issue-1") == []
    run(site, "digest", "resume")
    assert len(wait_for(lambda: outbox(site, "issue-1"))) == 1
    wait_for(lambda: "1 accepted" in run(site, "digest", "status", "1"))
    assert "settled: planned 1 = 1 accepted" in run(site, "digest", "status", "1")
    assert f"{ada} accepted" in run(site, "digest", "status", "1", "--reader", ada)
    assert run(site, "digest", "status", "1", "--missed") == "Nobody missed it\n"
    assert run(site, "digest", "status", "1", "--missed", "--json") == ""
    for option in (("--missed",), ("--reader", ada), ()):
        assert "There is no issue 9" in run(site, "digest", "status", "9", *option, status=1)
    assert "was sent at" in run(site, "digest", "send", "--now")
    assert "the same content" in run(site, "digest", "compile", "--verify", "1")
    assert "0 mails dropped" in run(site, "digest", "resolve", "1", "--uncertain", "drop")
    assert "There is no issue 9" in run(site, "digest", "resolve", "9", "--uncertain", "drop", status=1)
    assert "The newsletter is held" in run(site, "digest", "marks-lost", "--yes")
    assert "Digests go on" in run(site, "digest", "resume")

    status, listed = call(site, "GET", "/v1/issues")
    assert (status, [line["number"] for line in json.loads(listed)["items"]]) == (200, [1])
    assert json.loads(call(site, "GET", "/v1/issues/1")[1])["new_tools"]
    assert "Issue 1" in call(site, "GET", "/issues/1")[1]
    today = f"{json.loads(listed)['items'][0]['published_at']:.10}"
    assert f"{today} to {today}" not in call(site, "GET", "/issues/1")[1] + call(site, "GET", "/feed.xml")[1]
    assert "/issues/1" in call(site, "GET", "/feed.xml")[1]
    for page in ("/v1/issues/1", "/issues/1", "/feed.xml"):
        assert "ada@example.com" not in call(site, "GET", page)[1]
    assert call(site, "GET", "/v1/issues/2")[0] == 404


def test_subscribers_come_from_a_file_and_leave_on_request(site: Instance, tmp_path: Path) -> None:
    """Refused rows are named by line, without their addresses; a person's data is given, and erased with their mails."""
    file = tmp_path / "readers.csv"
    file.write_bytes(
        b"\xef\xbb\xbfemail,proof,categories\n"
        b"bob@example.com,paper form of 2026-03-01,Developer Tools;Writing\n"
        b"not an address,paper form,\n"
        b"carl@example.com,,\n"
        b'broken"row,x\n'
        b"\xff\xfe@example.com,paper,\n" + b"x" * 100_000 + b"@example.com,paper,\n"
        b"dora@example.com,web form,\n"
        b"fred@example.com,web form,Writing;Nope\n"
        b"BOB@example.com,again,\n"
    )
    done = run(site, "subscribers", "import", str(file), status=1)
    assert "Imported 2 subscribers; 1 known before, 6 refused" in done
    assert [int(n) for n in re.findall(r"line (\d+) was refused", done)] == [3, 4, 5, 6, 7, 9]
    assert "carl@" not in done
    assert "no category 'Nope'; it has:" in done
    kept = json.loads(run(site, "subscribers", "export", "bob@example.com"))
    assert (kept["email"], kept["status"], kept["categories"]) == (
        "bob@example.com",
        "confirmed",
        ["Developer Tools", "Writing"],
    )
    assert "Erased" in run(site, "subscribers", "erase", "bob@example.com", "--yes")
    assert "this person is unknown" in run(site, "subscribers", "erase", "bob@example.com", "--yes")
    assert json.loads(run(site, "subscribers", "export", "bob@example.com")) == {"email": "bob@example.com", "status": None}
    assert "columns" in run(site, "subscribers", "import", "/dev/null", status=1)
    assert "can't be used" in run(site, "subscribers", "export", "nobody", status=1)


def test_an_erased_persons_mails_leave_the_outbox(site: Instance) -> None:
    """Everything kept about a person is gone with them."""
    call(site, "POST", "/v1/newsletter/subscriptions", {"email": "eve@example.com"})
    wait_for(lambda: any("eve@example.com" in file.read_text() for file in outbox(site, "")))
    run(site, "subscribers", "erase", "eve@example.com", "--yes")
    assert not any("eve@example.com" in file.read_text() for file in outbox(site, ""))
