# imageforge: `make demo` builds and boots a real image, `make test` runs the whole suite.
# Both install what is missing first.

export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: demo test contract soak soak-serve bench fuzz deb deb-test clean setup

demo: setup
	cargo build --release --locked --workspace
	bash .ci/demo

test: setup
	cargo build --locked --workspace
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --locked --workspace --profile ci; \
	else \
		cargo test --locked --workspace --lib --bins --tests; \
	fi

# KILLS, SEED and BUILDER (mock-os or appliance) may be given.
soak: setup
	cargo build --locked --workspace
	IMAGEFORGE_KILLS=$(or $(KILLS),200) IMAGEFORGE_SEED=$(or $(SEED),$(shell date +%s)) IMAGEFORGE_BUILDER=$(or $(BUILDER),mock-os) \
		cargo test --locked -p integration-tests --test suite soak:: -- --nocapture

# The same of `imageforge serve` under load: 50 builds for each of KILLS, 200 listeners.
soak-serve: setup
	cargo build --locked --workspace
	IMAGEFORGE_KILLS=$(or $(KILLS),20) IMAGEFORGE_SEED=$(or $(SEED),$(shell date +%s)) \
		cargo test --locked -p integration-tests --test suite load::kills:: -- --nocapture

# What docs/openapi.json promises, tried for longer. EXAMPLES and SEED may be given.
contract: setup
	cargo build --locked --workspace
	IMAGEFORGE_EXAMPLES=$(or $(EXAMPLES),200) IMAGEFORGE_SEED=$(or $(SEED),$(shell date +%s)) \
		cargo test --locked -p integration-tests --test suite serving::contract:: -- --nocapture

# BENCH may name a part: factory, or serve for the daemon under load.
bench: setup
	bash .ci/bench $(BENCH)

# FUZZ_SECONDS of each target, 60 unless given.
fuzz: setup
	@bash .ci/fuzz

# Debian packages in target/debian.
deb: setup
	cargo build --release --locked --workspace
	bash .ci/deb target/release target/debian

# Installs, upgrades, removes and purges them in a Debian that is thrown away; then boots one in which
# systemd runs, watches and limits the daemon. Needs root.
deb-test: deb
	bash .ci/deb-test target/debian
	bash .ci/deb-boot target/release target/debian

setup:
	@bash .ci/setup

# Images and caches of the demo go with the build folder.
clean:
	rm -rf --one-file-system .demo .fuzz target
