-- Dead letters.

-- name: add
-- letters, packed as for `settle`
for _, one in ipairs(ARGV) do
    local id, at, route, reason, bucket, text = struct.unpack('<I4c0dI2c0I2c0I4c0I4c0', one)
    add_letter(id, at, route, reason, bucket, text)
end

-- name: get
local letter = read_letter(redis.call('HGET', letters, ARGV[1]))
return letter and {letter.text, letter.redriven}

-- name: list
-- time, serial, limit: the next letters, newest first. Returns {now, {id, time, serial, letter, redriven}, ...}
local answer = {now}
for _, item in ipairs(walk(letters_at, true, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), '-inf')) do
    local id = item.member:sub(9)
    local letter = read_letter(redis.call('HGET', letters, id))
    push(answer, {id, item.at, item.serial, letter.text, letter.redriven})
end
return answer

-- name: find
-- ids. Returns as `list`
local answer = {now}
for _, id in ipairs(ARGV) do
    local letter = read_letter(redis.call('HGET', letters, id))
    if letter then push(answer, {id, letter.at, letter.serial, letter.text, letter.redriven}) end
end
return answer

-- name: counts
return {redis.call('HGETALL', letters_causes), redis.call('ZCARD', letters_redriven)}

-- name: unrouted
-- limit. Returns buckets and counts, the largest first, those of one count by name
local limit, answer = tonumber(ARGV[1]), {}
local top = redis.call('ZREVRANGE', letters_buckets, 0, limit - 1, 'WITHSCORES')
if #top == 0 then return top end
local least = top[#top]
push(answer, unpack(redis.call('ZREVRANGEBYSCORE', letters_buckets, '+inf', '(' .. least, 'WITHSCORES')))
push(answer, unpack(redis.call('ZRANGEBYSCORE', letters_buckets, least, least, 'WITHSCORES', 'LIMIT', 0, limit)))
return answer

-- name: redrive
-- ids and times of letters
local count = 0
for n = 1, #ARGV, 2 do
    local id = ARGV[n]
    local letter = read_letter(redis.call('HGET', letters, id))
    if letter and letter.redriven == NONE and letter.at == tonumber(ARGV[n + 1]) then
        letter.redriven, count = now, count + 1
        write_letter(id, letter)
        redis.call('ZREM', letters_unpublished, index(letter.serial, id))
        redis.call('ZADD', letters_redriven, now, index(letter.serial, id))
        local known = transfer_of(id)
        local row = known and read_row(redis.call('HGET', transfers, known))
        if row and row.state == DEAD then
            row.due, row.burned, row.lost = now, 0, 0
            move_row(known, row, RETRY)
        end
    end
end
return count

-- name: discard
-- ids and times of letters
local count = 0
for n = 1, #ARGV, 2 do
    local id = ARGV[n]
    local letter, known = read_letter(redis.call('HGET', letters, id)), transfer_of(id)
    local row = known and read_row(redis.call('HGET', transfers, known))
    if letter and letter.at == tonumber(ARGV[n + 1]) and not (row and row.state == CLAIMED) then
        if row and (row.state == DEAD or row.state == RETRY) then
            row.due = NONE
            move_row(known, row, DISCARDED)
        end
        drop_letter(id, letter)
        count = count + 1
    end
end
return count

-- name: take
-- purpose, limit, lease. Returns {letter, redriven}, ...
local due = ARGV[1] == 'redrive' and letters_redriven or letters_unpublished
local taken = {}
for n, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[2])) do
    redis.call('ZADD', due, now + ARGV[3], member)
    local letter = read_letter(redis.call('HGET', letters, member:sub(9)))
    taken[n] = {letter.text, letter.redriven}
end
return taken

-- name: finish
-- purpose; ids and times
for n = 2, #ARGV, 2 do
    local id = ARGV[n]
    local letter = read_letter(redis.call('HGET', letters, id))
    if letter and letter.at == tonumber(ARGV[n + 1]) then
        if ARGV[1] == 'publish' then
            letter.published = 1
            write_letter(id, letter)
            redis.call('ZREM', letters_unpublished, index(letter.serial, id))
        elseif letter.redriven ~= NONE then
            drop_letter(id, letter)
        end
    end
end

-- name: reschedule
-- purpose, delay; ids and times
local due = ARGV[1] == 'redrive' and letters_redriven or letters_unpublished
for n = 3, #ARGV, 2 do
    local letter = read_letter(redis.call('HGET', letters, ARGV[n]))
    if letter and letter.at == tonumber(ARGV[n + 1]) then
        redis.call('ZADD', due, 'XX', now + ARGV[2], index(letter.serial, ARGV[n]))
    end
end
