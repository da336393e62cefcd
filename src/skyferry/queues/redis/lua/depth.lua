-- KEYS: stream, leased, delayed. Returns {messages, leased, delayed, age of the oldest in milliseconds}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local total = redis.call('XLEN', KEYS[1])
local oldest = total > 0 and redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local age = oldest and now - tonumber(string.match(oldest[1], '^%d+')) or 0
return {total, redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf'), redis.call('ZCOUNT', KEYS[3], '(' .. now, '+inf'), math.max(0, age)}
