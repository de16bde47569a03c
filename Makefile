# `make help` lists the targets. Everything is set up inside the checkout: .venv, and build/ (with ROS sourced: install/).
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := $(CURDIR)/.venv
PYTHON_OF_VENV := $(VENV)/bin/python
# The ROS wheels mark a process that has their library path; a mark inherited from another environment would mislead.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport PYTHONHOME
unexport VIRTUAL_ENV

hash = $(firstword $(shell { $(1); } | sha256sum | cut -c 1-16))
# Stamps are named after the content that they stand for: what is already in place is not done again, whatever the
# file times say, and a change of branch and back costs nothing.
ENVIRONMENT := $(call hash,cat requirements/*; echo '$(CURDIR)' '$(ROS_DISTRO)' '$(PYTHON)')
# The installed Python and config files are links into the checkout, so only their names matter, not their content.
PACKAGE := $(call hash,cat CMakeLists.txt package.xml cmake/* msg/*; \
    find spike_depth_core spike_depth_ros launch config -type f ! -name '*.pyc' | LC_ALL=C sort; echo $(ENVIRONMENT))
SETUP_DONE := .venv/complete-$(ENVIRONMENT)
BUILD_DONE := build/complete-$(PACKAGE)

ifdef ROS_DISTRO
# A workspace of a ROS installation: the overlay goes to install/, as everywhere in ROS.
COLCON := colcon
INSTALL := --symlink-install
RUN := . install/setup.sh && $(PYTHON_OF_VENV)
else
# The wheels make .venv a ROS prefix. The package is installed into it, so that its Python needs nothing sourced.
export AMENT_PREFIX_PATH := $(VENV)
export CMAKE_PREFIX_PATH := $(VENV)
COLCON := PATH="$(VENV)/bin:$$PATH" $(VENV)/bin/colcon
INSTALL := --symlink-install --merge-install --install-base .venv
RUN := $(PYTHON_OF_VENV)
endif

DEMO_ARGUMENTS ?= --seconds 20

.PHONY: help setup build test pytest demo lint format typecheck benchmark accuracy clean

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{ printf "make %-10s %s\n", $$1, $$2 }'

setup: $(SETUP_DONE)  ## Install everything needed into .venv

$(SETUP_DONE):
	@requirements/set_up.sh $@

build: $(BUILD_DONE)  ## Build the ROS package and its messages with colcon

$(BUILD_DONE): | $(SETUP_DONE)
	@rm -rf build/spike_depth build/complete-*
	@# colcon never uninstalls: remove the links that an earlier build made to files that are no more.
	@find .venv install -path '*/spike_depth*' -xtype l -delete 2>/dev/null || true
	$(COLCON) build --packages-select spike_depth $(INSTALL) --event-handlers console_direct- \
	    --cmake-args -DPython3_EXECUTABLE=$(PYTHON_OF_VENV) -DPython3_FIND_VIRTUALENV=ONLY
	@touch $@

test: lint typecheck pytest  ## Check everything: lint, types, and the tests, those over real ROS included

pytest: $(BUILD_DONE)  ## Run the tests alone; ARGUMENTS are passed on, e.g. ARGUMENTS="test/core -x"
	$(RUN) -m pytest $(ARGUMENTS)

demo: $(BUILD_DONE)  ## Play a street through the live ROS graph and measure it; results in out/demo
	$(RUN) -m spike_depth_ros.demo $(DEMO_ARGUMENTS)

benchmark: $(BUILD_DONE)  ## Measure the speed of the spike arithmetic; results in docs/results
	$(RUN) benchmarks/spikes.py --out docs/results

accuracy: $(BUILD_DONE)  ## Measure depth on 200 streets never trained on, and KITTI=DIR; results in docs/results
	$(RUN) benchmarks/accuracy.py $(if $(KITTI),--kitti $(KITTI))

lint: | $(SETUP_DONE)  ## Check style and format with ruff
	$(PYTHON_OF_VENV) -m ruff check .
	$(PYTHON_OF_VENV) -m ruff format --check .

format: | $(SETUP_DONE)  ## Format the code with ruff
	$(PYTHON_OF_VENV) -m ruff check --fix .
	$(PYTHON_OF_VENV) -m ruff format .

typecheck: | $(SETUP_DONE)  ## Check the types of the core with mypy
	$(PYTHON_OF_VENV) -m mypy

clean:  ## Remove everything that was made, .venv included
	rm -rf .venv build install log out
