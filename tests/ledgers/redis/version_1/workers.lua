-- Workers and roles. A worker's record is {at, until, state, heartbeat}; a role's {since, until, holder}.

-- name: heartbeat
-- owner, lease, state, heartbeat; wanted roles. Returns the roles that it has.
local me, till, wanted, answer = ARGV[1], now + ARGV[2], {}, {}
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', workers_until, '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', workers_until, gone)
    redis.call('HDEL', workers, gone)
end
redis.call('HSET', workers, me, struct.pack('<ddI2c0I4c0', now, till, #ARGV[3], ARGV[3], #ARGV[4], ARGV[4]))
redis.call('ZADD', workers_until, till, me)
for n = 5, #ARGV do wanted[ARGV[n]] = true end
local known = redis.call('HGETALL', roles)
for n = 1, #known, 2 do
    local since, ends, holder = struct.unpack('<ddI4c0', known[n + 1])
    if holder == me and wanted[known[n]] then
        wanted[known[n]] = since
    elseif holder == me or ends <= now then
        redis.call('HDEL', roles, known[n])
    else
        wanted[known[n]] = nil
    end
end
for role, since in pairs(wanted) do
    redis.call('HSET', roles, role, struct.pack('<ddI4c0', since == true and now or since, till, #me, me))
    push(answer, role)
end
return answer

-- name: list
-- Returns {{worker, silence, state, heartbeat}, ...}, {{role, holder}, ...}: those whose lease has not ended
local present, held_roles = {}, {}
local known = redis.call('HGETALL', workers)
for n = 1, #known, 2 do
    local at, till, state, text = struct.unpack('<ddI2c0I4c0', known[n + 1])
    if till > now then push(present, {known[n], now - at, state, text}) end
end
known = redis.call('HGETALL', roles)
for n = 1, #known, 2 do
    local _, till, holder = struct.unpack('<ddI4c0', known[n + 1])
    if till > now then push(held_roles, {known[n], holder}) end
end
return {present, held_roles}

-- name: leave
redis.call('HDEL', workers, ARGV[1])
redis.call('ZREM', workers_until, ARGV[1])
local known = redis.call('HGETALL', roles)
for n = 1, #known, 2 do
    local _, _, holder = struct.unpack('<ddI4c0', known[n + 1])
    if holder == ARGV[1] then redis.call('HDEL', roles, known[n]) end
end
