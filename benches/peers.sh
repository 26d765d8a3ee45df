#!/usr/bin/env bash
# Measures Loquent beside llama.cpp on the same files, with nothing else running, and prints the README's table.
set -euo pipefail

usage() {
    cat <<'END'
usage: benches/peers.sh [--config FILE] [--rounds N] [--threads N] [--types TYPE,TYPE…] [FILE.gguf]…

  --config FILE  the shape of the models with random weights [default: assets/configs/qwen3.5-0.8b.json]
  --rounds N     how often each program runs each file [default: 3]
  --threads N    threads of both [default: one per core]
  --types LIST   what the models are stored as, as llama-quantize calls it; none if it is empty
                 [default: BF16,Q4_0,Q4_1,Q8_0,Q4_K_M,Q5_K_M,Q6_K]
  FILE.gguf      other files to measure as well

llama.cpp is built from the source package of llama-cpp-python on PyPI, which takes some minutes, and kept with the models in
LOQUENT_PEERS_CACHE [default: loquent-peers in XDG_CACHE_HOME or ~/.cache]. Needs python3 with venv, and a C++ compiler.
END
}

fail() { printf 'peers.sh: %s\n' "$*" >&2; exit 2; }

config='' rounds=3 threads=$(nproc) types=BF16,Q4_0,Q4_1,Q8_0,Q4_K_M,Q5_K_M,Q6_K files=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit ;;
        --config | --rounds | --threads | --types)
            (($# > 1)) || fail "$1 needs a value"
            printf -v "${1#--}" '%s' "$2"
            shift 2
            ;;
        -*) usage >&2; exit 2 ;;
        *) [[ -f $1 ]] || fail "$1: no such file"; files+=("$(realpath "$1")"); shift ;;
    esac
done
[[ $rounds =~ ^[1-9][0-9]*$ ]] || fail "--rounds: expected a number above 0, found $rounds"
[[ $threads =~ ^[1-9][0-9]*$ ]] || fail "--threads: expected a number above 0, found $threads"
if [[ -n $config ]]; then
    [[ -f $config ]] || fail "$config: no such file"
    config=$(realpath "$config")
fi

cd "$(dirname "$0")/.."
config=${config:-assets/configs/qwen3.5-0.8b.json}
cache=${LOQUENT_PEERS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/loquent-peers}
mkdir -p "$cache"
python=$cache/venv/bin/python
if [[ ! -x $cache/llama/bin/llama-quantize ]]; then
    python3 -m venv "$cache/venv"
    "$python" -m pip install --quiet numpy gguf cmake ninja
    "$python" -m pip download --quiet --no-deps --no-binary :all: --dest "$cache" llama-cpp-python
    rm -rf "$cache/source" "$cache/llama"
    mkdir "$cache/source"
    tar xzf "$cache"/llama_cpp_python-*.tar.gz -C "$cache/source" --strip-components=1
    PATH=$cache/venv/bin:$PATH cmake -S "$cache/source/vendor/llama.cpp" -B "$cache/llama" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF
    PATH=$cache/venv/bin:$PATH cmake --build "$cache/llama" --target llama-bench llama-quantize
fi

shape=$cache/$(basename "$config" .json)
measured=()
for type in ${types//,/ }; do
    file=$shape-$type.gguf
    if [[ ! -f $shape-BF16.gguf ]]; then
        "$python" benches/peers/models.py "$config" "$shape-BF16.partial"
        mv "$shape-BF16.partial" "$shape-BF16.gguf"
    fi
    if [[ ! -f $file ]]; then
        "$cache/llama/bin/llama-quantize" "$shape-BF16.gguf" "$shape-$type.partial" "$type" &> "$cache/quantize.log" ||
            { cat "$cache/quantize.log" >&2; fail "llama-quantize cannot make $type"; }
        mv "$shape-$type.partial" "$file"
    fi
    measured+=("$file")
done
measured+=("${files[@]}")
((${#measured[@]})) || fail "nothing to measure"

cargo build --release
"$python" benches/peers/side_by_side.py "$cache/llama/bin/llama-bench" target/release/loquent "$rounds" "$threads" "${measured[@]}"
