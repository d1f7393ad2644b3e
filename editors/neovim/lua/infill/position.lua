-- Byte columns of a line, as Neovim counts, and characters of a position, as the server counts.
-- Its own few lines rather than vim.str_utfindex, whose signature changed with Neovim 0.11.

local M = {}

--- The length in units of `encoding` of the character that begins with this byte; 0 inside a character.
local function units(byte, encoding)
  if byte >= 0x80 and byte < 0xC0 then
    return 0
  end
  return encoding == 'utf-16' and byte >= 0xF0 and 2 or 1
end

--- A position's character for a byte column, both from 0.
function M.character(line, col, encoding)
  if encoding == 'utf-8' then
    return col
  end
  local count = 0
  for i = 1, math.min(col, #line) do
    count = count + units(line:byte(i), encoding)
  end
  return count
end

--- The byte column for a position's character, both from 0; past the end it is the line's length.
function M.col(line, character, encoding)
  if encoding == 'utf-8' then
    return math.min(character, #line)
  end
  local count = 0
  for i = 1, #line do
    local more = units(line:byte(i), encoding)
    if more > 0 and count + more > character then
      return i - 1
    end
    count = count + more
  end
  return #line
end

local function line_of(bufnr, row)
  return vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ''
end

--- An LSP position for a row and a byte column from 0.
function M.lsp(bufnr, row, col, encoding)
  return { line = row, character = M.character(line_of(bufnr, row), col, encoding) }
end

--- Row and byte column from 0 of an LSP position.
function M.api(bufnr, position, encoding)
  return position.line, M.col(line_of(bufnr, position.line), position.character, encoding)
end

--- Row and byte column from 0 of the cursor, in a window that shows the buffer.
function M.cursor(bufnr)
  local window = vim.api.nvim_get_current_win()
  if vim.api.nvim_win_get_buf(window) ~= bufnr then
    window = vim.fn.bufwinid(bufnr)
  end
  local row, col = unpack(vim.api.nvim_win_get_cursor(window))
  return row - 1, col, window
end

--- What `textDocument/…` requests about the cursor take.
function M.params(bufnr, encoding)
  local row, col = M.cursor(bufnr)
  return {
    textDocument = { uri = vim.uri_from_bufnr(bufnr) },
    position = M.lsp(bufnr, row, col, encoding),
  }
end

return M
