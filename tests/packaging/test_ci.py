"""Hosted CI, `.ci/run` and pre-commit run the same commands as `make`."""

import re
import subprocess

import yaml

from tests.packaging.project import PYPROJECT, ROOT


def test_hosted_ci_runs_the_script_on_the_oldest_python() -> None:
    """The workflow adds nothing to `.ci/run`, and begins with the oldest Python that the package supports."""
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["ci"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert PYPROJECT["project"]["requires-python"] == f">={job['strategy']['matrix']['python'][0]}"


def test_pre_commit_runs_what_make_lint_runs() -> None:
    """One hook, of this repository, that calls `make lint`; `.ci/run` calls it too."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["entry"], hook["pass_filenames"]) == ("local", "make lint", False)
    assert re.search(r"\bmake lint$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_the_ci_script_is_valid() -> None:
    """The script is executable and has no syntax error."""
    script = ROOT / ".ci" / "run"
    assert subprocess.run(("bash", "-O", "extglob", "-n", script), check=False).returncode == 0
    assert script.stat().st_mode & 0o111


def test_what_is_left_out_on_the_old_postgresql_is_there() -> None:
    """Each file and each test that `.ci/run` picks out for PostgreSQL 15, or leaves out there, is there still."""
    script = (ROOT / ".ci" / "run").read_text()
    left_out = re.findall(r"(tests/\w+)/test_!\((\S+)\)\.py", script)
    files = [f"{folder}/test_{name}.py" for folder, names in left_out for name in names.split("|")]
    single = re.findall(r"(tests/\S+\.py)::(\w+)", script)
    assert len(files) > 10 and len(single) > 3
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert [name for file, name in single if f"def {name}(" not in (ROOT / file).read_text()] == []
