-- HAProxy: the action `lua.daypass URL` asks Daypass whether a request may pass.
local identity = { "x-daypass-subject", "x-daypass-arn", "x-daypass-account", "x-daypass-session" }
local shown = { "www-authenticate", "dpop-nonce", "retry-after" }
local own = { host = true, connection = true, ["content-length"] = true, ["transfer-encoding"] = true, expect = true }

local function values(found)
  local list = {}
  for index = 0, #found do list[#list + 1] = found[index] end
  return list
end

local function refuse(txn, status, answer)
  local reply = txn:reply({ status = status })
  for _, name in ipairs(shown) do
    local value = answer and answer.headers[name]
    if value then reply:add_header(name, value[0]) end
  end
  txn:done(reply)
end

core.register_action("daypass", { "http-req" }, function(txn, url)
  local headers = {}
  for name, found in pairs(txn.http:req_get_headers()) do
    if not own[name] then headers[name] = values(found) end
    if name == "connection" and found[0]:lower():find("[%w]+[-_]%w+[-_]?") and not found[0]:lower():find("^keep%-alive$") then
      return refuse(txn, 400)  -- a client may not have the proxy remove headers
    end
  end
  headers["x-forwarded-method"] = { txn.f:method() }
  headers["x-forwarded-uri"] = { txn.f:pathq() }
  headers["x-forwarded-for"] = { txn.f:src() }
  local answer = core.httpclient():get({ url = url, headers = headers, timeout = 5000 })
  if not answer or answer.status ~= 200 then
    local status = answer and answer.status or 503
    return refuse(txn, (status == 401 or status == 403) and status or 503, answer)
  end
  for _, name in ipairs(identity) do
    local value = answer.headers[name]
    if value then txn.http:req_set_header(name, value[0]) else txn.http:req_del_header(name) end
  end
end, 1)
