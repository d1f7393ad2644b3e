-- The canvas while it is denoised: each step's text, drawn where it is to go, brighter the surer it is.

local position = require('infill.position')

local M = {}

local namespace = vim.api.nvim_create_namespace('infill.canvas')

local links = { 'NonText', 'Comment', 'Identifier', 'String' }
for level, group in ipairs(links) do
  vim.api.nvim_set_hl(0, 'InfillCanvas' .. level, { default = true, link = group })
end

local function group_of(confidence)
  local level = math.floor((tonumber(confidence) or 0) * #links) + 1
  return 'InfillCanvas' .. math.max(1, math.min(level, #links))
end

--- The canvas as lines of chunks. `confidences` are one a character, or else shared out evenly.
local function chunks_of(text, confidences)
  local characters = vim.fn.split(text, [[\zs]])
  local lines, line = {}, {}
  for i, character in ipairs(characters) do
    if character == '\n' then
      table.insert(lines, line)
      line = {}
    else
      local group = group_of(confidences[math.ceil(i * #confidences / #characters)])
      local last = line[#line]
      if last and last[2] == group then
        last[1] = last[1] .. character
      else
        table.insert(line, { character, group })
      end
    end
  end
  table.insert(lines, line)
  return lines
end

local function draw_part(bufnr, part, encoding)
  local row, col = position.api(bufnr, part.range.start, encoding)
  local lines = chunks_of(part.text, part.confidences or {})
  vim.api.nvim_buf_set_extmark(bufnr, namespace, row, col, {
    virt_text = #lines[1] > 0 and lines[1] or nil,
    virt_text_pos = 'inline',
    virt_lines = { unpack(lines, 2) },
    strict = false,
  })
end

---@class infill.CanvasPart
---@field range lsp.Range
---@field text string
---@field confidences? number[]

---@class infill.Canvas: infill.CanvasPart
---@field uri string
---@field version? integer
---@field done? boolean
---@field parts? infill.CanvasPart[] its holes one by one, where several share it

--- Draw one step in place of the one before.
---@param params infill.Canvas
function M.draw(params, client)
  local bufnr = vim.uri_to_bufnr(params.uri)
  if not client or not vim.api.nvim_buf_is_loaded(bufnr) then
    return
  end
  vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  if params.done or params.version ~= vim.lsp.util.buf_versions[bufnr] then
    return
  end
  -- A canvas nobody wants any more ends without a last step.
  vim.api.nvim_create_autocmd({ 'TextChanged', 'TextChangedI', 'CursorMovedI', 'InsertLeave' }, {
    group = vim.api.nvim_create_augroup('infill.canvas', {}),
    buffer = bufnr,
    once = true,
    callback = function() vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1) end,
  })
  for _, part in ipairs(params.parts or { params }) do
    draw_part(bufnr, part, client.offset_encoding)
  end
  vim.cmd.redraw()
end

function M.clear_all()
  for _, bufnr in ipairs(vim.api.nvim_list_bufs()) do
    vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  end
end

return M
