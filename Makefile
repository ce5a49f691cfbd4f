# For a fresh machine with Python 3.11 to 3.13 and make; each command sets up its own environment.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test docs clean

demo: .venv/ready
	$(BIN)/walkaround demo --out demo-output

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 2 --dist loadfile

docs: .venv/ready
	$(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet docs build/docs
	@echo "written: build/docs/index.html"

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,docs]"
	touch $@

clean:
	rm -rf .venv demo-output
