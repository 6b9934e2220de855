# make help lists the targets. Everything runs in $(VENV), which the first target makes; nothing else is needed.
VENV   ?= .venv
PYTHON ?= python3
# By exact version and before anything that depends on it, so that pip never chooses a newer one, with CUDA.
TORCH  ?= torch==2.13.0
# Folders for what needs photographs: make check KODAK=... PHOTOS=... (PHOTOS holds a photos.txt).
KODAK  ?=
PHOTOS ?=

BIN       := $(VENV)/bin
INSTALL   := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALLED := $(VENV)/.installed
DEMO      := build/demo

.PHONY: help demo test check bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 8

$(INSTALLED): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) setuptools
	$(INSTALL) $(TORCH)
	$(INSTALL) --no-build-isolation --editable '.[test,bench,train]'
	@touch $@

demo: $(INSTALLED) ## encode a photograph of scikit-image, decode it, compare, and put it beside PNG, WebP and JPEG XL
	@mkdir -p $(DEMO)
	@rm -f $(DEMO)/coffee.*
	@cp "$$($(BIN)/python -c 'import pathlib, skimage.data as d; print(pathlib.Path(d.__file__).parent / "coffee.png")')" $(DEMO)
	$(BIN)/pixcodec encode $(DEMO)/coffee.png
	$(BIN)/pixcodec info $(DEMO)/coffee.pxc
	$(BIN)/pixcodec decode $(DEMO)/coffee.pxc
	$(BIN)/pixcodec decode $(DEMO)/coffee.pxc -o $(DEMO)/coffee.decoded.png
	$(BIN)/python benchmarks/vs_png.py $(DEMO)/coffee.png --results $(DEMO)

test: $(INSTALLED) ## run the tests, files of them side by side; the last line is pytest's
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(INSTALLED) ## ruff, mypy, the slow tests; KODAK=folder PHOTOS=folder for those that need photographs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	PIXCODEC_KODAK="$(KODAK)" PIXCODEC_PHOTOS="$(PHOTOS)" $(BIN)/python -m pytest -m slow -rs

bench: $(INSTALLED) ## the tables: scikit-image's photographs, and with KODAK=folder PHOTOS=folder those too
	$(BIN)/python benchmarks/vs_png.py --origin auto
	$(BIN)/python benchmarks/speed.py --growth 0.1 1 4 12 48
	$(BIN)/python benchmarks/profile_stages.py
	@if [ -n "$(KODAK)" ]; then $(BIN)/python benchmarks/vs_png.py "$(KODAK)" --name kodak && \
	$(BIN)/python benchmarks/vs_png.py "$(KODAK)" --name kodak_origins --origin auto && \
	$(BIN)/python benchmarks/budgets.py "$(KODAK)" --name kodak --origins && \
	$(BIN)/python benchmarks/speed.py "$(KODAK)/kodim05.png" --origins none auto --many "$(KODAK)" --name speed_kodak; \
	else echo "skipped: Kodak (make bench KODAK=folder)"; fi
	@if [ -n "$(PHOTOS)" ]; then \
	$(BIN)/python benchmarks/vs_png.py --photos-list "$(PHOTOS)/photos.txt" --split val --root "$(PHOTOS)" --name photos \
	--origin auto && mkdir -p build && grep '^extra' "$(PHOTOS)/photos.txt" > build/lossless.txt && \
	$(BIN)/python benchmarks/budgets.py --photos-list build/lossless.txt --root "$(PHOTOS)" --name lossless; \
	else echo "skipped: validation photographs (make bench PHOTOS=folder with photos.txt in it)"; fi
	$(BIN)/python benchmarks/readme_tables.py

clean: ## remove what the targets made
	rm -rf $(VENV) build
