# make help says what there is.  PYTHON and VENV may be set: make test PYTHON=python3.12 VENV=.venv312
VENV ?= .venv
export PYTHON VENV

BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEVELOPMENT := $(VENV)/.installed-dev
DRAWING := $(VENV)/.installed-bench

.DEFAULT_GOAL := help
.PHONY: help run demo test lint format fuzz fuzz-live flood bench bench-full bench-journal \
	profile soak docs lock news clean

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: $(RUNTIME) ## run the gateway on loopback with etc/msrpgw.toml
	@echo
	@echo 'When it says that it is ready, type these in two more terminals, and then lines of text:'
	@echo '    $(BIN)/msrpgw-ua msrp --me sip:bob@127.0.0.1:6070 --peer sip:alice@127.0.0.1:6060'
	@echo '    $(BIN)/msrpgw-ua page --me sip:alice@127.0.0.1:6060 --peer sip:bob@127.0.0.1:6070'
	@echo 'The first is an MSRP user, the second has only SIP MESSAGE.  Ctrl-C stops the gateway.'
	@echo
	@mkdir -p state
	@exec $(BIN)/twistd -n --pidfile= msrpgw --config etc/msrpgw.toml --state-dir state

demo: $(RUNTIME) ## let two users converse through a gateway and show the message ladder
	@$(BIN)/python -m msrpgw.ua.demo

test: $(DEVELOPMENT) ## run all tests; real SIP peers are installed where allowed
	@tools/install-peers
	@$(BIN)/python tools/run_tests.py

lint: $(DEVELOPMENT) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

format: $(DEVELOPMENT) ## let ruff format the code and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: $(RUNTIME) ## feed a million spoilt messages to each codec
	@$(BIN)/python -m fuzz.codecs

fuzz-live: $(RUNTIME) ## attack a running gateway while an honest conversation goes on
	@$(BIN)/python -m fuzz.live

flood: $(RUNTIME) ## flood a running gateway with slow connections, calls and messages
	@$(BIN)/python -m fuzz.flood

bench: $(RUNTIME) ## measure CPU per message against the bare floor, in two minutes
	@$(BIN)/python -m benchmarks.bench

bench-full: $(DRAWING) ## measure everything, in forty minutes, into benchmarks/results/
	@$(BIN)/python -m benchmarks.full

bench-journal: $(RUNTIME) ## measure what the journal costs
	@$(BIN)/python -m benchmarks.journal

profile: $(RUNTIME) ## write where the time of messages and sessions goes to benchmarks/results/
	@$(BIN)/python -m benchmarks.profiling

MINUTES ?= 60
soak: $(RUNTIME) ## load a gateway for an hour, or MINUTES=..., and see what is left
	@$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)

docs: $(DEVELOPMENT) ## check that docs/ and the code agree
	@$(BIN)/trial tests.test_docs

lock: $(DEVELOPMENT) ## resolve the dependencies anew into the lock files
	tools/lock

news: $(DEVELOPMENT) ## show what the fragments in newsfragments/ add to the changelog
	@$(BIN)/towncrier build --draft --version next

clean: ## remove what make made, the virtual environment included
	rm -rf $(VENV) state build dist *.egg-info _trial_temp* .coverage .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis twisted/plugins/dropin.cache

$(RUNTIME): requirements.lock setup.cfg pyproject.toml tools/install
	@tools/install requirements.lock
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.lock
	@tools/install requirements-dev.lock
	@touch $@

$(DRAWING): $(RUNTIME) requirements-bench.lock
	@tools/install requirements-bench.lock
	@touch $@
