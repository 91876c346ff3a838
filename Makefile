# `make demo` and `make test` do all the set-up on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2
# Flower would otherwise report usage and look for updates from every process.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
# Where it is set, every process compiles all modules again, and pytest rewrites all tests again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo deploy-demo test test-fast drills lint types bench proto wheelhouse clean help

help:
	@echo "make demo       four synthetic provinces build a model together (about a minute)"
	@echo "make deploy-demo the same as real processes over TLS, ten aggregations"
	@echo "make test       lint, types, all tests"
	@echo "make test-fast  the tests that take under a minute together, ten examples of each law"
	@echo "make drills     kill, break and attack real processes (up to an hour)"
	@echo "make lint       ruff and mypy only"
	@echo "make wheelhouse wheels of FedMed and all it needs, for machines without a network"
	@echo "make bench      micro benchmarks, results under benchmarks/results"
	@echo "make clean      remove the environment, runs and caches"
	@echo "What is installed: .venv/bin/fedmed --help; the README says who needs which command."

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing FedMed and its pinned dependencies (once; a few minutes)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[datasets,dev]'
	@$(BIN)/python -c "import fedmed, fedmed_nodes, fedmed_server, torch, flwr, opacus, statsmodels"
	@touch $@

demo: $(READY)
	@$(BIN)/fedmed demo

deploy-demo: $(READY)
	@$(BIN)/fedmed demo --deploy

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Workers of a test run share the cores; a thread pool in each would only make them wait.
test test-fast: export OMP_NUM_THREADS := 1

test: lint
	$(BIN)/python -m pytest -n $(JOBS)

test-fast: export HYPOTHESIS_PROFILE ?= fast
# Neighbours stay with one worker, so that what a module prepares is prepared once.
test-fast: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

# One worker: all drills share one federation, and its timings would suffer from a neighbour.
drills: export OMP_NUM_THREADS := 1
drills: $(READY)
	$(BIN)/python -m pytest -m drill tests/drills tests/benchmarks/test_phase_latency.py

bench: $(READY)
	@mkdir -p benchmarks/results
	$(BIN)/python benchmarks/micro/secure_sum.py --json > benchmarks/results/secure_sum.json
	$(BIN)/python benchmarks/micro/clipped_gradients.py --json > benchmarks/results/clipped_gradients.json
	$(BIN)/python benchmarks/micro/features.py --json > benchmarks/results/features.json
	$(BIN)/python benchmarks/micro/sources.py --json --postgres "$$FEDMED_TEST_POSTGRES" > benchmarks/results/sources.json

proto: $(READY)
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=. --pyi_out=. protos/fedmed/proto/v1/*.proto

# For one kind of machine: the Python version and processor of this one. Read nodes/README.md for its use.
wheelhouse: $(READY)
	@rm -rf wheelhouse
	@$(BIN)/python -m pip wheel -q --disable-pip-version-check -c constraints.txt -w wheelhouse '.[datasets]'
	@cp constraints.txt wheelhouse/
	@cd wheelhouse && sha256sum *.whl > SHA256SUMS
	@du -sh wheelhouse

clean:
	rm -rf wheelhouse $(VENV) runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
