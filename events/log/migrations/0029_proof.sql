-- proof.log          the incarnations of the public log, 1 and then, after each restart, one more. Its origin is fixed when it is first
--                    signed. `published_size` is the size of the checkpoint that is served; it never shrinks. `vkeys` are the public
--                    keys that sign it, newest first. `unwitnessed_since` is set while what is served has fewer cosignatures than
--                    the policy asks for. Of a log that was given up, `common` says how much of it the next begins with.
-- proof.checkpoints  every note that was signed, stored before anybody sees it. Append only: triggers refuse UPDATE and TRUNCATE,
--                    and DELETE of what must stay: all of a day, then the last of each hour, what was cosigned or kept, the published
--                    one. No two roots can stand under one size.
-- proof.cosignatures the lines of witnesses under a checkpoint.
-- proof.kept         checkpoints that somebody holds a copy of: those in mails.
-- proof.witnesses    who is asked for cosignatures beside those that the policy names.
-- proof.asked        how far each witness said it is, what the last request failed with, and whether it knows another history.
-- proof.refusal      one row while the signer refuses to sign: why, what to do, and since when.

create schema proof;

create table proof.log (
    log               integer     not null,
    origin            text        not null collate "C",
    vkeys             text[]      not null,
    published_size    bigint      not null default 0,
    unwitnessed_since timestamptz,
    common            bigint,
    began_at          timestamptz not null default now(),
    constraint log_pkey primary key (log),
    constraint log_origin_key unique (origin),
    constraint log_number check (log > 0)
);

create table proof.checkpoints (
    log       integer     not null,
    size      bigint      not null,
    root      bytea       not null,
    note      text        not null,
    signed_at timestamptz not null default clock_timestamp(),
    constraint checkpoints_pkey primary key (log, size),
    constraint checkpoints_log_fkey foreign key (log) references proof.log (log),
    constraint checkpoints_size check (size > 0),
    constraint checkpoints_root check (octet_length(root) = 32)
);

create table proof.cosignatures (
    log         integer     not null,
    size        bigint      not null,
    witness     text        not null collate "C",
    line        text        not null,
    cosigned_at timestamptz not null,
    constraint cosignatures_pkey primary key (log, size, witness),
    constraint cosignatures_checkpoint_fkey foreign key (log, size) references proof.checkpoints (log, size) on delete cascade
);

create table proof.kept (
    log  integer not null,
    size bigint  not null,
    why  text    not null collate "C",
    constraint kept_pkey primary key (log, size, why),
    constraint kept_checkpoint_fkey foreign key (log, size) references proof.checkpoints (log, size)
);

create table proof.witnesses (
    vkey     text        not null collate "C",
    url      text        not null,
    added_at timestamptz not null default now(),
    constraint witnesses_pkey primary key (vkey)
);

create table proof.asked (
    log      integer     not null,
    witness  text        not null collate "C",
    size     bigint      not null default 0,
    failed   text,
    disputed boolean     not null default false,
    at       timestamptz not null default now(),
    constraint asked_pkey primary key (log, witness),
    constraint asked_log_fkey foreign key (log) references proof.log (log)
);

create table proof.refusal (
    only_row boolean     not null default true,
    what     text        not null,
    advice   text        not null,
    since    timestamptz not null default now(),
    constraint refusal_pkey primary key (only_row),
    constraint refusal_only_row check (only_row)
);

create function proof.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'checkpoints are append-only: % on proof.% is refused', tg_op, tg_table_name
        using errcode = 'integrity_constraint_violation';
end $$;

create trigger checkpoints_append_only before update or truncate on proof.checkpoints
    for each statement execute function proof.refuse_change();

create function proof.published_stays() returns trigger language plpgsql as $$
begin
    if new.origin <> old.origin or new.log <> old.log or new.published_size < old.published_size then
        raise exception 'what was published stays: the origin, and a size that grows'
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger log_published_stays before update on proof.log for each row execute function proof.published_stays();
create trigger log_stays before delete or truncate on proof.log for each statement execute function proof.refuse_change();

-- Whether a later checkpoint of the same hour stands for this one, and nobody needs this one by itself.
create function proof.may_go(c proof.checkpoints) returns boolean language sql stable as $$
    select c.signed_at < now() - interval '1 day'
       and not exists (select from proof.log l where l.log = c.log and l.published_size = c.size)
       and not exists (select from proof.kept k where k.log = c.log and k.size = c.size)
       and exists (
           select from proof.checkpoints n
           where n.log = c.log and n.size > c.size and date_trunc('hour', n.signed_at) = date_trunc('hour', c.signed_at))
       and (not exists (select from proof.cosignatures s where s.log = c.log and s.size = c.size)
            or exists (
                select from proof.checkpoints n join proof.cosignatures s on s.log = n.log and s.size = n.size
                where n.log = c.log and n.size > c.size
                  and date_trunc('hour', n.signed_at) = date_trunc('hour', c.signed_at)))
$$;

create function proof.refuse_loss() returns trigger language plpgsql as $$
begin
    if not proof.may_go(old) then
        raise exception 'the checkpoint of size % must stay', old.size using errcode = 'integrity_constraint_violation';
    end if;
    return old;
end $$;

create trigger checkpoints_stay before delete on proof.checkpoints for each row execute function proof.refuse_loss();
