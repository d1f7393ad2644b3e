-- Suggestions drawn with extmarks: what Neovim 0.12 does by itself, for those before it.
-- A screen: `attach`, `detach`, `show` and `clear`, like infill.builtin. It knows neither requests nor keys.

local M = {}

local namespace = vim.api.nvim_create_namespace('infill.ghost')

vim.api.nvim_set_hl(0, 'InfillGhost', {
  default = true,
  link = vim.fn.hlexists('ComplHint') == 1 and 'ComplHint' or 'NonText',
})
vim.api.nvim_set_hl(0, 'InfillGhostHint', { default = true, link = 'MoreMsg' })

function M.attach(_, _) end

function M.detach(bufnr)
  M.clear(bufnr)
end

--- Draw the item chosen, with its number where there are several and somebody chooses.
---@param items infill.Item[]
function M.show(bufnr, items, index, choosing)
  M.clear(bufnr)
  local item = items[index]
  local chunks = {}
  for line in vim.gsplit(item.text, '\n', { plain = true }) do
    table.insert(chunks, { { line, 'InfillGhost' } })
  end
  if choosing then
    table.insert(chunks[#chunks], { (' (%d/%d)'):format(index, #items), 'InfillGhostHint' })
  end
  vim.api.nvim_buf_set_extmark(bufnr, namespace, item.row, item.col, {
    virt_text = table.remove(chunks, 1),
    virt_text_pos = item.tail == '' and 'inline' or 'overlay',
    virt_lines = chunks,
    hl_mode = 'combine',
    strict = false,
  })
end

function M.clear(bufnr)
  if vim.api.nvim_buf_is_valid(bufnr) then
    vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  end
end

return M
