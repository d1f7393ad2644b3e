-- The :Infill command; the rest is loaded when it is used.

if vim.g.loaded_infill then
  return
end
vim.g.loaded_infill = true

local function call(name, ...)
  local arguments = { ... }
  return function()
    require('infill')[name](unpack(arguments))
  end
end

local function switch(enabled, everywhere)
  return function()
    local on = require('infill').enable(enabled, everywhere)
    vim.notify(('Infill: suggestions are %s %s'):format(on and 'on' or 'off',
      everywhere and 'everywhere' or 'in this buffer'))
  end
end

local subcommands = {
  ['fill'] = call('fill_hole'),
  ['fill-all'] = call('fill_all_holes'),
  ['rewrite'] = call('rewrite_selection'),
  ['fix'] = call('fix_here'),
  ['explain'] = call('explain'),
  ['status'] = function() require('infill.actions').show_status() end,
  ['restart'] = call('restart'),
  ['restart-engine'] = function() require('infill.actions').restart_engine() end,
  ['start'] = call('start'),
  ['stop'] = call('stop'),
  ['on'] = switch(true, true),
  ['off'] = switch(false, true),
  ['toggle'] = switch(nil, false),
  ['log'] = function() vim.cmd.tabedit(vim.lsp.log.get_filename and vim.lsp.log.get_filename() or vim.lsp.get_log_path()) end,
}

vim.api.nvim_create_user_command('Infill', function(command)
  local run = subcommands[command.args == '' and 'status' or command.args]
  if not run then
    vim.notify(('Infill: there is no %q'):format(command.args), vim.log.levels.ERROR)
    return
  end
  if command.args == 'rewrite' then
    require('infill.actions').rewrite_lines(command.line1, command.line2)
    return
  end
  run()
end, {
  nargs = '?',
  range = true,
  desc = 'Infill: fill, fill-all, rewrite, fix, explain, status, ...',
  complete = function(lead)
    return vim.iter(vim.fn.sort(vim.tbl_keys(subcommands))):filter(function(name)
      return vim.startswith(name, lead)
    end):totable()
  end,
})
