# Sourced by the other scripts: where we are, how to speak, which compiler makes the guests.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WASM_TARGET=wasm32-unknown-unknown

# One sentence, then the end.
die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

case "${WASMTX_WASM_TOOLCHAIN:=auto}" in
    auto | rustup | debian) ;;
    *) die "WASMTX_WASM_TOOLCHAIN is rustup, debian or auto, not '$WASMTX_WASM_TOOLCHAIN'" ;;
esac

# As `rust-version` in Cargo.toml.
OLDEST_CARGO=1.95

# recent_cargo CARGO: it is there and new enough.
recent_cargo() {
    local version
    version=$("$1" --version 2>/dev/null | cut -d' ' -f2)
    [ -n "$version" ] && [ "$(printf '%s\n' "$OLDEST_CARGO" "$version" | sort -V | head -n1)" = "$OLDEST_CARGO" ]
}

# The toolchain behind `cargo` has a standard library for the guests' target.
rustup_target_ready() {
    local sysroot
    sysroot=$(rustc --print sysroot 2>/dev/null) && [ -d "$sysroot/lib/rustlib/$WASM_TARGET/lib" ]
}

# Debian's rustc-web, cargo-web, rust-web-src and lld-19 are there; the standard library is then built from source.
debian_wasm_ready() {
    recent_cargo /usr/bin/cargo && [ -x /usr/bin/rustc ] && have wasm-ld-19 &&
        [ -f "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]
}

# Prints `rustup` or `debian`, or nothing when neither is ready. WASMTX_WASM_TOOLCHAIN chooses one of them.
wasm_toolchain() {
    if [ "$WASMTX_WASM_TOOLCHAIN" != debian ] && rustup_target_ready; then
        echo rustup
    elif [ "$WASMTX_WASM_TOOLCHAIN" != rustup ] && debian_wasm_ready; then
        echo debian
    fi
}
