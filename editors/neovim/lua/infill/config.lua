-- The options of setup(): their defaults, and what is wrong with those given.

local validate = require('infill.compat').validate

local M = {}

---@class infill.Options
M.defaults = {
  --- The server's command line; nil looks for it: see |infill-server|.
  cmd = nil,
  filetypes = {
    'python', 'javascript', 'javascriptreact', 'typescript', 'typescriptreact',
    'go', 'rust', 'java', 'c', 'cpp',
  },
  root_markers = { '.git', 'pyproject.toml', 'package.json', 'go.mod', 'Cargo.toml' },
  --- The server's own settings, sent as they are; it names those it does not know.
  settings = {},
  --- Who draws suggestions: 'builtin' is vim.lsp.inline_completion (Neovim 0.12), 'own' this plugin,
  --- 'auto' the first where there is one. false: nobody, the popup of a completion plugin does.
  ghost = 'auto',
  --- How long the keyboard must rest before a suggestion is asked for.
  debounce_ms = 40,
  --- Draw the canvas while it is denoised: 'fills' where somebody asked for a fill, 'always' for
  --- suggestions too, false never.
  canvas = 'fills',
  --- Keys to map: a table from action to key, or true for the suggested ones. None by default.
  keymaps = {},
  --- How often in a row a server that died is started again.
  restarts = 5,
}

--- What `keymaps = true` maps. Where no suggestion shows, each key does what it did before.
M.suggested_keymaps = {
  accept = '<Tab>',
  accept_word = '<M-Right>',
  accept_line = '<M-l>',
  next = '<M-]>',
  prev = '<M-[>',
  dismiss = '<C-]>',
  suggest = '<M-\\>',
  fill_hole = '<Leader>if',
  fill_all_holes = '<Leader>ia',
  rewrite_selection = '<Leader>ir',
  fix_here = '<Leader>ix',
  explain = '<Leader>ie',
}

local function is_strings(value)
  return type(value) == 'table' and vim.islist(value) and #value > 0
    and vim.iter(value):all(function(item) return type(item) == 'string' end)
end

local function is_keymaps(value)
  if type(value) == 'boolean' then
    return true
  end
  if type(value) ~= 'table' then
    return false
  end
  for action, key in pairs(value) do
    if M.suggested_keymaps[action] == nil then
      return false, ('there is no action %q'):format(tostring(action))
    end
    if type(key) ~= 'string' and key ~= false then
      return false, ('the key of %s should be a string'):format(action)
    end
  end
  return true
end

local ghosts = { auto = true, builtin = true, own = true, [false] = true }

local canvases = { fills = true, always = true, [false] = true }

local function is_canvas(value)
  return canvases[value] == true
end

local function is_ghost(value)
  return ghosts[value] == true
end

local function is_count(value)
  return type(value) == 'number' and value >= 0 and value < math.huge
end

local checks = {
  cmd = { is_strings, 'a list of strings' },
  filetypes = { is_strings, 'a list of strings' },
  root_markers = { is_strings, 'a list of strings' },
  settings = { 'table' },
  ghost = { is_ghost, "'auto', 'builtin', 'own' or false" },
  debounce_ms = { is_count, 'a number of milliseconds' },
  canvas = { is_canvas, "'fills', 'always' or false" },
  keymaps = { is_keymaps, 'true, false or a table from action to key' },
  restarts = { is_count, 'a number' },
}

--- The options with their defaults; an error names the first that is wrong.
---@return infill.Options
function M.read(given)
  validate('options', given or {}, 'table')
  for name, value in pairs(given or {}) do
    local check = checks[name]
    if not check then
      error(('infill: there is no option %q; there are %s'):format(
        tostring(name), table.concat(vim.fn.sort(vim.tbl_keys(checks)), ', ')), 0)
    end
    validate('infill: ' .. name, value, unpack(check))
  end
  local options = vim.tbl_extend('force', M.defaults, given or {})
  if options.keymaps == true then
    options.keymaps = M.suggested_keymaps
  end
  options.keymaps = options.keymaps or {}
  return options
end

return M
