#!/usr/bin/env bash
# Compares the benchmarks of two revisions. Both are built in worktrees of their own and run in turn, so that whatever
# else the machine does meanwhile slows down both alike.
set -euo pipefail
# Each job gets a process group, so that an interrupted build leaves nothing running.
set -m

usage() {
    cat <<'END'
usage: benches/compare.sh [BASE] [HEAD] [--rounds N] [--bench NAME] [--filter TEXT]

  BASE           what to compare with [default: where HEAD left the default branch; on it, the parent]
  HEAD           what is compared [default: the last commit of the working tree]
  --rounds N     how often both are run, at least 3 [default: 10]
  --bench NAME   only this group of benchmarks: kernels, load, quant or step
  --filter TEXT  only benchmarks whose names match, as `cargo bench -- TEXT` takes it

LOQUENT_COMPARE_CACHE names a directory in which builds are kept for the next time.
Exits with 1 if a benchmark has become slower by more than 3 %, and with 2 if nothing could be measured.
END
}

say() { printf '%s\n' "$*" >&2; }
fail() { say "compare.sh: $*"; exit 2; }

revisions=() rounds=10 only='' filter=''
while (($#)); do
    case $1 in
        -h | --help) usage; exit ;;
        --rounds | --bench | --filter)
            (($# > 1)) || fail "$1 needs a value"
            case $1 in
                --rounds) rounds=$2 ;;
                --bench) only=$2 ;;
                --filter) filter=$2 ;;
            esac
            shift 2 ;;
        -*) usage >&2; fail "there is no option $1" ;;
        *) revisions+=("$1"); shift ;;
    esac
done
((${#revisions[@]} <= 2)) || fail "expected at most two revisions, found ${#revisions[@]}"
[[ $rounds =~ ^[0-9]{1,4}$ ]] && ((10#$rounds >= 3)) || fail "--rounds: expected a number from 3 on, found $rounds"
rounds=$((10#$rounds))

cd "$(dirname "${BASH_SOURCE[0]}")/.."

commit_of() { git rev-parse --verify --quiet --end-of-options "$1^{commit}" || fail "there is no revision $1"; }

default_branch() {
    local branch
    for branch in origin/HEAD main master; do
        git rev-parse --verify --quiet "$branch^{commit}" && return
    done
    fail "there is no origin/HEAD, main or master to find the base by: name it"
}

fork_point() {
    local default base
    default=$(default_branch)
    base=$(git merge-base "$1" "$default") || fail "HEAD has nothing in common with the default branch: name a base"
    if [[ $base == "$1" ]]; then
        base=$(git rev-parse --verify --quiet "$1^") || fail "HEAD has no parent: name a base"
    fi
    printf '%s\n' "$base"
}

head=$(commit_of "${revisions[1]:-HEAD}")
if ((${#revisions[@]})); then base=$(commit_of "${revisions[0]}"); else base=$(fork_point "$head"); fi
if [[ -z ${revisions[1]:-} && -n $(git status --porcelain) ]]; then
    say "The working tree has uncommitted changes. They are not measured."
fi

work='' child=''
clean_up() {
    trap '' INT TERM HUP
    if [[ -n $child ]]; then
        kill -TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    [[ -n $work ]] || return 0
    local tree
    for tree in base head; do
        [[ ! -e $work/$tree ]] || git worktree remove --force "$work/$tree" || true
    done
    rm -rf "$work"
    git worktree prune
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Runs a command that an interrupt need not wait for.
run() {
    "$@" </dev/null &
    child=$!
    local status=0
    wait "$child" || status=$?
    child=''
    return "$status"
}

work=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/compare.XXXXXX")" && pwd -P)
cache=${LOQUENT_COMPARE_CACHE:-$work/target}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd -P)
# Names of the same length: paths in a program move what comes after them.
git worktree add --quiet --detach "$work/base" "$base"
git worktree add --quiet --detach "$work/head" "$head"

# The groups of benchmarks that a revision has.
groups() {
    (cd "$work/$1" && cargo metadata --no-deps --format-version 1) |
        grep -o '"kind":\["bench"\],"crate_types":\["bin"\],"name":"[^"]*"' | sed 's/.*:"//; s/"$//' | sort || true
}

describe() { git log --no-walk --format='%h %s' "$1"; }
say "base: $(describe "$base")"
say "head: $(describe "$head")"
groups base >"$work/base.groups"
groups head >"$work/head.groups"
if [[ -n $only ]] && ! grep -qx -- "$only" "$work/base.groups" "$work/head.groups"; then
    fail "--bench: neither revision has a group $only"
fi
if [[ ! -s $work/base.groups || ! -s $work/head.groups ]]; then
    for tree in base head; do
        [[ -s $work/$tree.groups ]] || echo "The $tree has no benchmarks: there is nothing to compare."
    done
    for tree in base head; do
        [[ ! -s $work/$tree.groups ]] || echo "Groups of the $tree:" $(cat "$work/$tree.groups")
    done
    exit 0
fi

# Builds the benchmarks of a revision and writes a line for each group: its name and its program.
build() {
    local kind='"kind":\["bench"\],"crate_types":\["bin"\],"name":"\([^"]*\)"'
    cd "$work/$1"
    export CARGO_TARGET_DIR=$cache/$1
    cargo bench --no-run --locked --bench "${only:-*}" --message-format json-render-diagnostics >"$work/$1.json"
    sed -n "s/.*$kind.*\"executable\":\"\([^\"]*\)\".*/\1 \2/p" "$work/$1.json" >"$work/$1.programs"
}

# The head's own program reads what was measured. In the same profile as the benchmarks, the library is built once.
build_comparison() {
    cd "$work/head"
    CARGO_TARGET_DIR=$cache/head cargo build --profile bench --locked --quiet --example compare
}

for tree in base head; do
    say "building the $tree"
    if [[ -n $only ]] && ! grep -qx -- "$only" "$work/$tree.groups"; then
        : >"$work/$tree.programs"
        continue
    fi
    run build "$tree" || fail "the $tree does not build"
done
run build_comparison || fail "the head's benches/compare does not build"

# One run of a group. Many short runs tell more than few long ones, which share more of the machine's moods.
measure() {
    local tree=$1 program=$2 home=$3
    cd "$work/$tree"
    CRITERION_HOME=$home "$program" --bench --warm-up-time 0.1 --measurement-time 0.3 --sample-size 10 \
        --nresamples 1000 ${filter:+"$filter"} >"$work/log" 2>&1
}

for ((round = 1; round <= rounds; round++)); do
    # In turn, so that what gets better or worse with time does so for both.
    if ((round % 2)); then order='base head'; else order='head base'; fi
    for group in $(cat "$work/base.programs" "$work/head.programs" | cut -d ' ' -f 1 | sort -u); do
        say "round $round of $rounds: $group"
        for tree in $order; do
            program=$(sed -n "s/^$group //p" "$work/$tree.programs")
            [[ -n $program ]] || continue
            run measure "$tree" "$program" "$work/rounds/$round/$tree" ||
                { cat "$work/log" >&2; fail "the $tree's $group ended with an error"; }
        done
    done
done
if [[ -z $(find "$work/rounds" -name sample.json -print -quit 2>/dev/null) ]]; then
    fail "--filter: no benchmark matches $filter"
fi
status=0
"$cache/head/release/examples/compare" "$work/rounds" || status=$?
((status <= 1)) || status=2
exit "$status"
