-- The community's verdicts as functions of a tally, for the view that keeps when each came and went. They are those of
-- `projections/tally.py` and `projections/settled.py`, unrounded. Tables hold what they said, so they never change: another rule is
-- another function.

-- For a single look, by the 95 % score interval: 3.8414… is the square of the normal distribution's 97.5 % point. A side's verdict
-- needs the whole interval beyond a half, so the share's distance from it in the score test; `mixed` the whole of it within 40–60 %.
create function log.community_verdict(ship bigint, skip bigint) returns text language sql immutable parallel safe as $$
    select case
        when ship < 0 or skip < 0 or ship + skip = 0 then null
        when (ship - skip)::float8 ^ 2 > 3.8414588206941254::float8 * (ship + skip)
            then case when ship > skip then 'ship' else 'skip' end
        when 3 * ship >= 2 * skip and 3 * skip >= 2 * ship
             and (0.6::float8 * ship - 0.4::float8 * skip) ^ 2 >= 3.8414588206941254::float8 * 0.24::float8 * (ship + skip)
             and (0.6::float8 * skip - 0.4::float8 * ship) ^ 2 >= 3.8414588206941254::float8 * 0.24::float8 * (ship + skip)
            then 'mixed'
    end
$$;

-- The evidence of a tally against a share of ship votes, as a deviance: what `_excludes` of settled.py holds against the reach.
create function log.deviance(ship bigint, skip bigint, share float8) returns float8 language sql immutable parallel safe as $$
    select case when ship > 0 then ship * ln(ship / ((ship + skip) * share)) else 0 end
         + case when skip > 0 then skip * ln(skip / ((ship + skip) * (1 - share))) else 0 end
$$;

-- However often it is looked at. The first test is exact arithmetic that most tallies end at: the deviance from a half is never
-- above (ship - skip)² / votes, no reach is below ln 20, and below 147 votes nothing is far enough from both 40 and 60 %.
create function log.settled_verdict(ship bigint, skip bigint) returns text language plpgsql immutable parallel safe as $$
declare
    total constant float8 := ship + skip;
    reach float8;
begin
    if ship < 0 or skip < 0 or total = 0 or (total < 147 and (ship - skip)::float8 ^ 2 < 2.99 * total) then
        return null;
    end if;
    reach := ln(20 * (total + 1));
    if ship > 0 and skip > 0 then
        reach := reach + (log.stirling_error(ship + skip) - log.stirling_error(ship) - log.stirling_error(skip)
                          + ln(total / (2 * pi() * ship * skip)) / 2);
    end if;
    if ship <> skip and log.deviance(ship, skip, 0.5) >= reach then
        return case when ship > skip then 'ship' else 'skip' end;
    elsif 2 * ship < 3 * skip and 2 * skip < 3 * ship
          and log.deviance(ship, skip, 0.4) >= reach and log.deviance(ship, skip, 0.6) >= reach then
        return 'mixed';
    end if;
    return null;
end
$$;
