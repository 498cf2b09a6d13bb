# `make run` and `make test` are all that a fresh Debian 12 with cargo and make needs. What is missing is installed first, in one line that says why.

# Nothing is built twice in CI, so what incremental builds write is wasted there.
ifeq ($(CI),true)
export CARGO_INCREMENTAL := 0
endif

# The guests have a workspace and a target directory of their own.
GUESTS := cd plugins && cargo
GUEST_TARGET := --target-dir ../target/guests

# The server, and what re-encodes sound for it. Without FFmpeg: cargo build --release --package wasmtx --no-default-features
BUILD := cargo build --release --package wasmtx --package wasmtx-codec

# The programs that end-to-end tests start, with the features that the tests ask of shared dependencies: nothing is compiled for each of the two.
BUILD_TESTS := cargo build --workspace --bins --tests

.DEFAULT_GOAL := help
.PHONY: help run build test check plugins e2e bench fuzz example reference setup clean

help: ## this list
	@sed -n 's/^\([a-z0-9]*\):[^#]*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

run: plugins ## build and serve with mediamtx.yml
	$(BUILD)
	target/release/wasmtx mediamtx.yml

build: plugins ## target/release/wasmtx, and wasmtx-codec beside it
	$(BUILD)

test: plugins ## everything that .ci/run trusts, real players included
	@scripts/setup test
	$(GUESTS) test --workspace $(GUEST_TARGET)
	$(BUILD_TESTS)
	cargo test --workspace

check: plugins ## format, lints and documents, warnings as errors
	@scripts/setup check
	cargo fmt --all --check
	$(GUESTS) fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(GUESTS) clippy --workspace --all-targets $(GUEST_TARGET) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cd plugins && RUSTDOCFLAGS="-D warnings" cargo doc --package wasmtx-plugin --no-deps --quiet $(GUEST_TARGET)
	for script in scripts/* .ci/run; do bash -n "$$script" || exit 1; done

plugins: setup ## the guests: target/plugins/*.wasm
	@scripts/plugins

e2e: plugins ## real players only
	@scripts/setup test
	$(BUILD_TESTS)
	cargo test --package wasmtx-e2e

bench: plugins ## figures, each beside its reference
	@scripts/setup bench
	@scripts/bench

fuzz: ## one target for a minute: make fuzz T=rtsp
	@scripts/fuzz $(T)

example: plugins ## serve with an example: make example E=custom-auth
	$(if $(wildcard examples/$(E)/mediamtx.yml),,$(error say which with E=…, one of: $(notdir $(wildcard examples/*))))
	$(BUILD)
	$(if $(wildcard examples/$(E)/plugin.yml),target/release/wasmtx plugin build examples/$(E) --output target/plugins/$(E).wasm)
	target/release/wasmtx examples/$(E)/mediamtx.yml

reference: ## docs/plugins/reference.md from the contract
	@cargo run --quiet --manifest-path plugins/Cargo.toml --package reference --target-dir target/guests > target/reference.md
	@mv target/reference.md docs/plugins/reference.md

setup: ## install what is missing
	@scripts/setup

clean: ## remove what was built
	cargo clean
	rm -rf target/guests target/plugins
