-- Suggestions while typing: when to ask, what is known at this moment, accepting, cycling, dismissing.
--
-- A buffer's state holds the items for where the cursor is. Whoever types along an item only shortens it;
-- anything else drops all. How they are drawn is the screen's: infill.builtin or infill.ghost.

local builtin = require('infill.builtin')
local compat = require('infill.compat')
local item_at = require('infill.item')
local position = require('infill.position')

local M = {}

local METHOD = 'textDocument/inlineCompletion'
local INVOKED, AUTOMATIC = 1, 2

---@class infill.State
---@field client vim.lsp.Client
---@field screen table
---@field items infill.Item[]
---@field index integer
---@field choosing boolean whether somebody went through the alternatives
---@field place? string where was asked last, with the text's age
---@field id? integer the request in progress
---@field timer uv.uv_timer_t

---@type table<integer, infill.State>
local states = {}
--- The server's items it was told that somebody saw.
local shown = setmetatable({}, { __mode = 'k' })
local group = vim.api.nvim_create_augroup('infill.suggest', {})

local function is_inserting()
  return vim.api.nvim_get_mode().mode:sub(1, 1) == 'i'
end

--- The buffer's text and the cursor in it, as something to compare.
local function place_of(bufnr)
  local row, col = position.cursor(bufnr)
  return ('%d:%d:%d'):format(vim.api.nvim_buf_get_changedtick(bufnr), row, col)
end

local function show(bufnr)
  local state = states[bufnr]
  if #state.items == 0 then
    state.screen.clear(bufnr)
    return
  end
  state.screen.show(bufnr, state.items, state.index, state.choosing)
  local source = state.items[state.index].source
  if not shown[source] then
    shown[source] = true
    compat.notify(state.client, 'textDocument/didShowCompletion', { item = source })
  end
end

--- Tell the server what became of an item by running a command with what the item's own carries.
local function report(state, item, command)
  local carried = item.source.command
  if carried then
    compat.request(state.client, 'workspace/executeCommand', {
      command = command or carried.command,
      arguments = carried.arguments,
    }, function() end)
  end
end

local function keep(bufnr, items, index, choosing)
  local state = states[bufnr]
  state.items, state.index, state.choosing = items, index or 1, choosing or false
  show(bufnr)
end

local function cancel(state)
  state.timer:stop()
  if state.id then
    compat.cancel(state.client, state.id)
    state.id = nil
  end
end

--- Ask the server, in place of whatever was asked before; `on_items` gets what fits at the cursor.
local function ask(bufnr, kind, on_items)
  local state = states[bufnr]
  cancel(state)
  local place = place_of(bufnr)
  state.place = place
  local row, col = position.cursor(bufnr)
  local params = position.params(bufnr, state.client.offset_encoding)
  params.context = { triggerKind = kind }
  local id
  local function answered(err, result)
    if states[bufnr] ~= state or state.id ~= id then
      return
    end
    state.id = nil
    if err or place_of(bufnr) ~= place or not is_inserting() then
      return
    end
    local items = {}
    for _, source in ipairs(result and (result.items or result) or {}) do
      table.insert(items, item_at.from_lsp(source, bufnr, row, col, state.client.offset_encoding))
    end
    on_items(items)
  end
  if state.screen == builtin then
    id = builtin.request(state.client, params, answered, bufnr)
  else
    id = compat.request(state.client, METHOD, params, answered, bufnr)
  end
  state.id = id
end

function M.is_enabled(bufnr)
  return vim.g.infill_enabled ~= false and vim.b[bufnr].infill_enabled ~= false
end

--- The cursor moved or the text changed: keep what still fits, ask again where nothing does.
local function moved(bufnr, debounce_ms)
  local state = states[bufnr]
  if not M.is_enabled(bufnr) or vim.fn.pumvisible() == 1 or not is_inserting() then
    M.clear(bufnr)
    return
  end
  if place_of(bufnr) == state.place then
    return
  end
  local chosen = state.items[state.index]
  local still = chosen and item_at.at_cursor(chosen, bufnr)
  if still then
    cancel(state)
    if still.col ~= chosen.col then
      keep(bufnr, { still })
    end
    return
  end
  if chosen then
    keep(bufnr, {})
  end
  cancel(state)
  state.timer:start(debounce_ms, 0, vim.schedule_wrap(function()
    if states[bufnr] == state and is_inserting() and vim.api.nvim_get_current_buf() == bufnr then
      ask(bufnr, AUTOMATIC, function(items) keep(bufnr, items) end)
    end
  end))
end

--- Suggest in a buffer from now on.
function M.attach(client, bufnr, options)
  if not client.server_capabilities.inlineCompletionProvider then
    return
  end
  M.detach(bufnr)
  local with_builtin = options.ghost ~= 'own' and builtin.available()
  states[bufnr] = {
    client = client,
    screen = with_builtin and builtin or require('infill.ghost'),
    items = {},
    index = 1,
    choosing = false,
    timer = assert(vim.uv.new_timer()),
  }
  states[bufnr].screen.attach(client, bufnr, function() show(bufnr) end)
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, buffer = bufnr, callback = callback })
  end
  on({ 'InsertEnter', 'CursorMovedI', 'TextChangedI', 'TextChangedP', 'CompleteDone' }, function(event)
    -- On InsertEnter the mode is not yet what it will be.
    if event.event == 'InsertEnter' then
      vim.schedule(function() if states[bufnr] then moved(bufnr, options.debounce_ms) end end)
    else
      moved(bufnr, options.debounce_ms)
    end
  end)
  on({ 'InsertLeave', 'BufLeave' }, function() M.clear(bufnr) end)
  if is_inserting() and vim.api.nvim_get_current_buf() == bufnr then
    moved(bufnr, options.debounce_ms)
  end
end

function M.detach(bufnr)
  local state = states[bufnr]
  if not state then
    return
  end
  cancel(state)
  state.timer:close()
  states[bufnr] = nil
  state.screen.detach(bufnr)
  vim.api.nvim_clear_autocmds({ group = group, buffer = bufnr })
end

--- The item at the cursor, if one shows.
---@return infill.Item?
function M.current(bufnr)
  local state = states[bufnr]
  local item = state and state.items[state.index]
  return item and item_at.at_cursor(item, bufnr)
end

--- Take the suggestion or its first word or line; false where there is none.
---@param part 'all'|'word'|'line'
function M.accept(bufnr, part)
  local item = M.current(bufnr)
  if not item then
    -- Another server's suggestion may show, in which case the built-in module knows.
    return part == 'all' and builtin.available() and vim.lsp.inline_completion.get({ bufnr = bufnr })
  end
  local state = states[bufnr]
  cancel(state)
  local rest = item_at.accept(item, bufnr, part)
  keep(bufnr, rest and { rest } or {})
  if rest then
    compat.notify(state.client, 'textDocument/didPartiallyAcceptCompletion', {
      item = item.source,
      acceptedLength = position.character(item_at.text_of(item.source), rest.taken, 'utf-16'),
    })
  else
    report(state, item)
  end
  return true
end

--- Show the next alternative, or one before; asks for some first where only one is known.
function M.cycle(bufnr, count)
  local state, item = states[bufnr], M.current(bufnr)
  if not item then
    return false
  end
  if #state.items > 1 then
    keep(bufnr, state.items, (state.index - 1 + count) % #state.items + 1, true)
    return true
  end
  ask(bufnr, INVOKED, function(found)
    local items = { item }
    for _, other in ipairs(found) do
      if not vim.iter(items):any(function(known) return known.text == other.text end) then
        table.insert(items, other)
      end
    end
    keep(bufnr, items, count % #items + 1, true)
  end)
  return true
end

--- Ask now, as somebody who waits for an answer.
function M.suggest(bufnr)
  if not states[bufnr] then
    return false
  end
  ask(bufnr, INVOKED, function(items) keep(bufnr, items) end)
  return true
end

--- Take away what shows and stop asking until the text changes; false where nothing shows.
function M.dismiss(bufnr)
  local item = M.current(bufnr)
  M.clear(bufnr)
  if item then
    states[bufnr].place = place_of(bufnr)
    report(states[bufnr], item, 'infill.rejected')
  end
  return item ~= nil
end

--- Ask again where nothing shows, as when the model has just been loaded.
function M.refresh(bufnr)
  local state = states[bufnr]
  if state and #state.items == 0 and is_inserting() then
    state.place = nil
    moved(bufnr, 0)
  end
end

--- Forget everything about a buffer's cursor.
function M.clear(bufnr)
  local state = states[bufnr]
  if state then
    cancel(state)
    state.place = nil
    if #state.items > 0 then
      keep(bufnr, {})
    end
  end
end

return M
