-- The best single statements that make each view's tables from the whole log.

-- cards
insert into tools
select e.data->>'tool', e.data->>'slug', e.data->>'name', e.data->>'tagline', e.data->>'description', e.data->>'category',
       e.data->>'pricing_tier', e.data->>'pricing_label', e.data->>'best_for', e.data->>'url',
       (e.data->>'reviewed')::date, e.data->>'disclosure', e.data->>'successor', true, e.position
from log.events e where e.type = 'ToolAdded';

-- cards
insert into former_slugs
select e.data->>'slug', e.data->>'tool', e.position from log.events e where e.type = 'FormerSlugAdded';

-- cards
insert into personas
select lower(e.data->>'persona' collate "C"), e.data->>'persona', e.data->>'role', e.data->>'phrase', e.data->>'profile',
       array(select jsonb_array_elements_text(e.data->'excited_by')), array(select jsonb_array_elements_text(e.data->'tired_of')),
       e.position
from log.events e where e.type = 'PersonaDescribed';

-- cards
insert into panel
select e.data->>'tool', e.data->>'persona', (e.data->>'score')::integer, e.data->>'verdict', e.data->>'take', e.position,
       e.position, t.category, t.listed
from log.events e join tools t on t.tool = e.data->>'tool' where e.type = 'PanelReviewPublished';

-- cards
insert into places
select t.tool, t.slug, t.name, t.category, t.listed,
       coalesce(-((200 * p.ships + p.reviews) / (2 * p.reviews)), 1), coalesce(-p.reviews, 0)
from tools t left join (
    select tool, count(*)::integer as reviews, (count(*) filter (where verdict = 'ship'))::integer as ships from panel group by tool
) p on p.tool = t.tool;

-- cards
insert into reviewers
select persona, category, count(*), count(*) filter (where verdict = 'ship') from panel where listed group by persona, category;

-- cards
insert into categories select category, count(*) from tools where listed group by category;

-- cards
insert into pairs select e.data->>'left', e.data->>'right', e.position from log.events e where e.type = 'ComparisonAnnounced';

-- tallies
insert into tallies
select t.tool, coalesce(d.ship, 0), coalesce(d.skip, 0), coalesce(d.position, 0), t.slug, t.category, t.listed
from tools t left join (
select d.tool, count(*) filter (where d.plus = 'ship') - count(*) filter (where d.minus = 'ship') as ship,
       count(*) filter (where d.plus = 'skip') - count(*) filter (where d.minus = 'skip') as skip, max(d.position) as position
from (
    select e.data->>'tool' as tool, e.data->>'choice' as plus, e.data->>'previous' as minus, e.position
    from log.events e where e.type in ('VoteCast', 'VoteRetracted')
    union all
    select b.ballot->>0, case when e.type = 'VoterReinstated' then b.ballot->>1 end,
           case when e.type = 'VoterDisqualified' then b.ballot->>1 end, e.position
    from log.events e cross join lateral jsonb_array_elements(e.data->'ballots') as b(ballot)
    where e.type in ('VoterDisqualified', 'VoterReinstated')
) d
group by d.tool
) d on d.tool = t.tool;

-- hours
insert into disqualified
select l.voter from (
    select distinct on (e.data->>'voter') e.data->>'voter' as voter, e.type from log.events e
    where e.type in ('VoterDisqualified', 'VoterReinstated') order by e.data->>'voter', e.position desc
) l where l.type = 'VoterDisqualified';

-- hours
alter table days drop constraint days_pkey;

-- hours
insert into days (first_position, day, ship, skip, tool, hours, voided)
select min(h.begins), h.day, sum(h.ship), sum(h.skip), h.tool,
       array_agg(array[h.n, h.ship, h.skip, (h.first_position - h.begins)::integer, (h.last_position - h.begins)::integer]
                 order by h.n),
       array_agg(array[h.n, h.void_ship, h.void_skip] order by h.n) filter (where h.void_ship <> 0 or h.void_skip <> 0)
from (
    select c.tool, c.day, c.n, sum(c.ship)::integer as ship, sum(c.skip)::integer as skip,
           sum(c.void * c.ship)::integer as void_ship, sum(c.void * c.skip)::integer as void_skip,
           min(c.position) as first_position, max(c.position) as last_position,
           min(min(c.position)) over (partition by c.day, c.tool) as begins
    from (
        select d.tool, date '1970-01-01' + d.hour / 24 as day, d.hour % 24 as n, d.position,
               (d.plus is not distinct from 'ship')::integer - (d.minus is not distinct from 'ship')::integer as ship,
               (d.plus is not distinct from 'skip')::integer - (d.minus is not distinct from 'skip')::integer as skip,
               (not d.vote or q.voter is not null)::integer as void
        from (
            select e.data->>'tool' as tool, e.data->>'voter' as voter, e.data->>'choice' as plus, e.data->>'previous' as minus,
                   floor(date_part('epoch', e.recorded_at) / 3600)::integer as hour, e.position, true as vote
            from log.events e where e.type in ('VoteCast', 'VoteRetracted')
            union all
            select b.ballot->>0, e.data->>'voter', case when e.type = 'VoterReinstated' then b.ballot->>1 end,
                   case when e.type = 'VoterDisqualified' then b.ballot->>1 end,
                   floor(date_part('epoch', e.recorded_at) / 3600)::integer, e.position, false
            from log.events e cross join lateral jsonb_array_elements(e.data->'ballots') as b(ballot)
            where e.type in ('VoterDisqualified', 'VoterReinstated')
        ) d
        left join disqualified q on q.voter = d.voter
    ) c
    group by c.day, c.tool, c.n
) h
group by h.day, h.tool;

-- hours
alter table days add constraint days_pkey primary key (tool, day);

-- hours
insert into trends_begin (hour, last_hour)
select date_trunc('hour', e.recorded_at, 'UTC') - interval '7 days', date_trunc('hour', e.recorded_at, 'UTC')
from log.events e where e.type in ('VoteCast', 'VoteRetracted', 'VoterDisqualified', 'VoterReinstated')
order by e.position desc limit 1;

-- hours
insert into trends
select e.data->>'tool', e.data->>'slug', e.data->>'category', true, coalesce(h.net, 0), coalesce(h.ship, 0), coalesce(h.skip, 0),
       coalesce(l.hour, '-infinity'), coalesce(l.first_position, 0), coalesce(l.last_position, 0), coalesce(l.ship, 0),
       coalesce(l.skip, 0), coalesce(l.ship - l.corrected_ship, 0), coalesce(l.skip - l.corrected_skip, 0)
from log.events e left join (
    select c.tool, max(c.day) as last_day, sum(c.ship - c.skip) filter (where c.late) as net,
           sum(c.ship) filter (where not c.late) as ship, sum(c.skip) filter (where not c.late) as skip
    from (
        select d.tool, d.day, d.ship, d.skip, d.day > (b.hour at time zone 'UTC')::date as late
        from days d cross join trends_begin b where d.day <> (b.hour at time zone 'UTC')::date
        union all
        select h.tool, h.day, h.ship, h.skip, h.hour >= b.hour
        from trends_begin b join hours_over h on h.day = (b.hour at time zone 'UTC')::date
    ) c
    group by c.tool
) h on h.tool = e.data->>'tool'
left join lateral (
    select o.* from hours_over o where o.tool = h.tool and o.day = h.last_day order by o.n desc limit 1
) l on true
where e.type = 'ToolAdded';

-- hours
delete from days d using trends_begin b
where d.day = (b.last_hour at time zone 'UTC')::date and array_upper(d.hours, 1) = 1
  and d.hours[1][1] = date_part('hour', b.last_hour at time zone 'UTC');

-- hours
update days d
set ship = d.ship - t.last_ship, skip = d.skip - t.last_skip, hours = d.hours[:array_upper(d.hours, 1) - 1],
    voided = case when t.void_ship = 0 and t.void_skip = 0 then d.voided
                  else nullif(d.voided[:array_upper(d.voided, 1) - 1], '{}') end
from trends_begin b join trends t on t.last_hour = b.last_hour
where d.tool = t.tool and d.day = (b.last_hour at time zone 'UTC')::date and array_upper(d.hours, 1) > 1
  and d.hours[array_upper(d.hours, 1)][1] = date_part('hour', b.last_hour at time zone 'UTC');

-- bookmarks
insert into bookmarks
select l.data->>'visitor', l.data->>'tool', l.position from (
    select distinct on (e.stream) e.data, e.type, e.position from log.events e
    where e.type in ('ToolBookmarked', 'BookmarkRemoved') order by e.stream, e.position desc
) l where l.type = 'ToolBookmarked';

-- reviews
insert into reviews
select s.data->>'review', s.data->>'visitor', s.data->>'tool', case when a.position is null then 'pending' else 'approved' end,
       1, s.data->>'verdict', (s.data->>'score')::integer, s.data->>'text', s.data->>'name', s.data->>'ties', s.position,
       s.recorded_at,
       coalesce(a.position, s.position), (a.data->>'revision')::integer,
       case when a.position is not null then s.data->>'verdict' end,
       case when a.position is not null then (s.data->>'score')::integer end,
       case when a.position is not null then s.data->>'text' end, case when a.position is not null then s.data->>'name' end,
       case when a.position is not null then s.data->>'ties' end,
       a.position, a.recorded_at
from log.events s left join log.events a on a.stream = s.stream and a.type = 'ReviewApproved'
where s.type = 'ReviewSubmitted';

-- reviews
insert into acts
select 'approved', '', count(*), max(position) from log.events where type = 'ReviewApproved' having count(*) > 0;

-- corrections
insert into corrections
select e.data->>'correction', e.data->>'action', e.data->>'reason', (e.data->>'voters')::bigint, (e.data->>'votes')::bigint,
       e.recorded_at, e.position
from log.events e where e.type = 'CorrectionRecorded';

-- corrections
insert into corrected_tools
select e.data->>'correction', t.tool->>'tool', (t.tool->'before'->>0)::bigint, (t.tool->'before'->>1)::bigint,
       (t.tool->'after'->>0)::bigint, (t.tool->'after'->>1)::bigint
from log.events e cross join lateral jsonb_array_elements(e.data->'tools') as t(tool) where e.type = 'CorrectionRecorded';

-- verdicts
insert into judgements
select distinct on (e.data->>'tool', e.data->>'persona') e.data->>'tool', e.data->>'persona', e.data->>'verdict'
from log.events e where e.type in ('PanelReviewPublished', 'PanelReviewRevised')
order by e.data->>'tool', e.data->>'persona', e.position desc;

-- verdicts
insert into verdicts
select k.tool, k.kind, k.position, k.recorded_at, k.before, k.after, t.data->>'category', true
from (
    select c.tool, v.kind, c.position, c.recorded_at, v.verdict as after,
           lag(v.verdict) over (partition by c.tool, v.kind order by c.position) as before
    from (
        select d.tool, d.position, d.recorded_at, (sum(d.ship) over w)::bigint as ship, (sum(d.skip) over w)::bigint as skip
        from (
            select t.tool, t.position, t.recorded_at,
                   (t.plus is not distinct from 'ship')::integer - (t.minus is not distinct from 'ship')::integer as ship,
                   (t.plus is not distinct from 'skip')::integer - (t.minus is not distinct from 'skip')::integer as skip
            from log.tally_changes t
        ) d
        window w as (partition by d.tool order by d.position)
    ) c
    cross join lateral (
        values ('community', log.community_verdict(c.ship, c.skip)), ('settled', log.settled_verdict(c.ship, c.skip))
    ) as v(kind, verdict)
    union all
    select p.tool, 'panel', p.position, p.recorded_at,
           case when p.lead > 0 then 'ship' when p.lead < 0 then 'skip' else 'mixed' end,
           lag(case when p.lead > 0 then 'ship' when p.lead < 0 then 'skip' else 'mixed' end)
               over (partition by p.tool order by p.position)
    from (
        select j.tool, j.position, j.recorded_at,
               sum(j.said - coalesce(j.was, 0)) over (partition by j.tool order by j.position) as lead
        from (
            select e.data->>'tool' as tool, e.position, e.recorded_at, s.said,
                   lag(s.said) over (partition by e.data->>'tool', e.data->>'persona' order by e.position) as was
            from log.events e cross join lateral (select case e.data->>'verdict' when 'ship' then 1 else -1 end) as s(said)
            where e.type in ('PanelReviewPublished', 'PanelReviewRevised')
        ) j
    ) p
) k
join log.events t on t.type = 'ToolAdded' and t.data->>'tool' = k.tool
where k.before is distinct from k.after;

-- verdicts
insert into standings
select t.tool, t.category, true, t.added, coalesce(y.ship, 0), coalesce(y.skip, 0), coalesce(j.ship, 0), coalesce(j.skip, 0),
       case when j.ship > j.skip then 'ship' when j.ship < j.skip then 'skip' when j.ship = j.skip then 'mixed' end,
       log.community_verdict(y.ship, y.skip), log.settled_verdict(y.ship, y.skip),
       greatest(t.added, y.position, p.position), greatest(t.recorded_at, y.recorded_at, p.recorded_at)
from (
    select e.data->>'tool' as tool, e.data->>'category' as category, e.position as added, e.recorded_at
    from log.events e where e.type = 'ToolAdded'
) t
left join (
    select c.tool, (count(*) filter (where c.plus = 'ship') - count(*) filter (where c.minus = 'ship'))::bigint as ship,
           (count(*) filter (where c.plus = 'skip') - count(*) filter (where c.minus = 'skip'))::bigint as skip,
           max(c.position) as position, max(c.recorded_at) as recorded_at
    from log.tally_changes c group by c.tool
) y on y.tool = t.tool
left join (
    select tool, count(*) filter (where verdict = 'ship') as ship, count(*) filter (where verdict = 'skip') as skip
    from judgements group by tool
) j on j.tool = t.tool
left join (
    select e.data->>'tool' as tool, max(e.position) as position, max(e.recorded_at) as recorded_at
    from log.events e where e.type in ('PanelReviewPublished', 'PanelReviewRevised') group by 1
) p on p.tool = t.tool;

-- integrity
insert into kept
select true, l.since, count(*) filter (where e.recorded_at < l.since)
from log.events e
cross join (
    select date_trunc('day', e.recorded_at, 'UTC') - interval '43 days' as since
    from log.events e where e.type = 'VoteCast' order by e.position desc limit 1
) l
where e.type = 'VoteCast'
group by l.since;

-- integrity
insert into cells
select v.tool, v.at, count(*) filter (where v.ship), count(*) filter (where not v.ship),
       count(*) filter (where v.ship and v.young), count(*) filter (where not v.ship and v.young),
       min(v.position), max(v.position)
from (
    select e.data->>'tool' as tool, date_bin('10 minutes', e.recorded_at, timestamptz '2000-01-01 00:00+00') as at,
           e.data->>'choice' = 'ship' as ship,
           coalesce(log.made_at(e.data->>'voter') > extract(epoch from e.recorded_at) * 1000 - 600000, false) as young, e.position
    from log.events e where e.type = 'VoteCast' and e.recorded_at >= (select since from kept)
) v
group by 1, 2;

-- integrity
insert into ticks
select at, sum(ship + skip), sum(young_ship + young_skip), max(last_position) from cells group by at;

-- integrity
insert into announcements
select distinct t.tool, e.position, e.recorded_at
from log.events e cross join lateral (values (e.data->>'tool'), (e.data->>'left'), (e.data->>'right')) as t(tool)
where e.type in ('ToolAdded', 'ComparisonAnnounced') and t.tool is not null and e.recorded_at >= (select since from kept);

-- proof
insert into tiles
select 0, s.position - 1 >> 8, string_agg(s.leaf, ''::bytea order by s.position)
from (select position, sha256('\x00'::bytea || convert_to(entry, 'UTF8')) as leaf from log.public_entries) s
group by s.position - 1 >> 8;

-- proof
insert into tiles
select 1, n >> 8, string_agg(log.fold_hashes(hashes), ''::bytea order by n)
from tiles where level = 0 and length(hashes) = 8192 group by n >> 8;

-- proof
insert into tiles
select 2, n >> 8, string_agg(log.fold_hashes(hashes), ''::bytea order by n)
from tiles where level = 1 and length(hashes) = 8192 group by n >> 8;

-- proof
insert into tiles
select 3, n >> 8, string_agg(log.fold_hashes(hashes), ''::bytea order by n)
from tiles where level = 2 and length(hashes) = 8192 group by n >> 8;

-- search
insert into documents
select e.data->>'tool', log.search_key(e.data->>'name'),
       log.search_terms(e.data->>'name', e.data->>'tagline', e.data->>'category', e.data->>'description'), true
from log.events e where e.type = 'ToolAdded';

-- search
insert into words
select substr(t.term, 2), count(*) filter (where t.term like '1%'), count(*) filter (where t.term like '2%'),
       count(*) filter (where t.term like '3%')
from documents d cross join lateral unnest(tsvector_to_array(d.terms)) as t(term)
group by 1;
