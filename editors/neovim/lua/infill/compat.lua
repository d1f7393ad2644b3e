-- What differs between Neovim 0.10, 0.11 and 0.12, so that the other modules need not know.

local M = {}

--- Neovim 0.11 made a client's functions methods.
local methods = vim.fn.has('nvim-0.11') == 1

--- Send a request.
---@return integer? id nil if the client has gone
function M.request(client, method, params, handler, bufnr)
  local sent, id
  if methods then
    sent, id = client:request(method, params, handler, bufnr)
  else
    sent, id = client.request(method, params, handler, bufnr)
  end
  return sent and id or nil
end

function M.notify(client, method, params)
  if methods then
    return client:notify(method, params)
  end
  return client.notify(method, params)
end

--- Tell the server that an answer is no longer wanted.
function M.cancel(client, id)
  local open = client.requests[id]
  if not open or open.type ~= 'pending' then
    return
  end
  if methods then
    client:cancel_request(id)
  else
    client.cancel_request(id)
  end
end

function M.stop(client)
  if methods then
    client:stop()
  else
    client.stop()
  end
end

function M.supports(client, method)
  if methods then
    return client:supports_method(method)
  end
  return client.supports_method(method)
end

--- Check one value; `expected` is a type, a list of types, or a function with `message` saying what it wants.
function M.validate(name, value, expected, message)
  if methods then
    vim.validate(name, value, expected, message)
  elseif type(expected) == 'function' then
    vim.validate({ [name] = { value, expected, message } })
  else
    vim.validate({ [name] = { value, expected } })
  end
end

return M
