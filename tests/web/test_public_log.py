"""The public log over HTTP: what outsiders fetch to check it, from its address alone."""

import base64
import gzip
import json
from hashlib import sha256
from typing import Any

import httpx
import pytest

from projections import merkle
from services.proof.checkpoint import Checkpoint, read_checkpoint, read_proof
from services.proof.note import read_vkey
from tests.support.http import Site
from tests.support.processes import wait_for
from tests.support.signing import root_of


def checkpoint(site: Site, least: int = 1) -> Checkpoint:
    """Return the published checkpoint, verified, once it covers a position."""
    found: list[Checkpoint] = []

    def covers() -> bool:
        answer = site.anyone.get("/log/1/checkpoint")
        if answer.status_code != 200:
            return False
        key = read_vkey(site.anyone.get("/log/1/log.vkey").text.strip())
        found.append(read_checkpoint(answer.content, [key]))
        return found[-1].size >= least

    assert wait_for(covers)
    return found[-1]


def path_of(n: int) -> str:
    """Return a tile's number as a path spells it."""
    parts = [f"{n % 1000:03}"]
    while n := n // 1000:
        parts.insert(0, f"x{n % 1000:03}")
    return "/".join(parts)


def entries_of(answer: httpx.Response) -> list[bytes]:
    """Return the entries in a tile of entries."""
    found, rest = [], answer.content
    while rest:
        length = int.from_bytes(rest[:2], "big")
        found.append(rest[2 : 2 + length])
        rest = rest[2 + length :]
    return found


@pytest.fixture(scope="module")
def grown(site: Site) -> Checkpoint:
    """A log of more than one tile."""
    tool, head = site.add_tool(), 0
    voters = [site.visitor() for _ in range(20)]
    while head < 300:
        for voter in voters:
            head = max(head, voter.vote(tool, "ship"), voter.vote(tool, "skip"))
    return checkpoint(site, head)


def test_the_whole_log_can_be_fetched_and_hashes_to_the_signed_root(site: Site, grown: Checkpoint) -> None:
    """Tiles of hashes and of entries agree with each other and with the checkpoint; each entry is one line of JSON."""
    hashes, entries = b"", []
    for n in range(-(-grown.size // 256)):
        width = merkle.tile_width(0, n, grown.size)
        tail = path_of(n) + (f".p/{width}" if width < 256 else "")
        hashes += site.anyone.get(f"/log/1/tile/0/{tail}").content
        entries += entries_of(site.anyone.get(f"/log/1/tile/entries/{tail}"))
    assert len(entries) == grown.size and all(isinstance(json.loads(entry), dict) for entry in entries)
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    assert hashes == b"".join(leaves)
    assert root_of(leaves) == grown.root
    assert site.anyone.get("/log/1/tile/1/000.p/1").content == root_of(leaves[:256])


def test_tiles_are_kept_for_ever_and_the_checkpoint_for_a_moment(site: Site, grown: Checkpoint) -> None:
    """Caches and browsers are told so; what they have is answered 304; HEAD works; every origin may read."""
    for path, cache, media in (
        ("/log/1/checkpoint", "public, max-age=2", "text/plain; charset=utf-8"),
        ("/log/1/log.vkey", "public, max-age=2", "text/plain; charset=utf-8"),
        ("/log/1/tile/0/000", "public, max-age=31536000, immutable", "application/octet-stream"),
        ("/log/1/tile/entries/000", "public, max-age=31536000, immutable", "application/octet-stream"),
    ):
        answer = site.anyone.get(path, headers={"Origin": "https://checker.example"})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == cache and answer.headers["content-type"] == media
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        again = site.anyone.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304 or path.endswith("checkpoint")
        head = site.anyone.call("HEAD", path)
        assert head.status_code == 200 and head.content == b""
        before = {"Origin": "https://checker.example", "Access-Control-Request-Method": "GET"}
        allowed = site.anyone.call("OPTIONS", path, headers=before)
        assert allowed.status_code == 204 and allowed.headers["access-control-allow-origin"] == "*"
        assert "GET" in allowed.headers["access-control-allow-methods"]


def test_a_refusal_can_be_read_by_every_origin_too(site: Site, grown: Checkpoint) -> None:
    """A page that checks us must see that a tile isn't there."""
    answer = site.anyone.get("/log/1/tile/0/999", headers={"Origin": "https://checker.example"})
    assert answer.status_code == 404 and answer.headers["access-control-allow-origin"] == "*"


def test_no_other_path_is_open_to_every_origin(site: Site) -> None:
    """The rest of the API stays as it was."""
    for path in ("/v1/tools", "/logs/1/checkpoint", "/v1/log/proof?position=1"):
        assert "access-control-allow-origin" not in site.anyone.get(path, headers={"Origin": "https://x.example"}).headers


def test_entries_are_packed_for_whoever_takes_gzip(site: Site, grown: Checkpoint) -> None:
    """The same bytes, a fifth of the size."""
    packed = site.anyone.get("/log/1/tile/entries/000", headers={"Accept-Encoding": "gzip"})
    plain = site.anyone.get("/log/1/tile/entries/000", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.content == plain.content and int(packed.headers["content-length"]) < len(plain.content) / 2


@pytest.mark.parametrize(
    "path",
    [
        "/log/1/tile/0/999",
        "/log/1/tile/0/x001/000",
        "/log/1/tile/0/x000/000",
        "/log/1/tile/0/0",
        "/log/1/tile/0/000.p/256",
        "/log/1/tile/0/000.p/0",
        "/log/1/tile/0/000.p/01",
        "/log/1/tile/0/000.p",
        "/log/1/tile/00/000",
        "/log/1/tile/1/000",
        "/log/1/tile/64/000",
        "/log/1/tile/9/000.p/1",
        "/log/1/tile/entries/999.p/255",
        "/log/1/tile/entries",
        "/log/1/tile/other/000",
        "/log/1/tile/-1/000",
        "/log/2/checkpoint",
        "/log/01/checkpoint",
        "/log/0/checkpoint",
        "/log/1/pack/0.jsonl.gz",
        "/log/1/pack/00.jsonl.gz",
        "/log/1/pack/0.jsonl",
    ],
)
def test_what_no_published_checkpoint_covers_is_not_there(site: Site, grown: Checkpoint, path: str) -> None:
    """Nor is a second spelling of what is."""
    assert site.anyone.get(path).status_code == 404, path


def test_every_width_that_was_published_stays(site: Site, grown: Checkpoint) -> None:
    """A partial tile of any size is a prefix of what it became."""
    whole = site.anyone.get("/log/1/tile/0/000").content
    for width in (1, 2, 100, 255):
        assert site.anyone.get(f"/log/1/tile/0/000.p/{width}").content == whole[: 32 * width]
        assert len(entries_of(site.anyone.get(f"/log/1/tile/entries/000.p/{width}"))) == width


def test_a_voter_gets_a_proof_of_the_vote(site: Site, grown: Checkpoint) -> None:
    """At once, though no checkpoint covers it yet: the entry, under the name that the voter computes, and a signed root."""
    tool = site.add_tool()
    voter = site.visitor()
    position = voter.vote(tool, "skip")
    answer = voter.get(f"/v1/tools/{tool}/vote/proof")
    assert wait_for(lambda: answer.status_code == 200 or _again(answer, voter, tool))
    answer = voter.get(f"/v1/tools/{tool}/vote/proof")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "private, no-cache"
    proof = read_proof(answer.content, [read_vkey(site.anyone.get("/log/1/log.vkey").text.strip())])
    assert proof.index == position - 1 and proof.extra is not None
    leaf = merkle.leaf_hash(proof.extra)
    assert merkle.verify_inclusion(proof.index, proof.checkpoint.size, leaf, proof.hashes, proof.checkpoint.root)
    assert not merkle.verify_inclusion(proof.index - 1, proof.checkpoint.size, leaf, proof.hashes, proof.checkpoint.root)
    entry = json.loads(proof.extra)
    name = sha256(f"ballotpress ballot v1\n{voter.visitor}\n{entry['tool']}".encode()).hexdigest()[:32]
    assert (entry["type"], entry["choice"], entry["ballot"]) == ("VoteCast", "skip", name)
    assert voter.visitor.encode() not in answer.content


def _again(answer: httpx.Response, voter: Any, tool: str) -> bool:
    assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
    return bool(voter.get(f"/v1/tools/{tool}/vote/proof").status_code == 200)


def test_who_did_not_vote_has_no_proof(site: Site) -> None:
    """A visitor without a vote gets 404, as for a tool that isn't there; nobody in particular 401."""
    tool = site.add_tool()
    assert site.visitor().get(f"/v1/tools/{tool}/vote/proof").status_code == 404
    assert site.visitor().get("/v1/tools/no-such-tool/vote/proof").status_code == 404
    assert site.anyone.get(f"/v1/tools/{tool}/vote/proof").status_code == 401


def test_anybody_gets_proofs_of_positions_and_of_growth(site: Site, grown: Checkpoint) -> None:
    """Inclusion in any published tree, and consistency from any to any larger one."""
    entries = entries_of(site.anyone.get("/log/1/tile/entries/000"))
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    for position, size in ((1, 1), (1, 200), (200, 200), (77, 255)):
        answer = site.anyone.get("/v1/log/proof", position=position, size=size).json()
        hashes = [base64.b64decode(one) for one in answer["hashes"]]
        assert (answer["index"], answer["size"]) == (position - 1, size)
        assert merkle.verify_inclusion(position - 1, size, leaves[position - 1], hashes, root_of(leaves[:size]))
    for old, new in ((1, 2), (100, 250), (255, 256), (200, 200)):
        answer = site.anyone.get("/v1/log/consistency", from_=old, to=new).json()
        hashes = [base64.b64decode(one) for one in answer["hashes"]]
        assert (answer["from"], answer["to"]) == (old, new)
        assert merkle.verify_consistency(old, new, hashes, root_of(leaves[:old]), root_of(leaves[:new]))
    newest = site.anyone.get("/v1/log/proof", position=1).json()
    assert newest["size"] >= grown.size
    assert site.anyone.get("/v1/log/consistency", from_=1).json()["to"] >= grown.size


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("proof", 400),
        ("proof?position=0", 400),
        ("proof?position=x", 400),
        ("proof?position=1&size=0", 400),
        ("proof?position=9007199254740993", 400),
        ("proof?position=9007199254740992", 404),
        ("proof?position=3&size=2", 404),
        ("proof?position=1&size=9007199254740992", 404),
        ("consistency", 400),
        ("consistency?from=0", 400),
        ("consistency?from=2&to=1", 400),
        ("consistency?from=1&to=9007199254740992", 404),
        ("consistency?from=9007199254740992", 404),
    ],
)
def test_proofs_of_what_is_not_there_are_refused(site: Site, grown: Checkpoint, query: str, status: int) -> None:
    """Bad input is 400, what isn't published 404."""
    assert site.anyone.get(f"/v1/log/{query}").status_code == status


def test_gzip_of_the_standard_library_agrees(site: Site, grown: Checkpoint) -> None:
    """What is sent packed is gzip, whole and with nothing behind."""
    with site.client.stream("GET", "/log/1/tile/entries/000", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert gzip.decompress(raw) == site.anyone.get("/log/1/tile/entries/000").content
