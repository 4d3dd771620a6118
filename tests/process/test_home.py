"""The home folder of `up`: whose it is, what is made in it, and who finds it."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from services.embedded.guard import end_run, remove_sockets
from services.embedded.runfile import Run, is_alive, process_named, write_run
from services.embedded.start import find_settings
from services.private_files import replacing
from services.settings import SettingsError
from tests.support.processes import COMMAND, free_port
from tests.support.settings import clean_environ
from tests.support.shell import Ran, run_inside

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user can only be tried out as root")
TAKEN_FROM_OTHERS = [
    (lambda path: path.chmod(0o620), "Others may write"),
    (lambda path: path.chmod(0o602), "Others may write"),
    (lambda path: path.rename(path.with_name("real")) and path.symlink_to("real"), "is no plain file"),
    pytest.param(lambda path: os.chown(path, 65534, 65534), "belongs to another user", marks=as_root),
]


WORDS = [
    ("api",),
    ("projector",),
    ("worker",),
    ("migrate",),
    ("status",),
    ("verify",),
    ("replay", "--dry-run"),
    ("explain", "tally", "ollama"),
    ("events", "tail"),
    ("digest", "status"),
    ("digest", "preview"),
    ("keys", "rewrap"),
    ("quarantine", "list"),
    ("subscribers", "export", "a@b.example"),
    ("voters", "void", "AaIVsTR5fmSaI9BzfiWzhA", "--reason", "x"),
]


def command(*words: str, cwd: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder where no home is named; a transport or file that it leaves open is a line on stderr."""
    program = (sys.executable, "-W", "always::ResourceWarning", *COMMAND[1:])
    env = clean_environ(PYTHONPATH=str(Path.cwd()), **environ)
    return subprocess.run((*program, *words), env=env, cwd=cwd, capture_output=True, text=True, check=False)


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Listen on a port."""
    with socket.create_server(("127.0.0.1", port)):
        yield


def one_line(ran: "subprocess.CompletedProcess[str]") -> str:
    """Return what a command said when it refused: one line on stderr."""
    assert ran.returncode in (1, 2), (ran.stdout, ran.stderr)
    assert ran.stderr.count("\n") == 1 and ran.stdout == "", (ran.stdout, ran.stderr)
    return ran.stderr


@pytest.mark.parametrize("name", ["run.json", "secrets", "operator.token"])
@pytest.mark.parametrize(("spoil", "reason"), TAKEN_FROM_OTHERS)
def test_files_that_others_may_have_written_are_refused(tmp_path: Path, name: str, spoil: object, reason: str) -> None:
    """`up` and every other command stop at a file of the home that isn't ours alone, and end no process that it names."""
    tmp_path.chmod(0o700)
    for file in ("secrets", "operator.token"):
        (tmp_path / file).touch(0o600)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as bystander:
        write_run(tmp_path, Run(up=process_named("api", bystander.pid), processes=[process_named("api", bystander.pid)]))
        spoil(tmp_path / name)  # type: ignore[operator]
        try:
            if name == "run.json":
                assert reason in one_line(command("up", "--home", str(tmp_path), "--port", str(free_port()), cwd=tmp_path))
            with pytest.raises(SettingsError, match=reason):
                find_settings({"BALLOTPRESS_HOME": str(tmp_path)})
            assert bystander.poll() is None
        finally:
            bystander.kill()


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_home_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """A folder in which others may put files is no home, and stays as it is."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    said = one_line(command("up", "--home", str(home), "--port", str(free_port()), cwd=tmp_path))
    assert f"Others may write {home}" in said and f"chmod go-w {home}" in said
    assert list(home.iterdir()) == []


def test_only_folders_of_sockets_are_removed(tmp_path: Path) -> None:
    """Of the folder that run.json names, only `sockets` of the home, or one that mkdtemp made for us, is removed."""
    for folder in (other := tmp_path / "other", sockets := tmp_path / "sockets"):
        folder.mkdir()
        (folder / "file").touch()
        write_run(tmp_path, Run(up=replace(process_named("up", os.getpid()), started=1), socket_folder=str(folder)))
        end_run(tmp_path)
    remove_sockets(tmp_path, Path("/tmp/ballotpress-nobody-s"))  # noqa: S108 - there is none
    assert (other / "file").exists() and not sockets.exists()


def test_a_process_of_an_earlier_boot_is_another_one() -> None:
    """The same id and start time name another process once the machine was started anew."""
    mine = process_named("up", os.getpid())
    assert is_alive(mine) and not is_alive(replace(mine, boot="an earlier one"))


@pytest.mark.parametrize("how", ["before", "after", "variable", "default"])
def test_an_unknown_home_is_said_and_never_made(tmp_path: Path, how: str) -> None:
    """A command on a folder where `up` never ran says where it looked, however the folder is named, and makes nothing."""
    home = tmp_path / (".ballotpress" if how == "default" else "there")
    words = ("events", "export", "log.jsonl")
    given = {"before": ("--home", str(home), *words), "after": (*words, "--home", str(home))}.get(how, words)
    environ = {"BALLOTPRESS_HOME": str(home)} if how == "variable" else {}
    said = one_line(command(*given, cwd=tmp_path, **environ))
    assert f"ever ran on {home}" in said and "--home" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_only_up_and_import_make_a_home(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Every command that needs a site refuses a folder where none ever was, in one line, and makes nothing."""
    home = tmp_path / "there"
    ran = Ran(run_inside((*words, "--home", str(home)), b"", clean_environ()))
    ran.failed(f"ever ran on {home}")
    assert not home.exists()


REFUSED = {
    "a taken port": ({}, (), "is taken"),
    "an unknown host": ({}, ("--host", "nowhere.invalid"), "doesn't know the host nowhere.invalid"),
    "a relay of no kind": ({"SMTP_URL": "http://relay"}, (), "SMTP_URL"),
    "an hour of no day": ({"BALLOTPRESS_DIGEST_HOUR": "24"}, (), "BALLOTPRESS_DIGEST_HOUR"),
    "an address with a path": ({"BALLOTPRESS_BASE_URL": "https://example.com/news"}, (), "BALLOTPRESS_BASE_URL"),
    "topics of no kind": ({"BALLOTPRESS_SES_TOPICS": "x"}, (), "BALLOTPRESS_SES_TOPICS"),
    "a catalog that is none": ({}, ("--catalog", "bad.json"), "isn't valid JSON"),
    "a catalog that isn't there": ({}, ("--catalog", "none.json"), "there is no file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said_before_a_home_is_made(tmp_path: Path, name: str) -> None:
    """`up` says in one line what it can't work with, and leaves no folder behind; nor an unclosed transport."""
    environ, options, said = REFUSED[name]
    (tmp_path / "bad.json").write_text("{")
    port = free_port()
    with taken(port) if name == "a taken port" else nullcontext():
        ran = command("up", "--port", str(port), *options, cwd=tmp_path, **environ)
    assert said in one_line(ran)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.json"]


def test_a_taken_port_leaves_no_transport_open(tmp_path: Path) -> None:
    """On a home that is there, the refusal is one line too: the guard is dismissed before its loop ends."""
    (tmp_path / "home").mkdir(0o700)
    with taken(port := free_port()):
        ran = command("up", "--home", "home", "--port", str(port), cwd=tmp_path)
    assert "is taken" in one_line(ran)
    assert not (tmp_path / "home" / "run.json").exists()


@pytest.mark.parametrize("place", ["/proc/x", "file"])
def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path: Path, place: str) -> None:
    """Where no folder can be made, `up` says so."""
    (tmp_path / "file").touch()
    said = one_line(command("up", "--home", place, "--port", str(free_port()), cwd=tmp_path))
    assert "home" in said and "Errno" not in said


def test_an_unknown_variable_is_named(tmp_path: Path) -> None:
    """A variable that looks like ours and isn't is a warning, with the one that was meant; the tests' own are none."""
    ran = command("--version", cwd=tmp_path)
    assert ran.stderr == ""
    ran = command("status", cwd=tmp_path, BALLOTPRESS_CORS_ORIGIN="https://a.example", BALLOTPRESS_UNHEARD_OF="1")
    assert ran.stderr.splitlines()[:2] == [
        "ballotpress: BALLOTPRESS_CORS_ORIGIN is no setting: did you mean BALLOTPRESS_CORS_ORIGINS?",
        "ballotpress: BALLOTPRESS_UNHEARD_OF is no setting",
    ]


def test_a_replaced_file_is_private_and_follows_no_link(tmp_path: Path) -> None:
    """What a command writes has mode 0600, goes to no file that a link of its name leads to, and a failure leaves no trace."""
    (victim := tmp_path / "victim").write_text("mine")
    (file := tmp_path / "log.jsonl").symlink_to(victim)
    (tmp_path / "log.jsonl.part").symlink_to(victim)
    with replacing(file) as out:
        out.write(b"events")
    assert (victim.read_text(), file.read_text(), file.is_symlink()) == ("mine", "events", False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(ZeroDivisionError), replacing(file) as out:
        out.write(b"half")
        raise ZeroDivisionError
    assert file.read_text() == "events" and len(list(tmp_path.iterdir())) == 3
