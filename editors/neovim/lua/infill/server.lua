-- The server's process: finding it, starting it for a buffer, starting it again when it dies.

local compat = require('infill.compat')
local status = require('infill.status')

local M = {}

local NAME = 'infill'
local CALM_MS = 60000
local FIRST_DELAY_MS = 200
--- How long a server must have run to be thought well, and the first pause after one died.

---@type infill.Options
local options
local hooks
local stopping = false
local deaths = 0

local is_windows = vim.fn.has('win32') == 1

--- Where the server may be, in the order they are tried, each with what is there.
---@return {what: string, path: string?}[]
function M.places()
  local function inside(folder)
    return folder and vim.fs.normalize(folder .. (is_windows and '/Scripts/infill.exe' or '/bin/infill'))
  end
  local home = vim.uv.os_homedir()
  return {
    { what = 'the active virtual environment ($VIRTUAL_ENV)', path = inside(vim.env.VIRTUAL_ENV) },
    { what = 'the active conda environment ($CONDA_PREFIX)', path = inside(vim.env.CONDA_PREFIX) },
    { what = '$PATH', path = 'infill' },
    { what = '~/.local/bin, where uv and pipx put it', path = home and home .. '/.local/bin/infill' },
  }
end

--- The command line to start, and how it was found; nil if there is none.
---@return string[]?, string
function M.command()
  if options and options.cmd then
    return options.cmd, 'the option cmd'
  end
  for _, place in ipairs(M.places()) do
    local path = place.path and vim.fn.exepath(place.path)
    if path and path ~= '' then
      return { path, 'lsp' }, place.what
    end
  end
  return nil, 'nowhere'
end

---@return vim.lsp.Client?
function M.client(bufnr)
  return vim.lsp.get_clients({ name = NAME, bufnr = bufnr })[1]
end

local function capabilities()
  local all = vim.lsp.protocol.make_client_capabilities()
  -- Neovim before 0.12 does not ask for these by itself: we do. Who wants none gets them in the popup.
  -- Null and not nil, in the place of which Neovim 0.12 puts what it can.
  all.textDocument.inlineCompletion = options.ghost and { dynamicRegistration = false } or vim.NIL
  return all
end

local function settings()
  return vim.tbl_extend('keep', options.settings, { canvas = options.canvas ~= false or nil })
end

local function is_ours(bufnr)
  return vim.api.nvim_buf_is_loaded(bufnr)
    and vim.bo[bufnr].buftype == ''
    and vim.list_contains(options.filetypes, vim.bo[bufnr].filetype)
end

local function died(code, signal)
  deaths = deaths + 1
  local how = signal ~= 0 and ('signal %d'):format(signal) or ('exit code %d'):format(code)
  if deaths > options.restarts then
    status.set({ state = 'error', message = ('the server ended with %s too often; :Infill restart'):format(how) })
    return
  end
  status.set({ state = 'loading', message = ('the server ended with %s and is started again'):format(how) })
  vim.defer_fn(function()
    if not stopping then
      M.start_all()
    end
  end, FIRST_DELAY_MS * 2 ^ (deaths - 1))
end

local function start_config(bufnr, command)
  local began = vim.uv.now()
  return {
    name = NAME,
    cmd = command,
    root_dir = vim.fs.root(bufnr, options.root_markers),
    init_options = next(settings()) and settings() or vim.empty_dict(),
    settings = { infill = settings() },
    capabilities = capabilities(),
    handlers = {
      ['infill/status'] = function(_, params)
        local before = status.get().state
        status.set(params)
        if before == 'loading' and params.state == 'ready' then
          hooks.on_ready()
        end
      end,
      ['infill/canvas'] = function(_, params, context) hooks.on_canvas(params, context) end,
    },
    on_init = function()
      if status.get().state ~= 'ready' then
        status.set({ state = 'loading', message = 'the model is loading' })
      end
    end,
    on_attach = function(client, attached) hooks.on_attach(client, attached) end,
    on_exit = function(code, signal)
      vim.schedule(function()
        hooks.on_gone()
        if stopping or vim.v.exiting ~= vim.NIL then
          status.set({ state = 'off', message = 'stopped' })
          return
        end
        if vim.uv.now() - began > CALM_MS then
          deaths = 0
        end
        died(code, signal)
      end)
    end,
  }
end

--- Start the server for a buffer, or connect the one that runs for its project.
function M.start(bufnr)
  if stopping or not is_ours(bufnr) then
    return
  end
  local command, where = M.command()
  if not command then
    status.set({ state = 'error', message = 'the server was not found; :checkhealth infill' })
    return
  end
  vim.lsp.log.info('infill: ' .. command[1] .. ', found in ' .. where)
  local config = start_config(bufnr, command)
  vim.lsp.start(config, {
    bufnr = bufnr,
    reuse_client = function(client)
      return client.name == NAME and client.config.root_dir == config.root_dir and not client.is_stopped(client)
    end,
  })
end

function M.start_all()
  for _, bufnr in ipairs(vim.api.nvim_list_bufs()) do
    M.start(bufnr)
  end
end

--- End the server; `again` starts it anew once it has ended.
function M.stop(again)
  stopping = true
  local clients = vim.lsp.get_clients({ name = NAME })
  for _, client in ipairs(clients) do
    compat.stop(client)
  end
  if again then
    local timer = assert(vim.uv.new_timer())
    timer:start(0, 50, vim.schedule_wrap(function()
      if timer:is_closing() or #vim.lsp.get_clients({ name = NAME }) > 0 then
        return
      end
      timer:close()
      stopping, deaths = false, 0
      M.start_all()
    end))
  end
end

--- `on`: on_attach(client, bufnr), on_canvas(params, context), on_ready(), on_gone().
function M.setup(given, on)
  options, hooks, stopping, deaths = given, on, false, 0
  vim.api.nvim_create_autocmd('FileType', {
    group = vim.api.nvim_create_augroup('infill.server', {}),
    pattern = options.filetypes,
    callback = function(event) M.start(event.buf) end,
  })
  M.start_all()
end

return M
