"""Runs one query of the suite on Spark Structured Streaming and prints one JSON line about it.

Started by compare.py with a Python that has pyspark. The session is started and the query has run
once over a single file before the clock starts, so neither the start of the JVM nor most of its
compiling is counted. CPU seconds are user and system time of this process and its JVM during the
timed part; memory is the sum of both peaks (VmHWM).
"""

import argparse
import datetime
import decimal
import json
import os
import shutil
import struct
import tempfile
import time

from pyspark.sql import SparkSession

BIDS = (
    "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, "
    "date_time TIMESTAMP, extra STRING"
)
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(root):
    """This process and all below it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(name))
    found, at = [root], 0
    while at < len(found):
        found += parents.get(found[at], [])
        at += 1
    return found


def cpu_s(processes):
    ticks = 0
    for process in processes:
        with open(f"/proc/{process}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def peak_mb(processes):
    total = 0
    for process in processes:
        with open(f"/proc/{process}/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1])
    return total / 1024


def value_bytes(value):
    """The bytes of a value as the checksum of the suite has them."""
    if isinstance(value, int):
        return struct.pack("<q", value)
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, decimal.Decimal):
        unscaled = int(value.scaleb(-value.as_tuple().exponent))
        return unscaled.to_bytes(16, "little", signed=True)
    if isinstance(value, datetime.datetime):
        since = value.replace(tzinfo=datetime.timezone.utc) - datetime.datetime(
            1970, 1, 1, tzinfo=datetime.timezone.utc
        )
        return struct.pack("<q", since // datetime.timedelta(microseconds=1))
    return value.encode()


def checksum(rows):
    """Number and checksum of rows, as benches/README.md says."""
    from xxhash import xxh3_64_intdigest

    count = total = 0
    for row in rows:
        hashed = 0
        for value in row:
            hashed = xxh3_64_intdigest(value_bytes(value), seed=hashed)
        total += hashed
        count += 1
    return count, f"{total % (1 << 64):016x}"


def session(options):
    # As many partitions as cores is what a person who tunes Spark for this machine sets; the
    # standard, 200, makes every query with state many times slower.
    settings = {
        "spark.sql.shuffle.partitions": options.workers,
        "spark.driver.memory": options.memory,
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.streaming.metricsEnabled": "false",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master(f"local[{options.workers}]").appName(options.query)
    for key, value in settings.items():
        builder = builder.config(key, str(value))
    return builder.getOrCreate()


def run(spark, query, data, sink, name):
    """Runs the query over a data directory to its end."""
    if query["input"] in ("words", "lines"):
        spark.readStream.text(f"{data}/{query['input']}").createOrReplaceTempView(query["input"])
    else:
        bids = spark.readStream.schema(BIDS).json(f"{data}/bids")
        bids.withWatermark("date_time", "10 seconds").createOrReplaceTempView("bids")
    checkpoint = tempfile.mkdtemp(prefix="spark-checkpoint-")
    try:
        writer = spark.sql(query["sql"]).writeStream.format(sink).outputMode(query["mode"])
        writer = writer.queryName(name).option("checkpointLocation", checkpoint)
        running = writer.trigger(availableNow=True).start()
        running.awaitTermination()
        return sum(progress["numInputRows"] for progress in running.recentProgress)
    finally:
        shutil.rmtree(checkpoint, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--query", required=True, help="a JSON line of the command `queries`")
    parser.add_argument("--data", required=True)
    parser.add_argument("--warm", required=True, help="a data directory with one file a stream")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="8g")
    parser.add_argument("--checksum", action="store_true")
    options = parser.parse_args()
    query = json.loads(options.query)
    options.query = query["query"]
    spark = session(options)
    if options.checksum:
        run(spark, query, options.data, "memory", "result")
        rows_out, total = checksum(spark.table("result").toLocalIterator())
        print(json.dumps({"rows_out": rows_out, "checksum": total}))
        return
    run(spark, query, options.warm, "noop", "warm")
    processes = tree(os.getpid())
    cpu, wall = cpu_s(processes), time.monotonic()
    events = run(spark, query, options.data, "noop", "timed")
    wall, cpu = time.monotonic() - wall, cpu_s(processes) - cpu
    line = {"events": events, "wall_s": wall, "cpu_s": cpu, "peak_mb": peak_mb(processes)}
    print(json.dumps(line))
    spark.stop()


if __name__ == "__main__":
    main()
