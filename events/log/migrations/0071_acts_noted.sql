-- Acts are noted by one function, whoever notes them, in the transaction of what was done.
--
-- operators.acts.reason            why, as the operator said; '' where nobody asked.
-- operators.acts.times, last_at    how often an operator signed in (or out) by the same way within an hour of the first time,
--                                  which is one act, and when it was the last time: a program that signs in every minute fills
--                                  no log.
-- operators.note                   notes an act at the log's head.

alter table operators.acts
    add column reason text not null default '',
    add column times bigint not null default 1,
    add column last_at timestamptz;
update operators.acts set reason = about, about = '' where kind = 'waived-mail-check';

create function operators.note(by_operator text, kind_ text, subject_ text, about_ text default '', reason_ text default '')
returns void language plpgsql as $$
begin
    if kind_ in ('signed-in', 'signed-out') then
        update operators.acts a set times = a.times + 1, last_at = clock_timestamp()
        where (a.position, a.id) = (
            select l.position, l.id from operators.acts l
            where l.at > now() - interval '1 hour' and l.operator = by_operator and l.kind = kind_ and l.about = about_
            order by l.at desc, l.id desc limit 1
        );
        if found then
            return;
        end if;
    end if;
    insert into operators.acts (position, operator, kind, subject, about, reason)
    select h.position, by_operator, kind_, subject_, about_, reason_ from log.head h;
end
$$;
