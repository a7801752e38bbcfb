-- Apache, mod_lua: asks Daypass whether a request may pass.
local http = require "socket.http"
local url = "http://127.0.0.1:8700/gateway/auth?audience=https://orders.example"
local identity = { "X-Daypass-Subject", "X-Daypass-Arn", "X-Daypass-Account", "X-Daypass-Session" }
local shown = { "WWW-Authenticate", "DPoP-Nonce", "Retry-After" }
local own = { host = true, connection = true, ["content-length"] = true, ["transfer-encoding"] = true, expect = true }
http.TIMEOUT = 5

function check(r)
  local headers = {}
  for name, value in pairs(r:headers_in_table()) do
    name = name:lower()
    if not own[name] then headers[name] = value end
    if name == "connection" and value:lower():gsub("keep%-alive", ""):find("[-_]") then
      return 400  -- a client may not have the proxy remove headers
    end
  end
  headers["x-forwarded-method"] = r.method
  headers["x-forwarded-uri"] = r.unparsed_uri
  headers["x-forwarded-for"] = r.useragent_ip
  local answered, status, answer = http.request { url = url, headers = headers }
  if not answered then return 503 end
  if status ~= 200 then
    for _, name in ipairs(shown) do
      local value = answer[name:lower()]
      if value then r.err_headers_out[name] = value end
    end
    return (status == 401 or status == 403) and status or 503
  end
  for _, name in ipairs(identity) do
    r.headers_in[name] = answer[name:lower()] or ""
  end
  return apache2.OK
end
