# Needs Python 3.11 or newer, pip and make. Every command can be typed by hand; README.md says how without make.
# Another Python: make setup PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.installed

CHECK_VERSION := import sys; sys.version_info >= (3, 11) or sys.exit( \
	"This is Python %d.%d; Python 3.11 or newer is needed. Name one, as in: make PYTHON=python3.12" \
	% sys.version_info[:2])

define HELP
make book                  build the site, execute every chapter, compare, build the site from the fresh outputs
make test                  lint, chapters, site, browser, unit tests, stored outputs
make test-portable         the stored outputs under another processor's kernels and with one thread

make site                  build the site from the stored outputs
make lab                   open the book in JupyterLab
make chapter NAME=...      execute one chapter and store it, as in NAME=transfer/finetuning
make experiment NAME=...   run one long experiment and store its results; it can be interrupted
make again NAME=...        run a few of its jobs again and compare with what is stored: JOBS=3
make bench                 measure against peers, or one part: ONLY=generation
make lint                  check the code's style
make tidy                  bring code and notebooks into their normal form
make setup                 only make the virtual environment .venv and install into it
make assets                only download data and pretrained weights, and verify them
make clean                 remove what was built; environment, downloads and finished parts of experiments stay
endef

.PHONY: help setup assets book test test-portable site lab chapter experiment again bench lint tidy clean
.NOTPARALLEL:

help:
	$(info $(HELP))
	@:

# Debian's Python comes without ensurepip: there pip itself puts pip into the new environment.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(CHECK_VERSION)'
	@echo "Installing into $(VENV): some minutes and up to 7 GB, most of it PyTorch ..."
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) >/dev/null || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(RUN) install --quiet pip; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check --use-pep517 -e '.[notebooks,book,test]' -c constraints.txt
	@touch $@

setup: $(READY)
	@:

assets: $(READY)
	@$(VENV)/bin/tlcourse assets fetch

book: assets
	@$(RUN) -m tools.book

test: assets
	@$(RUN) -m tools.check

test-portable: assets
	@$(RUN) -m tools.check --portable

site: $(READY)
	@$(RUN) -m tools.site

lab: assets
	@$(RUN) -m jupyterlab book

chapter: assets
	@$(RUN) -m tools.chapter $(NAME)

experiment: assets
	@test -f 'experiments/$(NAME).py' || { echo "Name one, as in: make experiment NAME=transfer/finetuning"; exit 2; }
	@$(RUN) experiments/$(NAME).py

again: assets
	@$(RUN) -m tools.again $(NAME) --jobs $(or $(JOBS),3)

bench: assets
	@$(RUN) -m benchmarks $(if $(ONLY),--only $(ONLY))

lint: $(READY)
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check

tidy: $(READY)
	@$(RUN) -m ruff check --fix
	@$(RUN) -m ruff format
	@$(RUN) -m tools.notebooks

clean:
	rm -rf _build/html _build/.doctrees _build/source _build/executed _build/claims _build/site.log
	rm -rf .coverage .pytest_cache .ruff_cache .hypothesis
