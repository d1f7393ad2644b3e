-- Suggestions drawn by Neovim 0.12's vim.lsp.inline_completion, fed by this plugin.
--
-- The module draws well and is where other plugins and users' own keys look, so what it knows is kept
-- true. But it waits 200 ms before each request, never asks for alternatives, has no partial accept, and
-- keeps a suggestion's range while the user types into it. So its requests are not sent: they give us its
-- handler, through which infill.suggest hands it what there is to draw at this moment.
-- A screen: `attach`, `detach`, `show` and `clear`, like infill.ghost.

local ghost = require('infill.ghost')
local item_at = require('infill.item')

local M = {}

local METHOD = 'textDocument/inlineCompletion'

---@type table<integer, {handler: function, client: vim.lsp.Client}>
local feeds = {}
---@type table<integer, fun()>
local wanted = {}

function M.available()
  return vim.lsp.inline_completion ~= nil
end

--- Take over the built-in module's requests of a client. Those made by `real` go through.
local function intercept(client)
  if client.infill_request then
    return
  end
  local request = client.request
  client.infill_request = request
  client.request = function(self, method, params, handler, bufnr)
    if method ~= METHOD or not handler then
      return request(self, method, params, handler, bufnr)
    end
    feeds[bufnr] = { handler = handler, client = self }
    if wanted[bufnr] then
      wanted[bufnr]()
    end
    return true
  end
end

--- Send a request the built-in module has no part in.
function M.request(client, params, handler, bufnr)
  local sent, id = client.infill_request(client, METHOD, params, handler, bufnr)
  return sent and id or nil
end

---@param on_ready fun() called when the module asks, so that what is known can be handed over
function M.attach(client, bufnr, on_ready)
  intercept(client)
  wanted[bufnr] = on_ready
  vim.lsp.inline_completion.enable(true, { bufnr = bufnr })
end

function M.detach(bufnr)
  M.clear(bufnr)
  feeds[bufnr], wanted[bufnr] = nil, nil
end

local function feed(bufnr, items)
  local to = feeds[bufnr]
  if not to then
    return false
  end
  -- It fails where the module has let go of the client meanwhile: then there is nothing to draw on.
  local fed = pcall(to.handler, nil, { items = items }, { client_id = to.client.id, bufnr = bufnr, method = METHOD })
  if not fed then
    feeds[bufnr] = nil
  end
  return fed
end

--- Draw; by ourselves as long as the module has not asked, which it does some time after insert mode began.
---@param items infill.Item[]
function M.show(bufnr, items, index, choosing)
  ghost.clear(bufnr)
  if not vim.lsp.inline_completion.is_enabled({ bufnr = bufnr }) then
    return
  end
  local to = feeds[bufnr]
  local fed = to and feed(bufnr, vim.tbl_map(function(item)
    return item_at.to_lsp(item, bufnr, to.client.offset_encoding)
  end, items))
  if not fed then
    ghost.show(bufnr, items, index, choosing)
  elseif choosing or index > 1 then
    vim.lsp.inline_completion.select({ bufnr = bufnr, count = index - 1 })
  end
end

function M.clear(bufnr)
  if vim.api.nvim_buf_is_valid(bufnr) then
    ghost.clear(bufnr)
    feed(bufnr, {})
  end
end

return M
