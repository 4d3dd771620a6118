-- A tally's place by the community's votes, a key that rises: minus the lower bound of the 95 % score interval (E. B. Wilson, JASA
-- 22, 1927), and 1 without votes. Views keep indexes on it, so it never changes: another order is another function.
--
-- 1.9599… is the 97.5 % point of the normal distribution, and 3.8414… its square. Where nobody said ship the bound is exactly 0.
create function log.community_place(ship bigint, skip bigint) returns float8 language sql immutable parallel safe as $$
    select case when ship >= 0 and skip >= 0 and ship + skip > 0 then
        -(2 * ship::float8 + 3.8414588206941254::float8
          - 1.959963984540054::float8 * sqrt(3.8414588206941254::float8 + 4 * ship::float8 * skip::float8 / (ship + skip)::float8))
        / (2 * ((ship + skip)::float8 + 3.8414588206941254::float8))
    else 1 end
$$;
