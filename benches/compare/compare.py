"""Runs the same queries on Spark and on Millstream, in turn, and prints a table.

    python3 benches/compare/compare.py --venv ~/spark-venv

Same files, same text of the query, same number of cores; trigger available-now, checkpoint on the
local disk, sink noop. README.md beside the benchmarks says what is measured and what is not.
Needs Python 3.10, Linux, Java 17 for Spark, and for `--venv` the package registry, once.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PYSPARK = "pyspark==4.3.0"
# Spark refuses count(DISTINCT …) over a stream, whatever the output mode.
REFUSED = {"q15", "q16"}


def fail(what):
    sys.exit(f"compare: {what}")


def spark_python(options):
    """The Python that has pyspark."""
    if options.python:
        return options.python
    if not options.venv:
        fail("say --python PROGRAM (one that has pyspark) or --venv DIR (made if it is not there)")
    folder = pathlib.Path(options.venv).expanduser().resolve()
    if folder.is_relative_to(ROOT):
        fail("the virtual environment belongs outside the repository")
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", PYSPARK, "xxhash"], check=True)
    return str(python)


def part_of(data, target, files):
    """The first files of each stream, as links, which take no room."""
    for stream in ("bids", "words", "lines"):
        parts = sorted((data / stream).glob("part-*"))[:files]
        if parts:
            (target / stream).mkdir(parents=True)
        for part in parts:
            os.link(part, target / stream / part.name)
    shutil.copy(data / "DATA.json", target)


def lines(folder):
    total = 0
    for part in folder.iterdir():
        with open(part, "rb") as file:
            while block := file.read(1 << 20):
                total += block.count(b"\n")
    return total


def millstream(query, data, scratch, options):
    """One run of the command: wall and CPU seconds and peak memory from start to exit."""
    table = query["table"].replace("{dir}", str(data))
    columns_of = "CREATE TABLE dropped WITH (connector = 'noop', output_mode = '{}')"
    text = f"{table};\n{columns_of.format(query['mode'])};\nINSERT INTO dropped {query['sql']};\n"
    script = scratch / "query.sql"
    script.write_text(text)
    checkpoint = scratch / "checkpoint"
    command = [options.millstream, "run", str(script), "--trigger", "available-now"]
    command += ["--workers", str(options.workers), "--checkpoint", str(checkpoint)]
    command += ["--progress", "none"]
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    shutil.rmtree(checkpoint, ignore_errors=True)
    if process.returncode != 0:
        fail(f"millstream ended with {process.returncode} query={query['query']}")
    return {
        "wall_s": wall,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def spark(query, data, warm, options, *more):
    command = [options.python, str(HERE / "spark_query.py"), "--query", json.dumps(query)]
    command += ["--data", str(data), "--warm", str(warm), "--workers", str(options.workers)]
    ran = subprocess.run([*command, *more], capture_output=True, text=True)
    if ran.returncode != 0:
        fail(f"Spark failed query={query['query']}\n{ran.stderr[-3000:]}")
    return json.loads(ran.stdout.strip().splitlines()[-1])


def middle(runs):
    """The run with the middle CPU time."""
    return sorted(runs, key=lambda run: run["cpu_s"])[len(runs) // 2]


def compare(query, data, warm, scratch, options):
    """All runs of a query, engines in turn, so that a busy minute of the machine hits both."""
    ours, theirs = [], []
    for _ in range(options.runs):
        ours.append(millstream(query, data, scratch, options))
        if query["query"] not in REFUSED:
            theirs.append(spark(query, data, warm, options))
    events = lines(data / query["input"])
    for run in theirs:
        if run["events"] != events:
            fail(f"Spark read {run['events']} of {events} rows query={query['query']}")
    return events, middle(ours), middle(theirs) if theirs else None


def check(query, data, warm, options):
    """Both must give the same rows: ours by the checksum of the suite."""
    theirs = spark(query, data, warm, options, "--checksum")
    command = [options.benches, "run-once", query["query"], "--engine", "millstream"]
    ran = subprocess.run([*command, "--dir", str(data)], capture_output=True, text=True, check=True)
    ours = json.loads(ran.stdout)
    same = all(ours[key] == theirs[key] for key in ("rows_out", "checksum"))
    print(f"{query['query']}: {'same' if same else 'DIFFERENT'} rows, {theirs['rows_out']}", flush=True)
    return same


def row(cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def table(queries, data, warm, scratch, options):
    row(["query", "k events", "Spark wall s", "CPU s", "MB", "Millstream wall s", "CPU s", "MB",
         "wall ×", "CPU ×", "memory ÷"])
    row(["---"] * 11)
    ratios = {}
    for query in queries:
        events, ours, theirs = compare(query, data, warm, scratch, options)
        cells = [query["query"], f"{events / 1000:.0f}"]
        mine = [f"{ours['wall_s']:.2f}", f"{ours['cpu_s']:.2f}", f"{ours['peak_mb']:.0f}"]
        if theirs is None:
            row([*cells, "refused", "–", "–", *mine, "–", "–", "–"])
            continue
        ratio = [theirs[key] / ours[key] for key in ("wall_s", "cpu_s", "peak_mb")]
        ratios[query["query"]] = ratio
        cells += [f"{theirs['wall_s']:.2f}", f"{theirs['cpu_s']:.2f}", f"{theirs['peak_mb']:.0f}"]
        row([*cells, *mine, *(f"{value:.1f}" for value in ratio)])
    light = [ratios[name] for name in ("w1", "w1s", "q0", "q1", "q2") if name in ratios]
    others = [ratio for name, ratio in ratios.items() if name not in ("w1", "w1s", "q0", "q1", "q2")]
    print()
    for name, some in (("w1, q0, q1, q2", light), ("the others", others)):
        if some:
            wall, cpu, memory = (geometric([ratio[at] for ratio in some]) for at in range(3))
            print(f"{name}, geometric mean: wall {wall:.1f}, CPU {cpu:.1f}, memory {memory:.1f}; "
                  f"least CPU {min(ratio[1] for ratio in some):.1f}")


def main():
    parser = argparse.ArgumentParser(description="Spark and Millstream side by side")
    parser.add_argument("queries", nargs="*", help="names; all without")
    parser.add_argument("--python", help="a Python that has pyspark")
    parser.add_argument("--venv", help=f"a virtual environment for {PYSPARK}, made if needed")
    parser.add_argument("--data", default=str(ROOT / "target/nexmark"), type=pathlib.Path)
    parser.add_argument("--files", default=20, type=int, help="of each stream, from the first")
    parser.add_argument("--workers", default=2, type=int)
    parser.add_argument("--runs", default=3, type=int)
    parser.add_argument("--check", action="store_true", help="compare rows instead of times")
    parser.add_argument("--millstream", default=str(ROOT / "target/release/millstream"))
    parser.add_argument("--benches", default=str(ROOT / "target/release/millstream-benches"))
    options = parser.parse_args()
    options.python = spark_python(options)
    listed = subprocess.run([options.benches, "queries"], capture_output=True, text=True, check=True)
    queries = [json.loads(line) for line in listed.stdout.splitlines()]
    queries = [query for query in queries if not options.queries or query["query"] in options.queries]
    data = options.data.resolve()
    # Links need the same file system as the data.
    with tempfile.TemporaryDirectory(prefix="compare-", dir=data.parent) as folder:
        scratch = pathlib.Path(folder)
        part, warm = scratch / "data", scratch / "warm"
        part.mkdir(), warm.mkdir()
        part_of(data, part, options.files)
        part_of(data, warm, 1)
        queries = [query for query in queries if (part / query["input"]).exists()]
        if options.check:
            queries = [query for query in queries if query["query"] not in REFUSED]
            if not all([check(query, part, warm, options) for query in queries]):
                fail("the engines give different rows")
        else:
            table(queries, part, warm, scratch, options)


if __name__ == "__main__":
    main()
