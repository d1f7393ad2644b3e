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

--- A few characters for the statusline: a mark, and what is worth words.
function M.component()
  local mark = marks[current.state] .. ' infill'
  if current.state == 'loading' or current.state == 'error' then
    return mark .. (current.message ~= '' and ': ' .. current.message or '')
  end
  return mark .. (current.reason and ': ' .. current.reason or '')
end

return M
