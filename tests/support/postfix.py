"""Debian's Postfix with everything of its own in one folder: it takes mail on loopback and keeps it in a mailbox there."""

import os
import pwd
import shutil
import signal
import smtplib
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE, free_port, wait_for

PROGRAM = Path("/usr/sbin/postfix")

# Nothing of the machine's own Postfix is read or written, no name is looked up, and nothing is relayed.
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail
maillog_file_prefixes = {folder}/log
myhostname = mail.example.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = example.com
virtual_mailbox_maps = static:mailbox/
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
virtual   unix - n n - - virtual
error     unix - - n - - error
retry     unix - - n - - error
anvil     unix - - n - 1 anvil
proxymap  unix - - n - - proxymap
postlog   unix-dgram n - n - 1 postlogd
"""


def must_be_there() -> None:
    """Skip where Postfix can't be run; on CI that is a failure."""
    reason = None if PROGRAM.exists() else "Postfix is not installed: apt-get install postfix"
    if reason is None and os.geteuid() != 0:
        reason = "Postfix can only be started by root"
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Postfix:
    """A running Postfix: its port, and what it delivered."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._mailbox = folder / "mail" / "mailbox"
        self._log = folder / "log" / "mail"

    def delivered(self, mails: int) -> list[bytes]:
        """Wait until so many mails lie in the mailbox; give them as they lie there."""
        found = wait_for(lambda: len(self._mails()) >= mails and self._mails())
        assert found and len(found) == mails, self.log()
        return found

    def log(self) -> str:
        """Give the end of what it logged."""
        return self._log.read_text()[-4000:] if self._log.exists() else "nothing logged"

    def whole_log(self, says: Callable[[str], bool]) -> Path:
        """Wait until the log says something; give its file."""
        assert wait_for(lambda: self._log.exists() and says(self._log.read_text())), self.log()
        return self._log

    def _mails(self) -> list[bytes]:
        return [file.read_bytes() for file in sorted((self._mailbox / "new").glob("*"))]


@contextmanager
def postfix(*more: str) -> Iterator[Postfix]:
    """Run a Postfix for a while, with these lines more in its main.cf."""
    must_be_there()
    folder = Path(tempfile.mkdtemp(prefix="bp-"))
    port = free_port()
    try:
        _set_up(folder, port, more)
        process = _start(folder)
        try:
            running = Postfix(folder, port)
            wait_for(lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, running.log()
            yield running
        finally:
            _stop(folder, process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _set_up(folder: Path, port: int, more: Sequence[str]) -> None:
    folder.chmod(0o755)  # Postfix's processes work as users of their own
    keeper, reader = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
    for name, owner in (("etc", 0), ("queue", 0), ("data", keeper.pw_uid), ("log", keeper.pw_uid), ("mail", reader.pw_uid)):
        (folder / name).mkdir()
        os.chown(folder / name, owner, -1)
    values = {"folder": folder, "port": port, "uid": reader.pw_uid, "gid": reader.pw_gid}
    (folder / "etc" / "main.cf").write_text("\n".join((MAIN.format(**values), *more, "")))
    (folder / "etc" / "master.cf").write_text(MASTER.format(**values))


def _start(folder: Path) -> "subprocess.Popen[bytes]":
    """Start it in the foreground: a script that lives as long as the master it starts."""
    with (folder / "output").open("ab") as output:
        command = [PROGRAM, "-c", folder / "etc", "start-fg"]
        return subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/"
        )


def _stop(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    """End the master, which ends its own."""
    pid = folder / "queue" / "pid" / "master.pid"
    if process.poll() is None:
        os.kill(int(pid.read_text()) if pid.exists() else process.pid, signal.SIGTERM)
    process.wait(PATIENCE)


def _answers(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=2) as client:
            return client.noop()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False
