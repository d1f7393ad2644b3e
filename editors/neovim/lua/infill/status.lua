-- What the server says of itself: for the statusline, :Infill status and whoever listens to
-- `User InfillStatus`.

local M = {}

---@class infill.Status
---@field state 'off'|'loading'|'ready'|'busy'|'error'
---@field message string
---@field reason? string why there was no suggestion, where that is so
---@field model? string

---@type infill.Status
local current = { state = 'off', message = 'not started' }

local marks = { off = '○', loading = '◌', ready = '●', busy = '◍', error = '✗' }

local function text(value)
  return type(value) == 'string' and value ~= '' and value or nil
end

--- Take over a status, from the server or from us.
---@param status infill.Status
function M.set(status)
  current = {
    state = marks[status.state] and status.state or 'ready',
    message = text(status.message) or '',
    reason = text(status.reason),
    model = text(status.model) or current.model,
  }
  vim.api.nvim_exec_autocmds('User', { pattern = 'InfillStatus', modeline = false, data = current })
  vim.cmd.redrawstatus()
end

---@return infill.Status
function M.get()
  return vim.deepcopy(current)
end

--- A few characters for the statusline: a mark, and what is worth words in the current buffer, which
--- in a statusline is the one of the window it is drawn for.
function M.component()
  local bufnr = vim.api.nvim_get_current_buf()
  local mark = marks[current.state] .. ' infill'
  if current.state == 'loading' or current.state == 'error' then
    return mark .. (current.message ~= '' and ': ' .. current.message or '')
  elseif not require('infill.suggest').is_enabled(bufnr) then
    return marks.off .. ' infill: switched off'
  elseif not require('infill.server').client(bufnr) then
    return mark
  end
  return mark .. (current.reason and ': ' .. current.reason or '')
end

--- Milliseconds as somebody reads them.
local function milliseconds(value)
  return type(value) == 'number' and ('%.0f ms'):format(value) or '-'
end

--- What `infill.status` answers, in a few lines; what else it says comes last, by name.
---@param found table<string, any>
function M.report(found)
  local function get(name)
    local value = found[name]
    found[name] = nil
    return value ~= vim.NIL and value or nil
  end
  found = vim.deepcopy(found)
  get('state')
  local lines = { get('message') or current.message }
  local model, device, dtype, parameters = get('model'), get('device'), get('dtype'), get('parameters')
  if model then
    local size = type(parameters) == 'number' and (', %.1f million parameters'):format(parameters / 1e6) or ''
    table.insert(lines, ('model: %s on %s, %s%s'):format(model, device or '?', dtype or '?', size))
  end
  table.insert(lines, ('requests: %d, half of them within %s, nine of ten within %s'):format(
    get('requests') or 0, milliseconds(get('p50Ms')), milliseconds(get('p90Ms'))))
  table.insert(lines, ('suggestions: %d shown, %d accepted, %d in part, %d rejected'):format(
    get('shown') or 0, get('accepted') or 0, get('partiallyAccepted') or 0, get('rejected') or 0))
  for reason, times in pairs(get('nothing') or {}) do
    table.insert(lines, ('nothing: %d times, %s'):format(times, reason))
  end
  for _, name in ipairs(vim.fn.sort(vim.tbl_keys(found))) do
    local value = get(name)
    if value ~= nil then
      table.insert(lines, name .. ': ' .. (type(value) == 'table' and vim.inspect(value) or tostring(value)))
    end
  end
  return table.concat(lines, '\n')
end

return M
