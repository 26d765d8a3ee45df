#!/usr/bin/env bash
# Measures everything there is to measure on a graphics card, with nothing else running. The first argument is what computes
# [default: gpu], as --backend takes it.
set -euo pipefail
cd "$(dirname "$0")/.."

backend=${1:-gpu}
cargo build --release
loquent=(target/release/loquent bench --random --dtype q4 --backend "$backend")

say() { printf '\n== %s\n' "$*"; }

say "0.8B: a prompt of 512, decoding"
"${loquent[@]}" --config assets/configs/qwen3.5-0.8b.json -p 512 -n 256
say "0.8B: eight sequences"
"${loquent[@]}" --config assets/configs/qwen3.5-0.8b.json -p 16 -n 256 --parallel 8
say "0.8B: each system by the device's clock"
"${loquent[@]}" --config assets/configs/qwen3.5-0.8b.json -p 512 -n 256 -r 2 --profile
say "four layers of the 9B shape: the share of the copy bandwidth that run_mlp (4096 × 12288) reaches"
"${loquent[@]}" --config benches/four-layers-9b.json -p 16 -n 128 -r 2 --profile
say "the host's part"
cargo bench --bench gpu
