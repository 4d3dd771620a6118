-- Decides a batch of claims at once. KEYS: every counter concerned, each once. ARGV[1], in msgpack, three lists of numbers:
-- for each key its limit, its window in ms, and how many the process would be lent; the claims, each as the number of its
-- counters and their places among KEYS; what of former leases wasn't used, each as its counter's place, start and number of
-- the slice that it was counted in, and how many.
-- A claim is granted if every counter of it has room, and only then counts. What is lent counts at once, and is a sixteenth of
-- the room at most.
-- A counter is, in msgpack, {start, number, counts of SLICES slices of its window, the newest first}: slices are numbered
-- from the first write on, and one is forgotten when its beginning is a whole window ago.
-- Answers, for each claim: ms to wait (0 if granted), the place among KEYS of its scarcest counter, what remains of it,
-- and the ms until more will. Then, for each key of which some would be lent: how many are, what remains, the ms until more
-- will, and the start and the number of the slice that they are counted in.
local SLICES = 6
local SHARE = 16
local LEAST = 4
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local bounds, claims, unused = unpack(cmsgpack.unpack(ARGV[1]))
local counters = redis.call('MGET', unpack(KEYS))

local function fresh(limit, window)
  return {limit = limit, window = window, start = now, number = 0, used = 0, 0, 0, 0, 0, 0, 0}
end

local function read(stored, limit, window)
  local counter = fresh(limit, window)
  if not stored then return counter end
  local start, number, counts = unpack(cmsgpack.unpack(stored))
  local shift = math.floor((now - start) / window * SLICES) - number
  if shift < 0 or shift >= SLICES then return counter end
  counter.start, counter.number = start, number + shift
  for slice = 1, SLICES - shift do
    counter[slice + shift] = counts[slice]
    counter.used = counter.used + counts[slice]
  end
  return counter
end

-- The ms until the slice and all older ones are forgotten.
local function gone(counter, slice)
  return math.ceil(counter.start + (counter.number + 1 - slice + SLICES) * counter.window / SLICES - now)
end

-- The ms until there is room for so many more.
local function wait(counter, more)
  local left = counter.used + more - counter.limit
  for slice = SLICES, 1, -1 do
    left = left - counter[slice]
    if left <= 0 and counter[slice] > 0 then return gone(counter, slice) end
  end
  return counter.window
end

for place, key in ipairs(KEYS) do
  counters[place] = read(counters[place], bounds[3 * place - 2], bounds[3 * place - 1])
end

for n = 1, #unused, 4 do
  local counter = counters[unused[n]]
  local slice = counter.number - unused[n + 2] + 1
  if counter.start == unused[n + 1] and slice <= SLICES then
    local back = math.min(unused[n + 3], counter[slice])
    counter[slice], counter.used, counter.touched = counter[slice] - back, counter.used - back, true
  end
end

local answers = {}
local at = 1
while at <= #claims do
  local last = at + claims[at]
  local scarcest, least, longest = 0, math.huge, 0
  for n = at + 1, last do
    local counter = counters[claims[n]]
    local left = counter.limit - counter.used
    if left < 1 then longest = math.max(longest, wait(counter, 1), 1) end
    if left < least then scarcest, least = claims[n], left end
  end
  if longest == 0 then
    for n = at + 1, last do
      local counter = counters[claims[n]]
      counter[1], counter.used, counter.touched = counter[1] + 1, counter.used + 1, true
    end
  end
  local tightest = counters[scarcest]
  answers[#answers + 1] = longest
  answers[#answers + 1] = scarcest
  answers[#answers + 1] = math.max(0, tightest.limit - tightest.used)
  answers[#answers + 1] = longest > 0 and longest or wait(tightest, tightest.limit - tightest.used + 1)
  at = last + 1
end

for place, counter in ipairs(counters) do
  local wanted = bounds[3 * place]
  if wanted > 0 then
    local lent = math.min(wanted, math.floor((counter.limit - counter.used) / SHARE))
    if lent < LEAST then
      lent = 0
    else
      counter[1], counter.used, counter.touched = counter[1] + lent, counter.used + lent, true
    end
    answers[#answers + 1] = lent
    answers[#answers + 1] = math.max(0, counter.limit - counter.used)
    answers[#answers + 1] = wait(counter, counter.limit - counter.used + 1)
    answers[#answers + 1] = counter.start
    answers[#answers + 1] = counter.number
  end
end

for place, key in ipairs(KEYS) do
  local counter = counters[place]
  if counter.touched then
    local value = cmsgpack.pack({counter.start, counter.number, {unpack(counter, 1, SLICES)}})
    redis.call('SET', key, value, 'PX', counter.window)
  end
end
return answers
