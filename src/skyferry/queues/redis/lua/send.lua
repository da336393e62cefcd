-- Add messages. KEYS: stream, leased, delayed, attempts, ids by dedup id, dedup ids by id.
-- ARGV: body, attributes, delay in milliseconds and dedup id of each. Returns their ids.
local stream, delayed, attempts, ids, names = KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local sent = {}
for place = 1, #ARGV, 4 do
    local name, delay = ARGV[place + 3], tonumber(ARGV[place + 2])
    local id = name ~= '' and redis.call('HGET', ids, name)
    if not id then
        id = redis.call('XADD', stream, '*', 'body', ARGV[place], 'attributes', ARGV[place + 1])
        if delay > 0 then
            redis.call('HSET', attempts, id, 0)
            redis.call('ZADD', delayed, now + delay, id)
        end
        if name ~= '' then
            redis.call('HSET', ids, name, id)
            redis.call('HSET', names, id, name)
        end
    end
    sent[#sent + 1] = id
end
return sent
