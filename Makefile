# demo   from nothing to a pretrained transformer and its attention heads (six minutes on two quick cores, eleven on slow ones)
# study  a small model with masked spans of 3, 6 and 9 frames, drawn side by side
# attention  fourteen attention algorithms, trained alike, probed and drawn side by side
# objectives  five things to learn, on one model, from the same speech, drawn side by side
# newest  the package on Python 3.12 with the newest jax: a short training and its analysis
# test   the tests, but for the slow ones of the next four         lint   ruff
# commands  train.py, analyze.py and export.py whole: run, killed, resumed, on other speech and models
# pods   tests of several devices and processes against one, and of a pod that is compiled for
# parity spectra and models against librosa, transformers and s3prl, and every benchmark in small; brings PyTorch along
# browser  the explorer in a real browser, its scripts' types; needs node, npm and Chromium
# bench  speed, as ratios in one run, kept in benchmarks/results; brings PyTorch and s3prl along as the peers
PYTHON ?= python3
PYTHON312 ?= python3.12
VENV := .venv
NEWEST := .venv-newest
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check

# Programs that one target has compiled are there for the next.
TESTS := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/$(VENV)/programs JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.05 \
  $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo study attention objectives newest test commands pods parity browser lint bench clean

demo: $(VENV)/.demo
	$(RUN) train.py toy
	$(RUN) analyze.py runs/toy --max-utterances 128
	@echo "now open runs/toy/explorer.html (every map, with its sound) and runs/toy/report.html in a browser"

study: $(VENV)/.demo
	$(RUN) train.py toy_m3
	$(RUN) train.py toy_m6
	$(RUN) train.py toy_m9
	$(RUN) analyze.py runs/toy_m3 runs/toy_m6 runs/toy_m9

attention: $(VENV)/.demo
	$(RUN) attention.py

OBJECTIVES := toy_plain toy_albert toy_tera toy_contrastive toy_units
STEPS := 1400

objectives: $(VENV)/.demo
	for name in $(OBJECTIVES); do \
	  $(RUN) train.py $$name --run-dir runs/objectives/$$name --loop.steps $(STEPS) || exit 1; done
	$(RUN) analyze.py $(OBJECTIVES:%=runs/objectives/%) --max-utterances 64 \
	  --only heads phones segments ablate similarity --ablate.preset coarse
	$(RUN) analyze.py $(OBJECTIVES:%=runs/objectives/%) --max-utterances 64 --only similarity

SHORT := --model.layers 2 --corpus.talker.speakers 4 --corpus.talker.utterances 12 --loop.steps 30 --loop.log-every 10

newest: $(NEWEST)/.newest
	$(NEWEST)/bin/python train.py toy --run-dir $(NEWEST)/run --corpus.data-dir $(NEWEST)/data $(SHORT)
	$(NEWEST)/bin/python train.py toy_units --run-dir $(NEWEST)/units --corpus.data-dir $(NEWEST)/data $(SHORT)
	$(NEWEST)/bin/python analyze.py $(NEWEST)/run --no-pdf --draws 50 --only heads phones explorer

test: $(VENV)/.dev
	$(TESTS) -m "not pods and not commands"

commands: $(VENV)/.dev
	$(TESTS) -m "commands and not pods"

pods: $(VENV)/.tpu
	$(TESTS) -m pods

parity: $(VENV)/.parity
	$(RUN) -m pytest -n 2 --dist loadgroup parity

browser: $(VENV)/.browser browser/node_modules/.package-lock.json
	browser/node_modules/.bin/tsc -p browser/tsconfig.json
	browser/node_modules/.bin/eslint -c browser/eslint.config.js --max-warnings 0 sat_jax/explorer/page
	$(RUN) -m pytest -n 2 --dist loadfile browser

lint: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

bench: $(VENV)/.bench
	for name in train_step whole_program data head_metrics phones sweep probes; do \
	  $(RUN) benchmarks/keep.py $$name || exit 1; done

$(VENV)/.demo: requirements.txt requirements-demo.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	"error: %s is Python %d.%d; use 3.11 to 3.13: make PYTHON=python3.12 $(MAKECMDGOALS)" % ("$(PYTHON)", *v))'
	$(PYTHON) -m venv $(VENV)
	@echo "installing requirements.txt and requirements-demo.txt into $(VENV)"
	$(PIP) -r requirements.txt -r requirements-demo.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.demo requirements-dev.txt
	@echo "installing requirements-dev.txt into $(VENV)"
	$(PIP) -r requirements-dev.txt
	@touch $@

$(NEWEST)/.newest: requirements-newest.txt
	$(PYTHON312) -m venv $(NEWEST)
	@echo "installing requirements-newest.txt into $(NEWEST)"
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-newest.txt
	@touch $@

$(VENV)/.tpu: $(VENV)/.dev requirements-tpu.txt
	@echo "installing requirements-tpu.txt into $(VENV) (TPU compiler; no TPU needed)"
	$(PIP) -r requirements-tpu.txt
	@touch $@

$(VENV)/.parity: $(VENV)/.dev requirements-parity.txt
	@echo "installing requirements-parity.txt into $(VENV) (PyTorch)"
	$(PIP) -r requirements-parity.txt
	$(PIP) --no-deps s3prl==0.4.18
	@touch $@

$(VENV)/.browser: $(VENV)/.dev requirements-browser.txt
	@echo "installing requirements-browser.txt into $(VENV) (Playwright)"
	$(PIP) -r requirements-browser.txt
	@touch $@

browser/node_modules/.package-lock.json: browser/package.json browser/package-lock.json
	@command -v npm > /dev/null || { echo "error: npm is missing: install Node.js 20 or newer"; exit 1; }
	npm ci --prefix browser --no-audit --no-fund --silent

$(VENV)/.bench: $(VENV)/.demo requirements-bench.txt
	@echo "installing requirements-bench.txt into $(VENV) (PyTorch)"
	$(PIP) -r requirements-bench.txt
	$(PIP) --no-deps s3prl==0.4.18
	@touch $@

clean:
	rm -rf $(VENV) $(NEWEST) browser/node_modules .pytest_cache .ruff_cache
