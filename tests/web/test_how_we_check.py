"""The page that says how votes and reviews are checked: its numbers are those of the log."""

from typing import Any

import msgspec

from services.integrity.accuracy import MEASURED
from tests.benchmarks import integrity_accuracy
from tests.support.http import Site
from tests.support.reviewing import decide, report, submit


def checks(site: Site, after: int) -> dict[str, Any]:
    """Read the numbers once the views have reached a position."""
    answer = site.anyone.get("/v1/integrity", after=after)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_reviews_are_counted_by_what_was_wrong(site: Site, tool: str) -> None:
    """What was reported, refused, taken down and kept is counted by its ground; a decision without one counts as other."""
    before = checks(site, site.head())["reviews"]
    shown, refused, silent = (submit(site.visitor(), tool)["id"] for _ in range(3))
    decide(site, shown)
    position = report(site.visitor(), tool, shown, ground="private")
    decide(site, shown, "keep", through=position)
    decide(site, shown, "remove", ground="ties")
    decide(site, refused, "reject", ground="advertising")
    now = checks(site, decide(site, silent, "reject"))["reviews"]

    def grown(act: str, ground: str) -> int:
        return now[act].get(ground, 0) - before[act].get(ground, 0)

    assert (now["approved"] - before["approved"], now["kept"] - before["kept"]) == (1, 1)
    assert (grown("reported", "private"), grown("removed", "ties"), grown("removed", "other")) == (1, 1, 0)
    assert (grown("refused", "advertising"), grown("refused", "other"), grown("refused", "ties")) == (1, 1, 0)


def test_votes_taken_out_and_put_back_are_counted(site: Site, tool: str) -> None:
    """Each correction counts once, with its voters and votes, and is counted again when it is taken back."""
    before = checks(site, site.head())
    me = site.visitor()
    me.vote(tool, "ship")
    path = f"/v1/ops/voters/{me.visitor}/disqualification"
    site.operator.post(path, {"reason": "A script."})
    site.operator.delete(path)
    now = checks(site, site.head())
    for what in ("disqualified", "reinstated"):
        assert {name: now[what][name] - before[what][name] for name in now[what]} == {"corrections": 1, "voters": 1, "votes": 1}


def test_the_page_has_the_same_numbers(site: Site, tool: str) -> None:
    """The page shows what programs read, and the foot of every page, each tool and the corrections lead to it."""
    found = checks(site, decide(site, submit(site.visitor(), tool)["id"], "reject", ground="off_topic"))
    page = site.anyone.get("/integrity")
    reviews = found["reviews"]
    cells = "".join(f"<td>{reviews[act].get('off_topic', 0)}</td>" for act in ("reported", "refused", "removed"))
    assert f'<tr><th scope="row">Not about this tool</th>{cells}</tr>' in page.text
    for path in ("/", f"/tools/{tool}", "/corrections"):
        assert 'href="/integrity"' in site.anyone.get(path).text


def test_the_measured_accuracy_is_that_of_the_data(site: Site) -> None:
    """Page, API and docs say what `make bench` last wrote, each from the same file."""
    page, measured = site.anyone.get("/integrity").text, site.anyone.get("/v1/integrity").json()["accuracy"]
    assert measured == msgspec.to_builtins(MEASURED)
    assert f"within a day, {MEASURED.brigades.percent}% were found" in page
    assert f"{MEASURED.mimics.percent}% of those were found" in page
    assert (integrity_accuracy.DOCS / "README.md").read_text() == integrity_accuracy.page(MEASURED)
