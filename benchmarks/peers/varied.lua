-- Requests that differ, for what a server could keep of each: host, target, user agent, referer and cookie by chance,
-- and now and then the connection's last. Argument: the seed.
-- Most of the names come again; each target and most cookies are new.
local HOSTS, AGENTS, SESSIONS = 200000, 200000, 1000000
local LAST_ONE_IN = 50
local sent = 0
local seed = 0

function init(args)
  seed = tonumber(args[1])
  math.randomseed(seed)
end

function request()
  sent = sent + 1
  local agent = math.random(AGENTS)
  local last = math.random(LAST_ONE_IN) == 1
  return table.concat({
    "GET /1k.bin?run=", seed, "&request=", sent, " HTTP/1.1\r\n",
    "Host: h", math.random(HOSTS), ".example\r\n",
    "User-Agent: agent/", agent, " (", string.rep("x", agent % 60), ")\r\n",
    "Referer: http://h", math.random(HOSTS), ".example/page/", math.random(SESSIONS), "\r\n",
    "Cookie: JSESSIONID=", math.random(SESSIONS), ".node; seen=", math.random(SESSIONS), "\r\n",
    last and "Connection: close\r\n\r\n" or "\r\n",
  })
end

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or ""
dofile(here .. "report.lua")
