-- Reviews: what each reader's review says now, what of it is public, and the queue of those that wait for a moderator.
-- Texts and names stay sealed here; they are opened when served.

-- tables: one row a review that was not withdrawn
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
    submitted_position bigint      not null,
    submitted_at       timestamptz not null,
    position           bigint      not null,
    public_revision    integer,
    public_verdict     text,
    public_score       integer,
    public_sealed_text text,
    public_sealed_name text,
    public_position    bigint,
    published_at       timestamptz,
    constraint reviews_pkey primary key (review)
);
create index reviews_public_idx on reviews (tool, public_position desc) where public_revision is not null;
create index reviews_status_idx on reviews (status, submitted_position);
create index reviews_visitor_idx on reviews (visitor);

-- totals: the number of reviews
select 'reviews' as name, count(*) as total from reviews;

-- changes (ReviewSubmitted, ReviewWithdrawn): each event is one review more or less
select 'reviews' as name, sum(case e.type when 'ReviewSubmitted' then 1 else -1 end)::bigint as change
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
  and e.type in ('ReviewSubmitted', 'ReviewWithdrawn');

-- step submitted (ReviewSubmitted): a new review is pending
insert into reviews (review, visitor, tool, status, revision, verdict, score, sealed_text, sealed_name,
                     submitted_position, submitted_at, position)
select e.data->>'review', e.data->>'visitor', e.data->>'tool', 'pending', 1, e.data->>'verdict', (e.data->>'score')::integer,
       e.data->>'text', e.data->>'name', e.position, e.recorded_at, e.position
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'ReviewSubmitted'
order by e.data->>'review';

-- step edited (ReviewEdited): the window's last revision holds
update reviews v
set revision = (e.data->>'revision')::integer, verdict = e.data->>'verdict', score = (e.data->>'score')::integer,
    sealed_text = e.data->>'text', sealed_name = e.data->>'name'
from (
    select distinct on (r.stream) r.data
    from log.recorded_events r
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[]) and r.type = 'ReviewEdited'
    order by r.stream, r.position desc
) e
where v.review = e.data->>'review';

-- step approved (ReviewApproved): the revision approved last is public; its text is in the review's stream
update reviews v
set public_revision = a.revision, public_verdict = a.data->>'verdict', public_score = (a.data->>'score')::integer,
    public_sealed_text = a.data->>'text', public_sealed_name = a.data->>'name',
    public_position = a.position, published_at = a.recorded_at
from (
    select distinct on (r.stream) r.data->>'review' as review, (r.data->>'revision')::integer as revision,
           r.position, r.recorded_at, w.data
    from log.recorded_events r
    cross join lateral (
        select s.data from log.recorded_events s
        where s.stream = r.stream and s.type in ('ReviewSubmitted', 'ReviewEdited') and s.position <> all($3::bigint[])
          and coalesce((s.data->>'revision')::integer, 1) = (r.data->>'revision')::integer
        offset 0 -- keeps this a look-up by stream; joined freely, the planner may read all the reviews there are
    ) w
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[]) and r.type = 'ReviewApproved'
    order by r.stream, r.position desc
) a
where v.review = a.review;

-- step refused (ReviewRejected): a public revision rejected after its approval is no longer public
update reviews v
set public_revision = null, public_verdict = null, public_score = null, public_sealed_text = null, public_sealed_name = null,
    public_position = null, published_at = null
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'ReviewRejected'
  and v.review = e.data->>'review' and v.public_revision = (e.data->>'revision')::integer and v.public_position < e.position;

-- step status (ReviewEdited, ReviewApproved, ReviewRejected): the window's last decision or edit holds
update reviews v
set position = e.position,
    status = case e.type when 'ReviewApproved' then 'approved' when 'ReviewRejected' then 'rejected' else 'pending' end
from (
    select distinct on (r.stream) r.type, r.data, r.position
    from log.recorded_events r
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[])
      and r.type in ('ReviewEdited', 'ReviewApproved', 'ReviewRejected')
    order by r.stream, r.position desc
) e
where v.review = e.data->>'review';

-- step withdrawn (ReviewWithdrawn): its row is deleted
delete from reviews v using log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'ReviewWithdrawn'
  and v.review = e.data->>'review';
