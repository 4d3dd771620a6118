-- A year's log, made in blocks of 100 events: 66 first votes, 20 changes, 5 retractions, 5 bookmarks and 1 that is removed,
-- 1 review and 1 approval, and 1 that is a void, a correction or another vote. What refers to an earlier event refers to one of
-- the block before.

-- functions: visitors rise with time, as real ids do; what they choose is a hash of the event's number
create schema bench;
create table bench.tools as
select data->>'tool' as tool, row_number() over (order by data->>'slug') as n from log.events where type = 'ToolAdded';
create unique index on bench.tools (n);
create function bench.hash(n bigint) returns float8 language sql immutable parallel safe as
    $$ select ((n * 2654435761) % 4294967296)::float8 / 4294967296 $$;
create function bench.raw(n bigint) returns bytea language sql immutable parallel safe as
    $$ select substring(int8send((1700000000000 + n) << 16) for 6) || '\x7000'::bytea
              || substring(decode(md5(n::text), 'hex') for 8) $$;
create function bench.id(n bigint) returns text language sql immutable parallel safe as
    $$ select translate(rtrim(encode(bench.raw(n), 'base64'), '='), '+/', '-_') $$;
create function bench.beside(n bigint, what text) returns uuid language sql immutable parallel safe as
    $$ select encode(substring(bench.raw(n) for 8) || substring(decode(md5(what || n), 'hex') for 8), 'hex')::uuid $$;
create function bench.whole(n bigint) returns uuid language sql immutable parallel safe as
    $$ select encode(bench.raw(n), 'hex')::uuid $$;
create function bench.choice(n bigint) returns text language sql immutable parallel safe as
    $$ select case when bench.hash(n * 7 + 3) < 0.7 then 'ship' else 'skip' end $$;
create function bench.other(n bigint) returns text language sql immutable parallel safe as
    $$ select case when bench.choice(n) = 'ship' then 'skip' else 'ship' end $$;

-- fill: a tool's share falls as 1 / its rank, which is tools ^ u, u even in [0, 1)
insert into log.events (stream, position, recorded_at, version, schema_version, type, data, meta)
select case k.kind when 'bookmark' then bench.beside(m.n, 'bookmark') when 'unbookmark' then bench.beside(m.n, 'bookmark')
                   when 'review' then bench.whole(m.n) when 'approval' then bench.whole(m.n) when 'void' then bench.whole(m.n)
                   when 'correction' then bench.whole(m.n) else bench.beside(m.n, 'ballot') end,
       $3 + e.n + 1,
       now() - interval '364 days' + (e.n + 1) * ($4 * interval '1 microsecond'),
       case when k.kind in ('change', 'retraction', 'unbookmark', 'approval') then 2 else 1 end,
       1,
       case k.kind when 'bookmark' then 'ToolBookmarked' when 'unbookmark' then 'BookmarkRemoved'
                   when 'review' then 'ReviewSubmitted' when 'approval' then 'ReviewApproved'
                   when 'void' then 'VoterDisqualified' when 'correction' then 'CorrectionRecorded'
                   when 'retraction' then 'VoteRetracted' else 'VoteCast' end,
       case k.kind
           when 'vote' then jsonb_build_object('voter', bench.id(m.n), 'tool', t.tool, 'choice', bench.choice(m.n))
           when 'change' then jsonb_build_object('voter', bench.id(m.n), 'tool', t.tool, 'choice', bench.other(m.n),
                                                 'previous', bench.choice(m.n))
           when 'retraction' then jsonb_build_object('voter', bench.id(m.n), 'tool', t.tool, 'previous', bench.choice(m.n))
           when 'review' then jsonb_build_object('review', bench.id(m.n), 'visitor', bench.id(m.n + 1), 'tool', t.tool,
                                                 'verdict', bench.choice(m.n), 'score', 50, 'text', repeat('c2VhbGVk', 30))
           when 'approval' then jsonb_build_object('review', bench.id(m.n), 'revision', 1)
           when 'void' then jsonb_build_object('voter', bench.id(m.n), 'correction', bench.id(m.n + 2),
                                               'ballots', jsonb_build_array(jsonb_build_array(t.tool, bench.choice(m.n))))
           when 'correction' then jsonb_build_object(
               'correction', bench.id(m.n), 'action', 'disqualified', 'reason', 'one hand', 'voters', 20, 'votes', 20,
               'tools', jsonb_build_array(jsonb_build_object('tool', t.tool, 'before', jsonb_build_array(9, 9),
                                                              'after', jsonb_build_array(8, 9))))
           else jsonb_build_object('visitor', bench.id(m.n), 'tool', t.tool)
       end,
       null
from generate_series($1::bigint, $2::bigint - 1) e(n)
cross join lateral (select e.n / 100 as block, e.n % 100 as slot) b
cross join lateral (
    select case when b.slot < 66 or b.block < 2 and b.slot not in (91, 97) then 'vote'
                when b.slot < 86 then 'change'
                when b.slot < 91 then 'retraction'
                when b.slot < 96 then 'bookmark'
                when b.slot = 96 then 'unbookmark'
                when b.slot = 97 then 'review'
                when b.slot = 98 then 'approval'
                when b.block % 1000 between 10 and 29 then 'void'
                when b.block % 1000 = 30 then 'correction'
                else 'vote' end as kind
) k
cross join lateral (
    select case k.kind when 'change' then e.n - b.slot - 100 + (b.slot - 66) * 3
                       when 'retraction' then e.n - b.slot - 100 + b.slot - 26
                       when 'unbookmark' then e.n - 105
                       when 'approval' then e.n - 101
                       when 'void' then e.n - b.slot - 200 + 1
                       else e.n end as n
) m
join bench.tools t on t.n = 1 + floor($5 ^ bench.hash(m.n))::bigint % $5::bigint;
