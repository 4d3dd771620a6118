"""The examples that each command's `--help` ends with."""

from collections.abc import Mapping, Sequence
from typing import Final

_VISITOR: Final = "AaIVsTR5fmSaI9BzfiWzhA"
_WITNESS: Final = "witness.example/w1+WITNESSID+WITNESSKEY"

EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "up": ("up --port 8001", "up --home /srv/ballotpress --catalog catalog.json --smtp smtp://127.0.0.1:2525"),
    "api": ("api", "api --host 0.0.0.0 --port 8080"),
    "projector": ("projector",),
    "worker": ("worker",),
    "settings": ("settings",),
    "migrate": ("migrate", "migrate --citus"),
    "catalog import": ("catalog import catalog.json", "catalog import catalog.json --json"),
    "replay": ("replay --dry-run", "replay cards --keep-previous", "replay --rollback cards"),
    "verify": ("verify", "verify cards hours --json"),
    "proof status": ("proof status", "proof status --json"),
    "proof key": ("proof key", "proof key --new"),
    "proof export": ("proof export public.jsonl", "proof export - --to 1000"),
    "proof resume": ("proof resume /srv/ballotpress/checkpoint",),
    "proof restart": ('proof restart --reason "the disk and its backups burned; 12 votes are lost"',),
    "proof witness add": (f"proof witness add {_WITNESS} https://witness.example",),
    "proof witness remove": ("proof witness remove witness.example/w1",),
    "proof witness list": ("proof witness list",),
    "explain tally": ("explain tally ollama", "explain tally ollama --as-of 2026-11-22T09:00:00Z --all"),
    "explain tool": ("explain tool ollama",),
    "explain review": (f"explain review {_VISITOR}",),
    "status": ("status", "status --watch"),
    "digest preview": ("digest preview --to previews", f"digest preview --reader {_VISITOR}"),
    "digest compile": ("digest compile --edition monthly", "digest compile --verify 12"),
    "digest send": ("digest send --now", "digest send --to me@example.com", "digest send --to me@example.com --issue 3"),
    "digest status": ("digest status", "digest status 12 --missed"),
    "digest resolve": (
        "digest resolve 12 --uncertain drop",
        "digest resolve 12 --refused resend",
        "digest resolve 12 --by-log /var/log/mail.log",
    ),
    "digest pause": ("digest pause",),
    "digest holds": ("digest holds", "digest holds --json"),
    "digest resume": ("digest resume", "digest resume --provider google"),
    "digest cancel": ("digest cancel 12",),
    "digest marks-lost": ("digest marks-lost", "digest marks-lost --yes"),
    "subscribers import": (
        "subscribers import readers.csv --dry-run",
        'subscribers import export.csv --proof "the form of the old site" --dates day-first',
    ),
    "subscribers suppressed": ("subscribers suppressed --most 20",),
    "subscribers reinstate": ('subscribers reinstate ada@example.com --reason "our own fault, mended"',),
    "subscribers consent": ("subscribers consent ada@example.com", "subscribers consent ada@example.com --json"),
    "subscribers export": ("subscribers export ada@example.com",),
    "subscribers erase": ("subscribers erase ada@example.com --yes",),
    "person export": ("person export ada@example.com", f"person export {_VISITOR}"),
    "person erase": ("person erase ada@example.com --yes", f"person erase {_VISITOR}"),
    "person kept": ("person kept",),
    "mail check": ("mail check", "mail check --json"),
    "mail waive": ('mail waive --reason "A trial among friends"', "mail waive --undo"),
    "mail ingest": ("mail ingest bounce.eml", "mail ingest -", "mail ingest --maildir bounces --follow"),
    "integrity scan": ("integrity scan", "integrity scan --json"),
    "integrity list": ("integrity list", "integrity list --status voided --json"),
    "integrity show": (f"integrity show {_VISITOR}",),
    "integrity void": (f'integrity void {_VISITOR} --reason "one hand, many names"',),
    "integrity dismiss": (f'integrity dismiss {_VISITOR} --reason "a launch that a forum wrote about"',),
    "integrity watch": (f'integrity watch {_VISITOR} --reason "odd, but few"',),
    "integrity undo": (f'integrity undo {_VISITOR} --reason "a mistake of ours"',),
    "voters void": (
        f'voters void {_VISITOR} --reason "votes bought" --dry-run',
        'voters void @cohort.txt --reason "votes bought"',
    ),
    "voters reinstate": (f'voters reinstate {_VISITOR} --reason "a mistake of ours"',),
    "puzzle on": ("puzzle on aider --hours 2",),
    "puzzle off": ("puzzle off aider",),
    "puzzle list": ("puzzle list",),
    "purge": ("purge", "purge ollama llama-cpp"),
    "visitors erase": (f"visitors erase {_VISITOR}",),
    "webhooks add": (
        "webhooks add https://example.com/hooks/ballotpress",
        'webhooks add https://example.com/hooks --kind verdict.changed --kind settled.changed --note "the site"',
    ),
    "webhooks list": ("webhooks list", "webhooks list --json"),
    "webhooks show": (f"webhooks show {_VISITOR}",),
    "webhooks off": (f'webhooks off {_VISITOR} --reason "the receiver moves house"',),
    "webhooks on": (f"webhooks on {_VISITOR}",),
    "webhooks replay": (f"webhooks replay {_VISITOR} --from 1234",),
    "webhooks rotate": (f"webhooks rotate {_VISITOR}", f"webhooks rotate {_VISITOR} --hours 0"),
    "webhooks test": (f"webhooks test {_VISITOR}",),
    "webhooks remove": (f"webhooks remove {_VISITOR} --yes",),
    "quarantine list": ("quarantine list",),
    "quarantine drop": ('quarantine drop 1234 --reason "written by a later release"',),
    "operators sessions": ("operators sessions", "operators sessions --json"),
    "operators end": (f"operators end {_VISITOR}", "operators end --operator ann", "operators end --all"),
    "operators log": (
        "operators log --operator ann --since 2026-11-23",
        "operators log --kind reviews --about ollama",
        "operators log --csv",
    ),
    "keys rewrap": ("keys rewrap",),
    "keys sweep": ("keys sweep",),
    "events tail": ("events tail", "events tail --from 1 --no-follow --json"),
    "events export": ("events export log.jsonl", "events export - --from 100 --to 120"),
    "events import": ("events import log.jsonl",),
    "events parts": ("events parts", "events parts --check"),
    "events archive": ("events archive 0 --to /srv/archive", "events archive 0 --to s3://bucket/ballotpress"),
    "events unarchive": ("events unarchive 0",),
    "backup": ("backup /mnt/backups --keep 7", "backup /mnt/backups --encrypt", "backup /mnt/backups --list"),
    "restore": (
        "restore /mnt/backups --check",
        "restore /mnt/backups --home /srv/ballotpress --to 2026-11-23T09:00:00Z",
        "restore /mnt/backups --to 48120",
    ),
}
"""Of each command by its name, without `ballotpress` before it."""


def shown(command: str) -> str | None:
    """Return a command's examples as the end of its help; None for a group. Blank lines keep them apart."""
    lines = EXAMPLES.get(command)
    return None if lines is None else "\n\n".join(["Examples:", *(f"  ballotpress {line}" for line in lines)])
