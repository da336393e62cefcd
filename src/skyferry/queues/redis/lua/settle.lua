-- Change leases that are valid. KEYS: stream, leased, delayed, attempts, ids by dedup id, dedup ids by id.
-- ARGV: group, verb (extend, ack, release), milliseconds, then id and attempt of each message. Returns the number of each lost one.
local stream, leased, delayed, attempts, ids, names = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local group, verb, span = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lost = {}
local named = verb == 'ack' and redis.call('HLEN', names) > 0
for place = 4, #ARGV, 2 do
    local id = ARGV[place]
    if redis.call('HGET', attempts, id) ~= ARGV[place + 1] or not redis.call('ZSCORE', leased, id) then
        lost[#lost + 1] = (place - 4) / 2
    elseif verb == 'extend' then
        redis.call('ZADD', leased, now + span, id)
    elseif verb == 'release' then
        redis.call('ZREM', leased, id)
        redis.call('ZADD', delayed, now + span, id)
    else
        redis.call('XACK', stream, group, id)
        redis.call('XDEL', stream, id)
        redis.call('ZREM', leased, id)
        redis.call('HDEL', attempts, id)
        local name = named and redis.call('HGET', names, id)
        if name then
            redis.call('HDEL', names, id)
            redis.call('HDEL', ids, name)
        end
    end
end
return lost
