-- Infill in Neovim: what users and their keys call. See :help infill.

local M = {}

local function suggest()
  return require('infill.suggest')
end

local function buffer()
  return vim.api.nvim_get_current_buf()
end

--- Take the whole suggestion. Like all that act on one, false where none shows.
function M.accept() return suggest().accept(buffer(), 'all') end

function M.accept_word() return suggest().accept(buffer(), 'word') end

function M.accept_line() return suggest().accept(buffer(), 'line') end

function M.next() return suggest().cycle(buffer(), 1) end

function M.prev() return suggest().cycle(buffer(), -1) end

function M.dismiss() return suggest().dismiss(buffer()) end

--- Ask for a suggestion now.
function M.suggest() return suggest().suggest(buffer()) end

--- Whether a suggestion shows at the cursor.
function M.visible() return suggest().current(buffer()) ~= nil end

function M.fill_hole() require('infill.actions').fill_hole() end

function M.fill_all_holes() require('infill.actions').fill_all_holes() end

function M.rewrite_selection() require('infill.actions').rewrite_selection() end

function M.fix_here() require('infill.actions').fix_here() end

function M.explain() require('infill.actions').explain() end

--- A few characters for a statusline.
function M.statusline() return require('infill.status').component() end

--- The server's state as a table.
function M.status() return require('infill.status').get() end

function M.start()
  require('infill.server').stop(true)
end

M.restart = M.start

function M.stop() require('infill.server').stop(false) end

--- Suggest or not: in this buffer, or everywhere.
---@param enabled? boolean nil switches
---@param everywhere? boolean
---@return boolean enabled
function M.enable(enabled, everywhere)
  local scope = everywhere and vim.g or vim.b
  if enabled == nil then
    enabled = scope.infill_enabled == false
  end
  scope.infill_enabled = enabled
  if not enabled then
    suggest().clear(buffer())
  end
  vim.cmd.redrawstatus({ bang = true })
  return enabled
end

local in_insert = {
  accept = 'take the suggestion',
  accept_word = 'take its first word',
  accept_line = 'take its first line',
  next = 'next suggestion',
  prev = 'previous suggestion',
  dismiss = 'dismiss the suggestion',
  suggest = 'suggest now',
}

local elsewhere = {
  fill_hole = { 'n', 'fill the hole here' },
  fill_all_holes = { 'n', 'fill all holes' },
  rewrite_selection = { 'x', 'rewrite the selection' },
  fix_here = { 'n', 'fix what is here' },
  explain = { 'n', 'say why there is no suggestion' },
}

local function map_keys(keymaps)
  local keys = require('infill.keys')
  for action, key in pairs(keymaps) do
    if key and in_insert[action] then
      keys.map_insert(key, M[action], in_insert[action])
    elseif key then
      keys.map(elsewhere[action][1], key, M[action], elsewhere[action][2])
    end
  end
end

--- Start serving; `options` as in |infill-options|.
---@param options? infill.Options
function M.setup(options)
  local read = require('infill.config').read(options)
  map_keys(read.keymaps)
  require('infill.server').setup(read, {
    on_attach = function(client, bufnr)
      if read.ghost then
        suggest().attach(client, bufnr, read)
      end
    end,
    on_canvas = function(params, context)
      if read.canvas == 'always' or require('infill.actions').is_filling() then
        require('infill.canvas').draw(params, vim.lsp.get_client_by_id(context.client_id))
      end
    end,
    on_ready = function() suggest().refresh(buffer()) end,
    on_gone = function()
      for _, bufnr in ipairs(vim.api.nvim_list_bufs()) do
        if not require('infill.server').client(bufnr) then
          suggest().detach(bufnr)
        end
      end
      require('infill.canvas').clear_all()
    end,
  })
end

return M
