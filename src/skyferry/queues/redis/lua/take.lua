-- Lease messages: those whose lease or delay has ended, then new ones.
-- KEYS: stream, leased, delayed, attempts, list (or the stream again: none). ARGV: group, consumer, limit, lease in milliseconds.
-- Returns {messages {id, attempt, fields}, milliseconds until the next is due or -1}.
local stream, leased, delayed, attempts, list = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, consumer, limit, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}

local function take(id, fields)
    redis.call('ZADD', leased, now + lease, id)
    found[#found + 1] = {id, redis.call('HINCRBY', attempts, id, 1), fields}
end

for _, hidden in ipairs({leased, delayed}) do
    if #found < limit then
        for _, id in ipairs(redis.call('ZRANGEBYSCORE', hidden, '-inf', now, 'LIMIT', 0, limit - #found)) do
            local entry = redis.call('XRANGE', stream, id, id)
            redis.call('ZREM', hidden, id)
            if entry[1] then
                redis.pcall('XCLAIM', stream, group, consumer, 0, id, 'FORCE', 'JUSTID')
                take(id, entry[1][2])
            else -- trimmed by another client
                redis.call('HDEL', attempts, id)
            end
        end
    end
end

if list ~= stream and #found < limit then -- what MinIO has pushed there
    for _, body in ipairs(redis.call('LPOP', list, limit - #found) or {}) do
        redis.call('XADD', stream, '*', 'body', body)
    end
end

while #found < limit do
    local read = {'XREADGROUP', 'GROUP', group, consumer, 'COUNT', limit - #found, 'STREAMS', stream, '>'}
    local reply = redis.pcall(unpack(read))
    if reply and reply.err and string.find(reply.err, 'NOGROUP') then
        redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
        reply = redis.call(unpack(read))
    elseif reply and reply.err then
        return reply
    end
    if not reply or not reply[1] then break end
    for _, entry in ipairs(reply[1][2]) do
        -- Known = it was sent with a delay, and is taken when that ends. Deleted entries have no fields.
        if entry[2] and redis.call('HEXISTS', attempts, entry[1]) == 0 then take(entry[1], entry[2]) end
    end
end

if #found == 0 then -- pending entries without a lease: another consumer of the group has read them, and died
    for _, pending in ipairs(redis.call('XPENDING', stream, group, 'IDLE', 60000, '-', '+', 1000)) do
        local id = pending[1]
        if not redis.call('ZSCORE', leased, id) and not redis.call('ZSCORE', delayed, id) then
            redis.call('ZADD', leased, now, id)
        end
    end
end

local due = -1
for _, hidden in ipairs({leased, delayed}) do
    local first = redis.call('ZRANGE', hidden, 0, 0, 'WITHSCORES')
    if first[2] and (due < 0 or first[2] - now < due) then due = math.max(0, first[2] - now) end
end
return {found, due}
