-- Decides a batch of claims at once. KEYS: every counter concerned, each once. ARGV[1], in msgpack, two lists of numbers:
-- for each key its limit and its window in ms; the claims, each as the number of its counters and their places among KEYS.
-- A claim is granted if every counter of it has room, and only then counts. A counter is "start previous current": two
-- windows side by side, the first of which begins with the first write; what is used is the current window's count and
-- that part of the previous one's which still lies within one window of now.
-- Answers, for each claim: ms to wait (0 if granted), the place among KEYS of its scarcest counter, what remains of it,
-- and the ms until its window ends.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stored = redis.call('MGET', unpack(KEYS))
local bounds, claims = unpack(cmsgpack.unpack(ARGV[1]))
local limit, window, start, previous, current, touched = {}, {}, {}, {}, {}, {}

for i = 1, #KEYS do
  limit[i], window[i] = bounds[2 * i - 1], bounds[2 * i]
  local s, p, c = string.match(stored[i] or '', '^(%d+) (%d+) (%d+)$')
  s, p, c = tonumber(s), tonumber(p), tonumber(c)
  if not s or now >= s + 2 * window[i] or now < s then
    s, p, c = now, 0, 0
  elseif now >= s + window[i] then
    s, p, c = s + window[i], c, 0
  end
  start[i], previous[i], current[i] = s, p, c
end

local function used(i)
  return previous[i] * (1 - (now - start[i]) / window[i]) + current[i]
end

-- The ms until one more fits: within this window as the previous one slides out, else within the next as this one does.
local function wait(i)
  local room = limit[i] - 1 - current[i]
  if room >= 0 then
    return math.ceil(start[i] + window[i] * (1 - room / previous[i]) - now)
  end
  return math.ceil(start[i] + window[i] + window[i] * (1 - (limit[i] - 1) / current[i]) - now)
end

local answers = {}
local at = 1
while at <= #claims do
  local last = at + claims[at]
  local scarcest, least, longest = 0, math.huge, 0
  for n = at + 1, last do
    local i = claims[n]
    local left = limit[i] - used(i)
    if left < 1 then longest = math.max(longest, wait(i), 1) end
    if left < least then scarcest, least = i, left end
  end
  if longest == 0 then
    for n = at + 1, last do
      local i = claims[n]
      current[i], touched[i] = current[i] + 1, true
    end
    least = least - 1
  end
  answers[#answers + 1] = longest
  answers[#answers + 1] = scarcest
  answers[#answers + 1] = math.max(0, math.floor(least))
  answers[#answers + 1] = start[scarcest] + window[scarcest] - now
  at = last + 1
end

for i in pairs(touched) do
  redis.call('SET', KEYS[i], string.format('%d %d %d', start[i], previous[i], current[i]), 'PX', 2 * window[i])
end
return answers
