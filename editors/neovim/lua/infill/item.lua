-- A suggestion at the cursor: what of it is still to come, its first word or line, putting it in.
--
-- It is kept as the text to come at one place of the buffer, not as the range the server gave: whoever
-- types along only shortens it, and accepting at any moment inserts exactly what is drawn.

local position = require('infill.position')

local M = {}

---@class infill.Item
---@field text string what comes at `row`, `col`
---@field row integer from 0
---@field col integer byte column from 0
---@field tail string what behind the cursor is replaced by it; within one line
---@field after string the rest of the line when it was made, `tail` included
---@field source table the server's item
---@field taken integer how many bytes of it were typed or accepted

--- What the server wants inserted.
function M.text_of(source)
  local text = source.insertText
  return type(text) == 'table' and text.value or text
end

--- An item for the cursor where it was asked for, or nil if it does not fit there.
---@return infill.Item?
function M.from_lsp(source, bufnr, row, col, encoding)
  local text = M.text_of(source):gsub('\r\n?', '\n')
  local line = vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1]
  local first, last = col, col
  if source.range then
    if source.range.start.line ~= row or source.range['end'].line ~= row then
      return nil
    end
    first = position.col(line, source.range.start.character, encoding)
    last = position.col(line, source.range['end'].character, encoding)
  end
  local typed = line:sub(first + 1, col)
  if first > col or last < col or not vim.startswith(text, typed) then
    return nil
  end
  return {
    text = text:sub(#typed + 1),
    row = row,
    col = col,
    tail = line:sub(col + 1, last),
    after = line:sub(col + 1),
    source = source,
    taken = #typed,
  }
end

--- What is left of an item now that the cursor may have moved along it; nil if it no longer fits.
---@return infill.Item?
function M.at_cursor(item, bufnr)
  local row, col = position.cursor(bufnr)
  if row ~= item.row or col < item.col then
    return nil
  end
  local line = vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1]
  local typed = line:sub(item.col + 1, col)
  if line:sub(col + 1) ~= item.after or not vim.startswith(item.text, typed) or item.text == typed then
    return nil
  end
  return vim.tbl_extend('force', item, {
    text = item.text:sub(#typed + 1),
    col = col,
    taken = item.taken + #typed,
  })
end

local FIRST_WORD = [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)]]

--- The first word or line of a text, or all of it.
---@param part 'all'|'word'|'line'
function M.first(text, part)
  local found = ''
  if part == 'word' then
    found = vim.fn.matchstr(text, FIRST_WORD)
  elseif part == 'line' then
    -- A text that begins with a line end would otherwise give nothing but that.
    found = text:match('^\n*[^\n]*')
  end
  return found ~= '' and found or text
end

--- Put the first part of an item into the buffer, as an undo step of its own, with the cursor behind it.
---@return infill.Item? rest what is still to come
function M.accept(item, bufnr, part)
  local taken = M.first(item.text, part)
  local whole = #taken == #item.text
  local _, _, window = position.cursor(bufnr)
  local lines = vim.split(taken, '\n', { plain = true })
  -- Setting the option to what it is ends the undo step, in insert mode too (:help undo-break).
  vim.cmd('let &g:undolevels = &g:undolevels')
  local until_col = item.col + (whole and #item.tail or 0)
  vim.api.nvim_buf_set_text(bufnr, item.row, item.col, item.row, until_col, lines)
  local row = item.row + #lines - 1
  local col = (#lines == 1 and item.col or 0) + #lines[#lines]
  vim.api.nvim_win_set_cursor(window, { row + 1, col })
  if whole then
    return nil
  end
  return vim.tbl_extend('force', item, {
    text = item.text:sub(#taken + 1),
    row = row,
    col = col,
    taken = item.taken + #taken,
  })
end

--- The item as the protocol writes it, for the place where it is now.
function M.to_lsp(item, bufnr, encoding)
  return {
    insertText = item.text,
    range = {
      start = position.lsp(bufnr, item.row, item.col, encoding),
      ['end'] = position.lsp(bufnr, item.row, item.col + #item.tail, encoding),
    },
    command = item.source.command,
  }
end

return M
