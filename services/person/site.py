"""What is kept about nobody: tools, numbers, and what the programs need to run."""

from typing import Final

from services.person.kept import Impersonal

IMPERSONAL: Final = (
    Impersonal(
        what="The log: every event, by position. Which of them are about people, and what of those, the rows of people say.",
        tables=("log.events", "log.parts", "log.head", "log.rewinds", "log.named_ballots", "import.events", "import.progress"),
        events=("EventDropped",),
    ),
    Impersonal(
        what="The catalog: tools, personas, what the panel said, and comparisons.",
        events=(
            "ToolAdded",
            "ToolDescribed",
            "ToolRenamed",
            "FormerSlugAdded",
            "ToolListed",
            "ToolUnlisted",
            "PanelReviewPublished",
            "PanelReviewRevised",
            "PersonaDescribed",
            "ComparisonAnnounced",
        ),
        tables=(
            "{cards}.tools",
            "{cards}.former_slugs",
            "{cards}.personas",
            "{cards}.places",
            "{cards}.panel",
            "{cards}.reviewers",
            "{cards}.categories",
            "{cards}.pairs",
            "{search}.documents",
            "{search}.words",
        ),
    ),
    Impersonal(
        what="Numbers of votes and reviews, and what they say of a tool.",
        events=("CorrectionRecorded", "BallotsVoided", "BallotsRestored"),
        tables=(
            "{cards}.tallies",
            "{hours}.hours",
            "{hours}.trends",
            "{hours}.trends_begin",
            "{reviews}.acts",
            "{corrections}.corrections",
            "{corrections}.corrected_tools",
            "{verdicts}.standings",
            "{verdicts}.judgements",
            "{verdicts}.verdicts",
        ),
    ),
    Impersonal(
        what="Votes that look bought, by tool, side and span: how many, and what their removal would change.",
        tables=(
            "integrity.cohorts",
            "integrity.finds",
            "integrity.scans",
            "integrity.puzzles",
            "{integrity}.cells",
            "{integrity}.ticks",
            "{integrity}.announcements",
            "{integrity}.kept",
            "{integrity}.decisions",
        ),
    ),
    Impersonal(
        what="The newsletter's schedule, pace and issues, what the mail check found of the site's own mail, and which mail"
        " servers asked for a pause.",
        events=("IssueSent",),
        tables=(
            "newsletter.schedule",
            "newsletter.periods",
            "newsletter.issues",
            "newsletter.slowdowns",
            "newsletter.holds",
            "newsletter.pace",
            "newsletter.days",
            "newsletter.mail_check",
            "newsletter.mail_check_lines",
        ),
    ),
    Impersonal(
        what="The public log: hashes, signed checkpoints, and who else signs them.",
        events=("LogKeyAdded", "LogRestarted"),
        tables=(
            "{proof}.tiles",
            "proof.log",
            "proof.checkpoints",
            "proof.cosignatures",
            "proof.kept",
            "proof.witnesses",
            "proof.asked",
            "proof.refusal",
        ),
        files=("checkpoint", "packs/*"),
    ),
    Impersonal(
        what="Webhooks: addresses that are told of what happens on the site. No message names a person or holds a text of one.",
        tables=("webhooks.subscriptions", "webhooks.secrets"),
    ),
    Impersonal(
        what="How far each part of the site has come, and how its processes are.",
        tables=(
            "{*}.checkpoint",
            "purge.progress",
            "status.processes",
            "status.starts",
            "status.sizes",
            "status.badge_hosts",
            "status.backups",
            "vault.leftovers",
            "public.ballotpress_migrations",
            "operators.failed_sign_ins",
            "status.backups",
        ),
        keys=("ballotpress:log:*", "ballotpress:tick", "ballotpress:worker:*", "arq:*"),
        files=("run.json", "up.lock", "log-mark", "sockets/*"),
    ),
    Impersonal(
        what="Keys, without which nothing sealed can be read.",
        files=("secrets", "operator.token"),
    ),
    Impersonal(
        what="The embedded servers' own files: the tables above, and logs of errors.",
        files=("postgres/*", "postgres.restoring/*", "check-*/*", "postgres.log", "archive.log", "valkey/*", "valkey.log"),
    ),
)
