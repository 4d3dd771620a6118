-- newsletter.mail_check        the last check of whether mail arrives. One row. `asked_at` is when an operator asked for another,
--                              `begun_at` when a worker last began one. While no issue has gone out, red lines hold the first
--                              one at a site that is public (`gates`), unless an operator waived that.
-- newsletter.mail_check_lines  what it found, a row a subject: in this state since `since`, last right at `right_at`. What was
--                              right and is wrong is an alarm. Nothing is lost with these rows but the memory of that.

create table newsletter.mail_check (
    only_row   boolean     not null default true,
    asked_at   timestamptz,
    begun_at   timestamptz,
    checked_at timestamptz,
    gates      boolean     not null default false,
    waived_at  timestamptz,
    waived_by  text,
    waived_for text,
    constraint mail_check_pkey primary key (only_row),
    constraint mail_check_only_row check (only_row)
);
insert into newsletter.mail_check default values;

create table newsletter.mail_check_lines (
    subject  text        collate "C" not null,
    state    text        collate "C" not null,
    says     text        not null,
    mend     text,
    publish  jsonb,
    since    timestamptz not null,
    right_at timestamptz,
    constraint mail_check_lines_pkey primary key (subject),
    constraint mail_check_lines_state check (state in ('right', 'wrong', 'unknown', 'note'))
);
