# SPDX-License-Identifier: Apache-2.0
# Verbs for people. The build itself is Meson's: see meson.build and tools/build.sh.

SEED ?= 1
COUNT ?= 2000
SECONDS_EACH ?= 20
ARGS ?=
# Further peers of `make bench`, divided by semicolons: see bench/README.md.
PEERS ?=
export PEERS

.DEFAULT_GOAL := help
.PHONY: help build run test check unit sim sim-long fuzz lint fmt bench bench-client asan tsan integration clients client \
	client-recipes deploy deb debtest imagetest clean deps

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 18

deps: ## install everything that any verb needs (apt; root or sudo)
	@tools/setup.sh all

build: ## compile: build/sumcache, build/sim, tests
	@tools/setup.sh run
	@tools/build.sh plain

run: build ## three local nodes and the proxy; ARGS='--local-memory 1gb'; Ctrl-C ends all
	@exec build/sumcache --local 3 $(ARGS)

test: ## everything below but bench, in a quarter of an hour; ends with "N passed, N failed"
	@tools/setup.sh test
	@tools/test.sh

check: test ## the same as test

unit: ## unit tests and scenarios, seconds
	@tools/setup.sh test
	@tools/test.sh build unit

sim: ## the simulator: SEED=1 COUNT=2000, that is 2,000 seeds from 1 on
	@tools/setup.sh run
	@tools/build.sh plain
	@SIM_SEED=$(SEED) SIM_COUNT=$(COUNT) tools/test.sh sim

sim-long: COUNT = 100000
sim-long: ## 100,000 seeds on all CPUs, past those that fail; SEED=1 COUNT=100000; 35 CPU minutes
	@tools/setup.sh run
	@tools/build.sh plain
	@tools/sim_many.sh $(SEED) $(COUNT)

asan: ## unit tests and seeds under the address and undefined-behaviour sanitizers
	@tools/setup.sh test
	@tools/test.sh asan

tsan: ## threaded tests and one integration test under the thread sanitizer
	@tools/setup.sh test
	@tools/test.sh tsan

fuzz: ## each fuzzer for SECONDS_EACH=20
	@tools/setup.sh test
	@FUZZ_SECONDS=$(SECONDS_EACH) tools/test.sh fuzz

integration: ## real redis-servers (pytest)
	@tools/setup.sh test
	@tools/test.sh build integration

clients: ## real client libraries and caches built upon them (pytest)
	@tools/setup.sh test
	@tools/test.sh build clients

client: ## the client libraries: client/node (npm), client/c
	@tools/setup.sh test
	@tools/test.sh build node-client client-c

client-recipes: ## the recipes of client/node, against the frameworks that they are for
	@tools/setup.sh test
	@tools/test.sh build
	@cd client/node && npm ci --ignore-scripts --loglevel=error && npm run --silent build
	@cd client/node/recipes && npm ci --ignore-scripts --omit=optional --loglevel=error && npm run --silent check

deploy: ## what is in deploy/: Kubernetes, systemd, HAProxy, package, man pages (pytest)
	@tools/setup.sh test
	@tools/test.sh build deploy

deb: ## a Debian package: build/sumcache_VERSION_ARCH.deb
	@tools/setup.sh run
	@tools/build.sh plain sumcache
	@tools/deb.sh

debtest: deb ## installs, runs and purges it in a fresh Debian 12 (root, mmdebstrap, minutes)
	@tools/setup.sh chroot
	@tools/deb_in_chroot.sh build/sumcache_*_$$(dpkg --print-architecture).deb

imagetest: ## builds the image from a fresh Debian 12, runs it (root, mmdebstrap, buildah, minutes)
	@tools/setup.sh chroot
	@tools/image_in_chroot.sh

lint: ## layers, symbols, globals, clang-tidy, cppcheck, format
	@tools/setup.sh test
	@tools/lint.sh

fmt: ## format the C files in place
	@tools/setup.sh test
	@find src sim tests bench client -name '*.[ch]' -print0 | xargs -0 clang-format -i

bench: ## figures beside twemproxy, HAProxy and direct Redis, in 35 minutes; ARGS=--quick: 3
	@tools/setup.sh bench
	@tools/build.sh plain
	@/usr/bin/python3 bench/run.py $(ARGS)

bench-client: ## what a hit of client/c costs beside hiredis, in 40 s
	@tools/setup.sh test
	@tools/build.sh plain
	@client/c/bench/run.sh

clean: ## remove all build directories
	@rm -rf build build-lint build-micro build-asan build-tsan build-fuzz
