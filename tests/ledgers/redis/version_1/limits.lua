-- Shared rates and breakers. A rate's record is {at, ahead, rate}; a breaker's {opening, at, until, cooldown, trial_until, side, holder}.
-- Times are in ticks, but for `ahead`, which is in seconds.

-- name: reserve
-- name, units, rate, burst. `skyferry.ledgers.rates.reserve` is the same rule. Returns the seconds until the units may be used.
local name, units, rate, ahead = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), -ARGV[4]
local known = redis.call('HGET', rates, name)
if known then
    local at, before, counted = struct.unpack('<ddd', known)
    if now < at and at - now <= 5 * 4194304 then now = at end
    before = before - math.max(0, now - at) / 4194304
    if before > 0 then before = before * counted / rate end
    ahead = math.max(ahead, before)
end
redis.call('HSET', rates, name, struct.pack('<ddd', now, ahead + units / rate, rate))
return string.format('%.17g', math.max(0, ahead))

-- name: list_breakers
-- Returns {{name, opening, side, ticks left, cooldown in ticks}, ...}
local answer, known = {}, redis.call('HGETALL', breakers)
for n = 1, #known, 2 do
    local opening, _, till, cooldown, _, side = struct.unpack('<dddddI2c0I2c0', known[n + 1])
    push(answer, {known[n], string.format('%.0f', opening), side, string.format('%.0f', till - now), string.format('%.0f', cooldown)})
end
return answer

-- name: open
-- name, side, ticks, cooldown in ticks. Returns the number of the opening.
local opening, till, known = now, now + ARGV[3], redis.call('HGET', breakers, ARGV[1])
if known then
    local last, _, before = struct.unpack('<ddd', known)
    opening, till = math.max(last + 1, opening), math.max(before, till)
end
redis.call('HSET', breakers, ARGV[1], struct.pack('<dddddI2c0I2c0', opening, now, till, ARGV[4], 0, #ARGV[2], ARGV[2], 0, ''))
return string.format('%.0f', opening)

-- name: take_trial
-- owner, name, opening, lease. Returns 1 if it is granted. A time that is 5 s ahead was recorded before the clock was set back.
local ahead, known = now + 5 * 4194304, redis.call('HGET', breakers, ARGV[2])
if not known then return 0 end
local opening, at, till, cooldown, trial, side, holder = struct.unpack('<dddddI2c0I2c0', known)
if opening ~= tonumber(ARGV[3]) or not (till <= now or at > ahead) then return 0 end
if holder ~= ARGV[1] and now < trial and trial <= ahead + ARGV[4] then return 0 end
local record = struct.pack('<dddddI2c0I2c0', opening, at, till, cooldown, now + ARGV[4], #side, side, #ARGV[1], ARGV[1])
redis.call('HSET', breakers, ARGV[2], record)
return 1

-- name: close
-- name, opening
local known = redis.call('HGET', breakers, ARGV[1])
if known and struct.unpack('<d', known) == tonumber(ARGV[2]) then redis.call('HDEL', breakers, ARGV[1]) end
