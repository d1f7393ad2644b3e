-- What is done on request: filling, rewriting, fixing, explaining. The server decides and sends the edits.

local compat = require('infill.compat')
local position = require('infill.position')
local server = require('infill.server')

local M = {}

local filling = 0

--- Whether the server works on something somebody asked for.
function M.is_filling()
  return filling > 0
end

local function tell(message, level)
  vim.notify('Infill: ' .. message, level or vim.log.levels.INFO)
end

--- The client of the current buffer; says so where there is none.
local function client_here()
  local client = server.client(vim.api.nvim_get_current_buf())
  if not client then
    local filetype = vim.bo.filetype ~= '' and ('of the type %q'):format(vim.bo.filetype) or 'without a type'
    tell(('no server for this buffer, %s; :checkhealth infill'):format(filetype), vim.log.levels.WARN)
  end
  return client
end

--- Run one of the server's commands; `on_result` gets its result, `at_end` is called whatever came.
---@return boolean asked
local function execute(name, argument, on_result, at_end)
  local client = client_here()
  if not client then
    return false
  end
  local bufnr = vim.api.nvim_get_current_buf()
  local params = { command = name, arguments = argument and { argument(client, bufnr) } or {} }
  local id = compat.request(client, 'workspace/executeCommand', params, function(err, result)
    if at_end then
      at_end()
    end
    if err then
      tell(err.message or 'the server refused', vim.log.levels.ERROR)
    else
      on_result(type(result) == 'table' and result or {})
    end
  end, bufnr)
  return id ~= nil
end

local function uri_of(_, bufnr)
  return { uri = vim.uri_from_bufnr(bufnr) }
end

local function at_cursor(client, bufnr)
  return {
    uri = vim.uri_from_bufnr(bufnr),
    position = position.params(bufnr, client.offset_encoding).position,
  }
end

--- Run a command that edits; `done` is what to say of the number filled. It answers with a reason where it
--- did not edit, or not all of it.
local function fill(name, argument, done)
  -- The edit arrives before the answer; it should be an undo step of its own.
  vim.cmd('let &g:undolevels = &g:undolevels')
  filling = filling + 1
  local asked = execute(name, argument, function(result)
    local filled = tonumber(result.filled) or 0
    if type(result.reason) == 'string' then
      tell((filled > 0 and '' or 'nothing is changed: ') .. result.reason, vim.log.levels.WARN)
    elseif done and filled > 0 then
      tell(done:format(filled, filled == 1 and '' or 's'))
    end
  end, function()
    filling = filling - 1
    require('infill.canvas').clear_all()
  end)
  if not asked then
    filling = filling - 1
  end
end

function M.fill_hole() fill('infill.fillHole', at_cursor) end

function M.fill_all_holes() fill('infill.fillAllHoles', uri_of, '%d hole%s filled') end

--- Rewrite from a row and byte column to another, from 0, the end exclusive.
local function rewrite(first_row, first_col, last_row, last_col)
  fill('infill.rewriteSelection', function(client, bufnr)
    return {
      uri = vim.uri_from_bufnr(bufnr),
      range = {
        start = position.lsp(bufnr, first_row, first_col, client.offset_encoding),
        ['end'] = position.lsp(bufnr, last_row, last_col, client.offset_encoding),
      },
    }
  end)
end

local function width(row)
  return #(vim.api.nvim_buf_get_lines(0, row, row + 1, false)[1] or '')
end

--- Rewrite whole lines, counted from 1.
function M.rewrite_lines(first, last)
  rewrite(first - 1, 0, last - 1, width(last - 1))
end

--- Rewrite what is selected; leaves visual mode.
function M.rewrite_selection()
  local from, to, mode = vim.fn.getpos('v'), vim.fn.getpos('.'), vim.fn.mode()
  vim.api.nvim_feedkeys(vim.keycode('<Esc>'), 'nx', false)
  if from[2] > to[2] or (from[2] == to[2] and from[3] > to[3]) then
    from, to = to, from
  end
  if mode == 'V' then
    return M.rewrite_lines(from[2], to[2])
  end
  local row, col = to[2] - 1, to[3] - 1
  local line = vim.api.nvim_buf_get_lines(0, row, row + 1, false)[1] or ''
  -- The selection includes the character it ends on, however many bytes that has.
  local last = col < #line and col + #vim.fn.strpart(line, col, 1, 1) or #line
  rewrite(from[2] - 1, from[3] - 1, row, last)
end

function M.explain()
  if not require('infill.suggest').is_enabled(vim.api.nvim_get_current_buf()) then
    return tell('suggestions are switched off ' .. (vim.g.infill_enabled == false
      and 'everywhere; :Infill on' or 'in this buffer; :Infill toggle'))
  end
  execute('infill.explainNoSuggestion', uri_of, function(result)
    local turned_down = result.text and result.text ~= '' and '\nIt would have been:\n' .. result.text or ''
    tell((result.reason or 'nothing was asked for in this file yet') .. turned_down)
  end)
end

function M.show_status()
  execute('infill.status', nil, function(result)
    tell(require('infill.status').report(result))
  end)
end

function M.restart_engine()
  execute('infill.restartEngine', nil, function() tell('the engine is started again') end)
end

--- A diagnostic as the protocol has it.
local function to_lsp(diagnostic, bufnr, encoding)
  local given = diagnostic.user_data and diagnostic.user_data.lsp
  return {
    range = {
      start = position.lsp(bufnr, diagnostic.lnum, diagnostic.col, encoding),
      ['end'] = position.lsp(bufnr, diagnostic.end_lnum or diagnostic.lnum,
        diagnostic.end_col or diagnostic.col, encoding),
    },
    message = diagnostic.message,
    severity = diagnostic.severity,
    source = diagnostic.source,
    code = diagnostic.code,
    data = given and given.data,
  }
end

local function apply(client, action)
  if action.disabled then
    return -- the server shows why
  elseif action.edit then
    vim.lsp.util.apply_workspace_edit(action.edit, client.offset_encoding)
  elseif action.command then
    local command = type(action.command) == 'table' and action.command or action
    compat.request(client, 'workspace/executeCommand',
      { command = command.command, arguments = command.arguments }, function() end)
  else
    tell('it could not be fixed', vim.log.levels.WARN)
  end
end

local function resolve(client, action, bufnr)
  if action.edit or not action.data then
    return apply(client, action)
  end
  compat.request(client, 'codeAction/resolve', action, function(err, resolved)
    if err then
      tell(err.message, vim.log.levels.ERROR)
    else
      apply(client, resolved)
    end
  end, bufnr)
end

--- Offer the server's quick fixes for the line's diagnostics, whoever made them; one alone is taken.
function M.fix_here()
  local client = client_here()
  if not client then
    return
  end
  local bufnr = vim.api.nvim_get_current_buf()
  local row, col = position.cursor(bufnr)
  local encoding = client.offset_encoding
  local here = position.lsp(bufnr, row, col, encoding)
  -- By hand: `lnum` finds those that begin on the line and not those that reach it.
  local diagnostics = vim.tbl_map(function(diagnostic)
    return to_lsp(diagnostic, bufnr, encoding)
  end, vim.tbl_filter(function(diagnostic)
    return diagnostic.lnum <= row and row <= (diagnostic.end_lnum or diagnostic.lnum)
  end, vim.diagnostic.get(bufnr)))
  compat.request(client, 'textDocument/codeAction', {
    textDocument = { uri = vim.uri_from_bufnr(bufnr) },
    range = { start = here, ['end'] = here },
    context = { diagnostics = diagnostics, only = { 'quickfix' }, triggerKind = 1 },
  }, function(err, actions)
    if err or not actions or #actions == 0 then
      tell(err and err.message or 'nothing to fix here', vim.log.levels.WARN)
    elseif #actions == 1 then
      resolve(client, actions[1], bufnr)
    else
      vim.ui.select(actions, {
        prompt = 'Infill',
        kind = 'codeaction',
        format_item = function(action) return action.title end,
      }, function(chosen)
        if chosen then
          resolve(client, chosen, bufnr)
        end
      end)
    end
  end, bufnr)
end

return M
