-- Reviews: what each reader's review says now, what of it is public, the queue of those that wait for a moderator, and the reports
-- that nobody has decided on. Texts, names and reports' words stay sealed here; they are opened when served.

-- tables: one row a review that was not withdrawn, one an undecided report, and one a kind of act and its ground
create table reviews (
    review             text        not null collate "C",
    visitor            text        not null collate "C",
    tool               text        not null collate "C",
    status             text        not null,
    revision           integer     not null,
    verdict            text        not null,
    score              integer,
    sealed_text        text        not null,
    sealed_name        text,
    ties               text,
    submitted_position bigint      not null,
    submitted_at       timestamptz not null,
    position           bigint      not null,
    public_revision    integer,
    public_verdict     text,
    public_score       integer,
    public_sealed_text text,
    public_sealed_name text,
    public_ties        text,
    public_position    bigint,
    published_at       timestamptz,
    constraint reviews_pkey primary key (review)
);
create index reviews_public_idx on reviews (tool, public_position desc) where public_revision is not null;
create index reviews_status_idx on reviews (status, submitted_position);
create index reviews_visitor_idx on reviews (visitor);

create table reports (
    report       text        not null collate "C",
    visitor      text        not null collate "C",
    review       text        not null collate "C",
    ground       text        not null,
    sealed_words text,
    reported_at  timestamptz not null,
    position     bigint      not null,
    constraint reports_pkey primary key (visitor, review, report)
);
create index reports_review_idx on reports (review, position);

create table acts (
    act           text   not null collate "C",
    ground        text   not null collate "C",
    acts          bigint not null,
    last_position bigint not null,
    constraint acts_pkey primary key (act, ground)
);

-- totals: the number of reviews, and of acts
select 'reviews' as name, count(*) as total from reviews
union all select 'acts', coalesce(sum(acts), 0)::bigint from acts;

-- changes (ReviewSubmitted, ReviewApproved, ReviewRejected, ReviewKept, ReviewWithdrawn, ReviewReported): one review more or less, or one act
select case when e.type in ('ReviewSubmitted', 'ReviewWithdrawn') then 'reviews' else 'acts' end as name,
       sum(case e.type when 'ReviewWithdrawn' then -1 else 1 end)::bigint as change
from log.taken($1, $2, $3, '{ReviewSubmitted, ReviewApproved, ReviewRejected, ReviewKept, ReviewWithdrawn, ReviewReported}') e
group by 1;

-- step submitted (ReviewSubmitted): a new review is pending
insert into reviews (review, visitor, tool, status, revision, verdict, score, sealed_text, sealed_name, ties,
                     submitted_position, submitted_at, position)
select e.data->>'review', e.data->>'visitor', e.data->>'tool', 'pending', 1, e.data->>'verdict', (e.data->>'score')::integer,
       e.data->>'text', e.data->>'name', e.data->>'ties', e.position, e.recorded_at, e.position
from log.taken($1, $2, $3, '{ReviewSubmitted}') e
order by e.data->>'review';

-- step edited (ReviewEdited): the window's last revision holds
update reviews v
set revision = (e.data->>'revision')::integer, verdict = e.data->>'verdict', score = (e.data->>'score')::integer,
    sealed_text = e.data->>'text', sealed_name = e.data->>'name', ties = e.data->>'ties'
from (
    select distinct on (r.stream) r.data
    from log.taken($1, $2, $3, '{ReviewEdited}') r
    order by r.stream, r.position desc
) e
where v.review = e.data->>'review';

-- step approved (ReviewApproved): the revision approved last is public; its text is in the review's stream
update reviews v
set public_revision = a.revision, public_verdict = a.data->>'verdict', public_score = (a.data->>'score')::integer,
    public_sealed_text = a.data->>'text', public_sealed_name = a.data->>'name', public_ties = a.data->>'ties',
    public_position = a.position, published_at = a.recorded_at
from (
    select distinct on (r.stream) r.data->>'review' as review, (r.data->>'revision')::integer as revision,
           r.position, r.recorded_at, w.data
    from log.taken($1, $2, $3, '{ReviewApproved}') r
    cross join lateral (
        select s.data from log.of_stream(r.stream) s
        where s.type in ('ReviewSubmitted', 'ReviewEdited') and s.position <> all($3::bigint[])
          and coalesce((s.data->>'revision')::integer, 1) = (r.data->>'revision')::integer
        offset 0 -- keeps this a look-up by stream; joined freely, the planner may read all the reviews there are
    ) w
    order by r.stream, r.position desc
) a
where v.review = a.review;

-- step refused (ReviewRejected): a public revision rejected after its approval is no longer public
update reviews v
set public_revision = null, public_verdict = null, public_score = null, public_sealed_text = null, public_sealed_name = null,
    public_ties = null, public_position = null, published_at = null
from log.taken($1, $2, $3, '{ReviewRejected}') e
where v.review = e.data->>'review' and v.public_revision = (e.data->>'revision')::integer and v.public_position < e.position;

-- step status (ReviewEdited, ReviewApproved, ReviewRejected, ReviewKept): the window's last decision or edit holds. What takes the
-- public revision down leaves alone the edit that came after it.
update reviews v
set position = e.position, status = coalesce(e.status, v.status)
from (
    select r.data->>'review' as review, max(r.position) as position,
           (array_agg(case r.type when 'ReviewApproved' then 'approved' when 'ReviewRejected' then 'rejected' else 'pending' end
                      order by r.position desc)
            filter (where r.type <> 'ReviewKept'
                    and (r.data->>'shown' is null or (r.data->>'revision')::integer = w.revision)))[1] as status
    from log.taken($1, $2, $3, '{ReviewEdited, ReviewApproved, ReviewRejected, ReviewKept}') r
    join reviews w on w.review = r.data->>'review'
    group by 1
) e
where v.review = e.review;

-- step withdrawn (ReviewWithdrawn): its row is deleted
delete from reviews v using log.taken($1, $2, $3, '{ReviewWithdrawn}') e
where v.review = e.data->>'review';

-- step reported (ReviewReported): each report waits for a moderator
insert into reports (report, visitor, review, ground, sealed_words, reported_at, position)
select e.data->>'report', e.data->>'visitor', e.data->>'review', e.data->>'ground', e.data->>'words', e.recorded_at, e.position
from log.taken($1, $2, $3, '{ReviewReported}') e
order by 2, 3, 1;

-- step answered (ReviewKept, ReviewRejected, ReviewWithdrawn): to keep a review answers the reports that were read, and when what was
-- public is taken down or withdrawn, all reports before are answered
delete from reports r using log.taken($1, $2, $3, '{ReviewKept, ReviewRejected, ReviewWithdrawn}') e
where (e.type <> 'ReviewRejected' or e.data->>'shown' is not null)
  and r.review = e.data->>'review' and r.position < e.position
  and r.position <= coalesce((e.data->>'through')::bigint, e.position);

-- step gone (ReportWithdrawn): a report goes with who wrote it
delete from reports r using log.taken($1, $2, $3, '{ReportWithdrawn}') e
where r.visitor = e.data->>'visitor' and r.review = e.data->>'review' and r.report = e.data->>'report';

-- step acts (ReviewApproved, ReviewRejected, ReviewKept, ReviewReported): what readers and moderators did, by ground
insert into acts as a (act, ground, acts, last_position)
select case when e.type = 'ReviewRejected' and e.data->>'shown' is not null then 'removed'
            else lower(replace(e.type, 'Review', '')) end,
       case when e.type in ('ReviewRejected', 'ReviewReported') then coalesce(e.data->>'ground', 'other') else '' end,
       count(*), max(e.position)
from log.taken($1, $2, $3, '{ReviewApproved, ReviewRejected, ReviewKept, ReviewReported}') e
group by 1, 2 order by 1, 2
on conflict (act, ground) do update set acts = a.acts + excluded.acts, last_position = excluded.last_position;
