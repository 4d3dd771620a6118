-- A tally's place by what its votes have settled, a key that rises: minus the lower end of the settled interval, and 1 without votes.
-- The interval, its sources and its numerics stand in `projections/settled.py`, whose operations these are, one by one. Views keep
-- indexes on it, so it never changes: another order is another function.

-- What Stirling's formula lacks of ln n!, for positive n.
create function log.stirling_error(n bigint) returns float8 language sql immutable parallel safe as $$
    select case when n < 16 then (array[
        0.08106146679532726, 0.0413406959554093, 0.02767792568499834, 0.020790672103765093, 0.016644691189821193,
        0.013876128823070748, 0.01189670994589177, 0.010411265261972096, 0.009255462182712733, 0.00833056343336287,
        0.007573675487951841, 0.00694284010720953, 0.006408994188004207, 0.0059513701127588475, 0.005554733551962801
    ]::float8[])[n] else
        (1 / 12::float8 - (1 / 360::float8 - (1 / 1260::float8 - (1 / 1680::float8 - 1 / 1188::float8 / n / n) / n / n) / n / n) / n / n) / n
    end
$$;

create function log.settled_place(ship bigint, skip bigint) returns float8 language plpgsql immutable parallel safe as $$
declare
    total constant float8 := ship + skip;
    reach float8;
    p float8;
    step float8;
begin
    if ship < 0 or skip < 0 or total = 0 then
        return 1;
    elsif ship = 0 then
        return 0;
    elsif skip = 0 then
        return -((20 * (total + 1)) ^ (-1 / total));
    end if;
    reach := ln(20 * (total + 1))
        + (log.stirling_error(ship + skip) - log.stirling_error(ship) - log.stirling_error(skip)
           + ln(total / (2 * pi() * ship * skip)) / 2);
    p := (ship + reach - sqrt(reach * (reach + 2 * ship::float8 * skip / total))) / (total + 2 * reach);
    for i in 1..20 loop
        step := (ship * ln(ship / (total * p)) + skip * ln(skip / (total * (1 - p))) - reach) * (1 - p) / (ship - total * p);
        p := p * exp(step);
        exit when abs(step) < 1e-9;
    end loop;
    return -p;
end
$$;
