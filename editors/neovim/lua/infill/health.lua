-- :checkhealth infill

local M = {}

local health = vim.health

local function check_neovim()
  health.start('infill: Neovim')
  if vim.fn.has('nvim-0.10') == 0 then
    health.error('Neovim 0.10 or newer is needed')
  elseif vim.lsp.inline_completion then
    health.ok('Neovim has vim.lsp.inline_completion, which draws the suggestions')
  else
    health.ok('this Neovim has no vim.lsp.inline_completion (0.12 does): the plugin draws the suggestions')
  end
end

local function check_server()
  health.start('infill: server')
  local server = require('infill.server')
  local command, where = server.command()
  if not command then
    local advice = {
      'in a clone of the repository: uv tool install .',
      'or: pipx install .',
      "or, after `make demo` in it, set the option cmd = { '/path/to/the/clone/.venv/bin/infill', 'lsp' }",
    }
    health.error('the server was not found', advice)
    for _, place in ipairs(server.places()) do
      health.info(('looked in %s: %s'):format(place.what, place.path or 'not set'))
    end
    return
  end
  health.ok(('found in %s: %s'):format(where, table.concat(command, ' ')))
  if vim.fn.executable(command[1]) == 0 then
    health.error(command[1] .. ' cannot be run')
    return
  end
  local done = vim.system({ command[1], '--version' }, { text = true, timeout = 20000 }):wait()
  if done.code == 0 then
    health.ok(vim.trim(done.stdout))
  else
    health.warn(('`%s --version` ended with %d'):format(command[1], done.code))
  end
end

--- Our keys as 'i <Tab>', whoever mapped them.
local function mapped_keys()
  local keys = {}
  for _, mode in ipairs({ 'i', 'n', 'x' }) do
    for _, map in ipairs(vim.api.nvim_get_keymap(mode)) do
      if map.desc and vim.startswith(map.desc, 'Infill: ') then
        table.insert(keys, mode .. ' ' .. map.lhs)
      end
    end
  end
  return keys
end

local function check_client()
  health.start('infill: this session')
  local clients = vim.lsp.get_clients({ name = 'infill' })
  if #clients == 0 then
    health.info('no server runs: it starts with the first file of a language it knows, after setup()')
  end
  for _, client in ipairs(clients) do
    local buffers = vim.tbl_count(client.attached_buffers)
    health.ok(('client %d, %d buffer%s, positions in %s, root %s'):format(client.id, buffers,
      buffers == 1 and '' or 's', client.offset_encoding, client.config.root_dir or 'none'))
  end
  local status = require('infill.status').get()
  local begins = vim.startswith(status.message, status.state)
  health.info(begins and status.message or ('%s: %s'):format(status.state, status.message))
  if vim.g.infill_enabled == false then
    health.warn('suggestions are switched off everywhere', { ':Infill on' })
  end
  local keys = mapped_keys()
  if #keys == 0 then
    health.info('no keys are mapped: setup({ keymaps = true }) maps them, see :help infill-keys')
  else
    health.info('keys: ' .. table.concat(keys, ', '))
  end
  if status.reason then
    health.info('last reason for no suggestion: ' .. status.reason)
  end
end

function M.check()
  check_neovim()
  check_server()
  check_client()
end

return M
