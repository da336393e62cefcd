-- Open uploads and their parts.

-- name: save
-- owner; for each save: place, fence, id, progress, number of parts; for each part: number, part. Returns 1 for each that is saved.
local me, n, answers = tonumber(ARGV[1]), 2, {}
local at_place = {}
while n <= #ARGV do
    local name, fence, id, progress, count = ARGV[n], tonumber(ARGV[n + 1]), ARGV[n + 2], ARGV[n + 3], tonumber(ARGV[n + 4])
    local at = at_place[name] or read_place(redis.call('HGET', places, name))
    at_place[name] = at
    local held = at.owner == me and at.fence == fence
    push(answers, held and 1 or 0)
    if held then
        local serial = at.uploads > 0 and find_upload(name, id)
        if not serial then
            serial = struct.pack('>I8', redis.call('HINCRBY', counters, 'uploads', 1))
            at.uploads = at.uploads + 1
            redis.call('ZADD', uploads_places, 0, of_place(name) .. serial)
            redis.call('ZADD', uploads_names, 0, of_name(store_of(name), id) .. serial)
            redis.call('HSET', places, name, pack_place(at))
        end
        redis.call('HSET', uploads, serial, struct.pack(UPLOAD, now, #name, name, #id, id, #progress, progress))
        redis.call('ZADD', uploads_at, now, serial)
        for part = n + 5, n + 4 + 2 * count, 2 do
            local member = serial .. struct.pack('>I4', tonumber(ARGV[part]))
            redis.call('ZREMRANGEBYLEX', parts, '[' .. member, '[' .. member .. '\255')
            redis.call('ZADD', parts, 0, member .. ARGV[part + 1])
        end
    end
    n = n + 5 + 2 * count
end
return answers

-- name: list
-- time, serial, limit. Returns {time, serial, place, age, progress}, ...
local answer = {}
for n, item in ipairs(walk(uploads_at, false, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), '+inf')) do
    local saved, name, _, progress = struct.unpack(UPLOAD, redis.call('HGET', uploads, item.member))
    answer[n] = {item.at, item.serial, name, now - saved, progress}
end
return answer

-- name: close
-- store; ids
for n = 2, #ARGV do
    local prefix = of_name(ARGV[1], ARGV[n])
    for _, member in ipairs(redis.call('ZRANGEBYLEX', uploads_names, '[' .. prefix, '[' .. prefix .. '\255')) do
        local name = drop_upload(member:sub(-8))
        local at = read_place(redis.call('HGET', places, name))
        at.uploads = at.uploads - 1
        write_place(name, at)
    end
end
