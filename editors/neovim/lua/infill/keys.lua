-- Keys that do something where a suggestion shows, and what they did before everywhere else.

local M = {}

local function feed(keys, flags)
  -- Before what was typed meanwhile, so that nothing changes places.
  vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(keys, true, true, true), 'i' .. flags, false)
end

--- Do what a key did before we mapped it.
local function fall_through(key, before)
  if before.callback then
    local result = before.callback()
    if before.expr == 1 and type(result) == 'string' then
      feed(result, before.noremap == 1 and 'n' or 'm')
    end
  elseif before.rhs then
    local keys = before.expr == 1 and vim.api.nvim_eval(before.rhs) or before.rhs
    feed(keys, before.noremap == 1 and 'n' or 'm')
  else
    feed(key, 'n')
  end
end

--- Map a key in insert mode; `act` returns false where there is nothing to act on.
--- No <expr> mapping, which may not edit: it would have to put that off until after the next keys.
function M.map_insert(key, act, desc)
  local before = vim.fn.maparg(key, 'i', false, true)
  if before.desc and vim.startswith(before.desc, 'Infill: ') then
    before = {}
  end
  vim.keymap.set('i', key, function()
    if not act() then
      fall_through(key, before)
    end
  end, { desc = 'Infill: ' .. desc })
end

function M.map(mode, key, act, desc)
  vim.keymap.set(mode, key, act, { desc = 'Infill: ' .. desc })
end

return M
