"""Runs `llama-bench` and `loquent bench` in turn on the same files, and prints a table of medians.

    side_by_side.py LLAMA_BENCH LOQUENT ROUNDS THREADS FILE.gguf...

While a program runs, what all others take of the processors is counted; a run of which they took more than 3 % is done again,
and if that does not help, there is no table: beside other work llama.cpp's threads wait for each other and lose far more
than Loquent's, so such medians would flatter.
"""
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROMPT, NEW = 256, 48
MOST_OTHERS = 0.03
TRIES = 5


def busy_seconds():
    """What all processes of the machine have taken so far, and what its host took away."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def run(command):
    """The output of a command, and the share of the processors that others took meanwhile."""
    before, own, start = busy_seconds(), own_seconds(), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}: {done.stderr.strip()}")
    others = busy_seconds() - before - (own_seconds() - own)
    return done.stdout, max(0.0, others) / ((time.monotonic() - start) * os.cpu_count())


def undisturbed(command):
    for _ in range(TRIES):
        out, others = run(command)
        if others <= MOST_OTHERS:
            return out
        print(f"others took {others:.0%} of the processors during {command[0]}: again", file=sys.stderr)
        time.sleep(5)
    sys.exit(f"in {TRIES} runs others took more than {MOST_OTHERS:.0%} of the processors: there are no medians to report")


def of_llama(bench, threads, file):
    out = undisturbed([bench, "-m", file, "-t", threads, "-p", str(PROMPT), "-n", str(NEW), "-r", "1", "-o", "json"])
    speeds = {"prompt" if test["n_prompt"] else "decode": test["avg_ts"] for test in json.loads(out)}
    return speeds["prompt"], speeds["decode"]


def of_loquent(loquent, threads, file):
    command = [loquent, "bench", "-m", file, "-t", threads, "-p", str(PROMPT), "-n", str(NEW), "-r", "1"]
    done = json.loads(undisturbed([*command, "--backend", "cpu", "--json"]).splitlines()[-1])
    return done["prefill_tokens_per_second"], done["decode_tokens_per_second"], done


def processor():
    names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return f"{names[0] if names else 'a processor without a name'}, {len(names) or os.cpu_count()} cores"


def main():
    bench, loquent, rounds, threads, *files = sys.argv[1:]
    theirs, ours, bandwidths, isa = {}, {}, [], ""
    for round_number in range(int(rounds)):
        for file in files:
            print(f"round {round_number + 1}: {Path(file).name}", file=sys.stderr)
            theirs.setdefault(file, []).append(of_llama(bench, threads, file))
            prompt, decode, done = of_loquent(loquent, threads, file)
            ours.setdefault(file, []).append((prompt, decode))
            bandwidths.append(done["read_bandwidth_bytes_per_second"] / 1e9)
            isa = done["isa"]
    print(f"{processor()}, {isa}, {threads} threads, {min(bandwidths):.0f} to {max(bandwidths):.0f} GB/s; "
          f"prompts of {PROMPT}, {NEW} new tokens, medians of {rounds} rounds; {datetime.date.today()}\n")
    print("| file | prompt, tokens/s: Loquent | llama.cpp | × | decode, tokens/s: Loquent | llama.cpp | × |")
    print("|---|---|---|---|---|---|---|")
    for file in files:
        cells = [Path(file).stem]
        for which in (0, 1):
            own, other = (statistics.median(run[which] for run in runs[file]) for runs in (ours, theirs))
            cells += [f"{own:.1f}", f"{other:.1f}", f"{own / other:.2f}"]
        print(f"| {' | '.join(cells)} |")


main()
