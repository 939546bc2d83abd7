# Latte's commands. Fresh Debian 12, root, git and make are all that is needed: see `make help`.

JOBS ?= $(shell nproc)
CMAKE = cmake -S . -G Ninja
RUN_DIR ?= run
FUZZ_SECONDS ?= 600
BENCH_DIR ?= build/bench

.PHONY: help build run test test-release test-sanitized test-threads fuzz bench format clean

help:
	@echo "make build   install what is missing, build; leaves build/release/latte"
	@echo "make run     build, then create and serve a hybrid disk on plain files in ./$(RUN_DIR)"
	@echo "make test    build and run every test: release, ASan+UBSan, TSan"
	@echo "make fuzz    build the fuzz targets and run each for FUZZ_SECONDS ($(FUZZ_SECONDS))"
	@echo "make bench   benchmarks, and Latte beside qemu over NBD in $(BENCH_DIR)"
	@echo "make format  clang-format the tree"
	@echo "make clean   remove ./build"

build:
	@tools/install-deps build
	@$(CMAKE) -B build/release -DCMAKE_BUILD_TYPE=Release -DLATTE_UNITY=ON >/dev/null
	@ninja -C build/release -j$(JOBS) latte

run:
	@tools/install-deps run
	@$(MAKE) --no-print-directory build
	@tools/run-example build/release/latte $(RUN_DIR)

test: test-release test-sanitized test-threads

test-release:
	@tools/install-deps test
	@$(CMAKE) -B build/release -DCMAKE_BUILD_TYPE=Release -DLATTE_UNITY=ON >/dev/null
	ninja -C build/release -j$(JOBS)
	ctest --test-dir build/release --output-on-failure -j1
	@grep -ahE 'seeds from [0-9]{12,}:' build/release/Testing/Temporary/LastTest.log

# The tests of what touches memory of its own and foreign bytes, with the sanitizers on.
SANITIZED = (runtime|device|nbd|vhost|log|policy|disk|trace)_[a-z_]+_test
test-sanitized:
	@$(CMAKE) -B build/asan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1" \
	  -DLATTE_SANITIZE=address,undefined -DLATTE_UNITY=ON >/dev/null
	ninja -C build/asan -j$(JOBS) \
	  $$(ninja -C build/asan -t targets all | grep -oE '^$(SANITIZED)' | sort -u)
	ctest --test-dir build/asan --output-on-failure -j1 -R 'unit/$(SANITIZED)'

# What has more than one thread: mailboxes, the reactor's edges, queues on several reactors, and the control plane as a
# whole.
test-threads:
	@$(CMAKE) -B build/tsan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1" \
	  -DLATTE_SANITIZE=thread -DLATTE_UNITY=ON >/dev/null
	ninja -C build/tsan -j$(JOBS) runtime_mailbox_test runtime_uring_reactor_test control_test \
	  policy_dispatch_test vhost_lanes_test latte
	ctest --test-dir build/tsan --output-on-failure -j1 \
	  -R "unit/(runtime_mailbox|runtime_uring_reactor|control|policy_dispatch|vhost_lanes)_test|system/cli"

fuzz:
	@tools/install-deps fuzz
	@$(CMAKE) -B build/fuzz -DCMAKE_CXX_COMPILER=clang++-16 -DLATTE_FUZZ=ON \
	  -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
	ninja -C build/fuzz -j$(JOBS) $$(ninja -C build/fuzz -t targets all | grep -oE '^[a-z_]+_fuzz' | sort -u)
	@for target in build/fuzz/tests/fuzz/*_fuzz; do \
	  echo "$$target"; mkdir -p build/fuzz/corpus/$$(basename $$target); \
	  $$target -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
	    build/fuzz/corpus/$$(basename $$target) 2>&1 | tail -3 || exit 1; \
	done

# Alone on the machine, please.
bench:
	@tools/install-deps test
	@$(CMAKE) -B build/release -DCMAKE_BUILD_TYPE=Release -DLATTE_UNITY=ON >/dev/null
	@ninja -C build/release -j$(JOBS)
	@mkdir -p $(BENCH_DIR)
	build/release/bench/hit_path_bench --dir $(BENCH_DIR)
	build/release/bench/local_path_bench
	build/release/bench/dispatch_bench
	build/release/bench/vhost_ring_bench
	build/release/bench/recovery_bench --dir $(BENCH_DIR)
	bench/nbd_compare.py --latte build/release/latte --dir $(BENCH_DIR)
	bench/burst.py --latte build/release/latte --dir $(BENCH_DIR)

format:
	@tools/install-deps format
	clang-format -i $$(git ls-files '*.h' '*.cc')

clean:
	rm -rf build
