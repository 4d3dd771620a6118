"""The commands `backup` and `restore`: what they refuse, in a sentence, and that nothing is made then."""

from pathlib import Path

from tests.support.shell import Shell


async def test_a_postgresql_elsewhere_is_left_to_its_operators(shell: Shell, tmp_path: Path) -> None:
    """Neither command touches a server that DATABASE_URL names; both say what to use."""
    (tmp_path / "backups").mkdir()
    for words in (("backup", str(tmp_path / "new")), ("restore", str(tmp_path / "backups"))):
        ran = shell(*words)
        assert ran.status == 1 and "pgBackRest or WAL-G" in ran.err
    assert not (tmp_path / "new").exists()


async def test_a_folder_without_backups_is_said(shell: Shell, tmp_path: Path) -> None:
    """The drill of an empty or missing folder, a listing of none, and a moment that is none."""
    (tmp_path / "backups").mkdir()
    assert "holds no whole backup" in shell("restore", str(tmp_path / "backups"), "--check").err
    assert "There is no folder" in shell("restore", str(tmp_path / "none"), "--check").err
    assert "There is no folder" in shell("backup", str(tmp_path / "none"), "--list").err
    assert shell("backup", str(tmp_path / "backups"), "--list").out == ""
    assert "neither a position nor a time" in shell("restore", str(tmp_path / "backups"), "--to", "yesterday").err
    assert "neither a position nor a time" in shell("restore", str(tmp_path / "backups"), "--to", "2026-11-23T09:00:00").err


async def test_one_way_to_settle_is_named(shell: Shell, tmp_path: Path) -> None:
    """`digest resolve` by nothing, or by two ways at once, is refused; a log that isn't there is named."""
    (tmp_path / "log").write_text("")
    log = str(tmp_path / "log")
    assert "Give one of" in shell("digest", "resolve", "1").err
    assert "Give one of" in shell("digest", "resolve", "1", "--by-log", log, "--uncertain", "drop").err
    assert f"{log}.1" in shell("digest", "resolve", "1", "--by-log", f"{log}.1").err
    assert "There is no issue 1" in shell("digest", "resolve", "1", "--by-log", log).err
