"""Debian's Prometheus and its promtool, as an operator runs them."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support import calling
from tests.support.processes import PATIENCE, free_port, started, wait_for

ROOT = Path(__file__).parents[2]
EXEMPLARS = "--enable-feature=exemplar-storage"
RULES = ROOT / "docs" / "alerts.yml"
DASHBOARD = ROOT / "docs" / "grafana" / "ballotpress.json"


def program(name: str) -> str:
    """Return a program's path. Without it the test fails on CI, and is skipped elsewhere."""
    if (found := shutil.which(name)) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have {name}: apt-get install prometheus")
        pytest.skip(f"needs {name} (apt-get install prometheus)")
    return found


def promtool(*words: str | Path) -> str:
    """Run promtool, which must find nothing wrong; return what it said."""
    ended = subprocess.run((program("promtool"), *words), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def faults_of(metrics: bytes) -> list[str]:
    """Return what promtool finds wrong with metrics."""
    ended = subprocess.run(
        (program("promtool"), "check", "metrics"), input=metrics, capture_output=True, timeout=PATIENCE, check=False
    )
    return (ended.stdout + ended.stderr).decode().splitlines()


def rules() -> dict[str, dict[str, Any]]:
    """Return the alert rules, by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's panels that show something."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


class Prometheus:
    """One that runs."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives now. A wrong one fails."""
        answer = self._client.get("/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def shows(self, selector: str) -> bool:
        """Wait until a selector finds something: on a busy machine a scrape takes too long, and all is stale until the next."""
        return bool(wait_for(lambda: self.query(selector)))

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Return the exemplars of the last minutes behind an expression."""
        span = {"query": expression, "start": "0", "end": "9999999999"}
        found: list[dict[str, Any]] = self._client.get("/query_exemplars", params=span).json()["data"]
        return found


@contextmanager
def watching(target: str, folder: Path) -> Iterator[Prometheus]:
    """Run a Prometheus that asks a site each second, with our rules; it has asked twice by then."""
    scrape = {"job_name": "ballotpress", "static_configs": [{"targets": [target]}]}
    config: Mapping[str, Any] = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [scrape],
    }
    (file := folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    options = {"config.file": file, "storage.tsdb.path": folder / "data", "web.listen-address": f"127.0.0.1:{port}"}
    command = (program("prometheus"), *(f"--{name}={value}" for name, value in options.items()), EXEMPLARS)
    address = f"http://127.0.0.1:{port}/api/v1"
    with started(command, {}, folder / "prometheus.log"), calling.Client(base_url=address, timeout=PATIENCE) as client:
        made = Prometheus(client)

        def has_asked() -> bool:
            try:
                found = made.query("count_over_time(up[1h]) > 2 and up == 1")
            except (httpx.TransportError, ValueError):  # it says in a sentence that it isn't ready yet
                return False
            return bool(found)

        assert wait_for(has_asked), (folder / "prometheus.log").read_text()[-2000:]
        yield made
