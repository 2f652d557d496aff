"""Compares what functions answer: Spark's documentation, real Spark, and Millstream.

The list is made from an installed pyspark: the examples in the documentation of every built-in
function, those over one row and those over a list of VALUES. Lists of further expressions stand
beside this file (see README.md). Each expression is put into
`to_json(named_struct('r', <expression>))`, so that one text says its value.

Spark answers once; its answers are kept in a file and only new expressions start a JVM. Millstream
answers in one process: every expression is a stream script, and `millstream test --update` writes
the answers into them. An error on both sides counts as equal.
"""

import argparse
import collections
import json
import logging
import os
import re
import subprocess
import sys
import tempfile

VERSION = "4.3.0"

# Another answer at each call, from the machine, or from what is around the expression.
NOT_DETERMINISTIC = re.compile(
    r"\b(rand|randn|random|randstr|uniform|uuid|shuffle|now|curdate|current_\w+|localtimestamp|user"
    r"|session_user|version|monotonically_increasing_id|spark_partition_id|input_file_\w+"
    r"|unix_timestamp\(\)|java_method|reflect|try_reflect|aes_encrypt|typeof\(current_time)\b"
)

# Subjects that Millstream leaves out: docs/book/differences-from-spark.md.
LEFT_OUT = re.compile(
    r"^(st_\w+|hll_\w+|kll_\w+|theta_\w+|tuple_\w+|count_min_sketch|bitmap_\w+_sketch|approx_top_k\w*"
    r"|\w*variant\w*|is_variant_null|xpath\w*|\w*_xml|\w*avro|\w*protobuf|aes_\w+|try_aes_\w+)$"
)


class Example:
    """One expression: over one row, or over the rows of a VALUES list."""

    def __init__(self, group, name, expression, rest="", generator=False):
        self.group, self.name, self.expression = group, name, expression
        self.rest, self.generator = rest, generator

    def key(self):
        return f"{self.expression}{self.rest}"

    def query(self, rest):
        if self.generator:
            inner = f"SELECT {self.expression} AS r{rest}"
            return f"SELECT to_json(named_struct('r', r)) AS r FROM ({inner})"
        return f"SELECT to_json(named_struct('r', {self.expression})) AS r{rest}"

    def for_spark(self):
        return self.query(self.rest)

    def for_millstream(self):
        """The same over a stream of one row, which a VALUES list multiplies."""
        return self.query(streamed(self.rest) if self.rest else " FROM one")


def parts(text):
    """Splits at commas outside of quotes and brackets."""
    out, depth, quote, start, at = [], 0, None, 0, 0
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = None
        elif letter in "'\"`":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth < 0:
                break
        elif letter == "," and depth == 0:
            out.append(text[start:at].strip())
            start = at + 1
        at += 1
    out.append(text[start:at].strip())
    return out


def split_from(statement):
    """The expression of a SELECT and what follows it, from the first FROM outside of brackets."""
    depth, quote, at = 0, None, 0
    while at < len(statement):
        letter = statement[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = None
        elif letter in "'\"`":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif depth == 0 and re.match(r"\s(from|group\s+by|order\s+by|where)\b", statement[at:], re.I):
            return statement[:at], statement[at:]
        at += 1
    return statement, ""


NAMES = r"([A-Za-z_]\w*)\s*\(\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*\)"
VALUES = re.compile(rf"\bFROM\s+VALUES\s*(.*?)(?:\s+AS\s+|(?<=\))\s+){NAMES}", re.I | re.S)


def streamed(rest):
    """FROM VALUES … AS tab(a, b) as rows that are made of the one row of a stream."""

    def rows(found):
        values, table, columns = found.groups()
        names = [name.strip() for name in columns.split(",")]
        made = []
        for row in parts(values):
            cells = parts(row[1:-1]) if row.startswith("(") and len(names) > 1 else [row]
            if row.startswith("(") and len(names) == 1:
                cells = [row[1:-1].strip()]
            fields = ", ".join(f"'{name}', {cell}" for name, cell in zip(names, cells, strict=True))
            made.append(f"named_struct({fields})")
        return f"FROM (SELECT inline(array({', '.join(made)})) FROM one) AS {table}"

    return VALUES.sub(rows, rest)


GENERATORS = re.compile(r"^(explode|explode_outer|collations)\(", re.I)
MANY_COLUMNS = re.compile(r"^(posexplode\w*|inline\w*|stack|json_tuple)\(", re.I)


def documented(infos):
    """The examples of Spark's documentation that can be compared, and how many others there are."""
    examples, skipped, seen = [], collections.Counter(), set()
    for name, group, text in infos:
        for statement in re.findall(r"^\s*> (SELECT\b.*?);\s*$", text, re.M | re.S):
            body = statement[len("SELECT") :].strip()
            expression, rest = split_from(body)
            kind = None
            if LEFT_OUT.match(name):
                kind = "left out by subject"
            elif NOT_DETERMINISTIC.search(expression.lower()):
                kind = "another answer each time"
            elif len(parts(expression)) != 1 or MANY_COLUMNS.match(expression):
                kind = "several columns"
            elif rest and not VALUES.search(rest):
                kind = "not over VALUES"
            if kind:
                skipped[kind] += 1
                continue
            expression = re.sub(r"\s+AS\s+\w+$", "", expression, flags=re.I)
            example = Example(group, name, expression, rest, bool(GENERATORS.match(expression)))
            if example.key() not in seen:
                seen.add(example.key())
                examples.append(example)
    return examples, skipped


def listed(path):
    """A file of expressions, one a line; `#` begins a comment."""
    examples, group = [], os.path.splitext(os.path.basename(path))[0]
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            for expression in expanded(line):
                examples.append(Example(group, group, expression))
    return examples


def expanded(line):
    """All texts that `{{a|b}}` in a line stands for."""
    found = re.search(r"\{\{(.*?)\}\}", line)
    if not found:
        return [line]
    out = []
    for choice in found.group(1).split("|"):
        out += expanded(line[: found.start()] + choice.strip() + line[found.end() :])
    return out


class Spark:
    """Answers of real Spark, kept in a file."""

    def __init__(self, cache):
        self.cache, self.session = cache, None
        self.known = {"version": VERSION, "infos": None, "answers": {}}
        if os.path.exists(cache):
            with open(cache, encoding="utf-8") as file:
                self.known = json.load(file)

    def started(self):
        if self.session is None:
            from pyspark.sql import SparkSession

            settings = {
                "spark.ui.enabled": "false",
                "spark.sql.session.timeZone": "UTC",
                "spark.sql.shuffle.partitions": "1",
            }
            builder = SparkSession.builder.master("local[1]").appName("functions")
            for key, value in settings.items():
                builder = builder.config(key, value)
            self.session = builder.getOrCreate()
            # Expressions that fail are answers here; each would be a page of stack.
            self.session.sparkContext.setLogLevel("OFF")
            logging.disable(logging.CRITICAL)
            assert self.session.version == VERSION, self.session.version
        return self.session

    def infos(self):
        if self.known["infos"] is None:
            jvm = self.started()._jvm
            utils = jvm.org.apache.spark.sql.api.python.PythonSQLUtils
            self.known["infos"] = sorted(
                (info.getName(), info.getGroup(), info.getExamples())
                for info in utils.listBuiltinFunctionInfos()
            )
        return self.known["infos"]

    def answers(self, examples):
        missing = [example for example in examples if example.key() not in self.known["answers"]]
        for number, example in enumerate(missing):
            self.known["answers"][example.key()] = self.ask(example.for_spark())
            if number % 100 == 99:
                print(f"Spark: {number + 1} of {len(missing)}", file=sys.stderr)
                self.save()
        self.save()
        if self.session is not None:
            self.session.stop()
        return self.known["answers"]

    def ask(self, query):
        try:
            return {"rows": sorted(str(row[0]) for row in self.started().sql(query).collect())}
        except Exception as error:
            text = str(error)
            found = re.search(r"\[([A-Z_0-9.]+)\]", text)
            return {"error": found.group(1) if found else text.splitlines()[0][:200]}

    def save(self):
        os.makedirs(os.path.dirname(os.path.abspath(self.cache)), exist_ok=True)
        with open(self.cache, "w", encoding="utf-8") as file:
            json.dump(self.known, file, indent=0, ensure_ascii=False)


def cell(line):
    """The text of a cell as stream scripts write it."""
    line = line.lstrip("+").strip()
    return json.loads(line) if line.startswith('"') else line


SCRIPT = """statement
CREATE TABLE one (x INT) WITH (connector = 'memory')

query q changes
{query}

input one
1

expect q
+ unknown
"""


def millstream(program, examples):
    """Millstream's answers, by key."""
    answers = {}
    with tempfile.TemporaryDirectory(prefix="functions-") as folder:
        for number, example in enumerate(examples):
            query = re.sub(r"\s*\n\s*", " ", example.for_millstream())
            with open(f"{folder}/{number:05}.stream", "w", encoding="utf-8") as file:
                file.write(SCRIPT.format(query=query))
        command = [program, "test", "--update", "--workers", "1", folder]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        # A defect of the engine on the way would be an answer missing, not an answer.
        if ran.returncode not in (0, 4):
            raise SystemExit(f"{program} ended with {ran.returncode}: {ran.stderr[-2000:]}")
        failures, number = {}, None
        for line in ran.stdout.splitlines():
            found = re.match(r"(ok|FAILED)\s+\S*?(\d{5})\.stream", line)
            if found:
                number = int(found.group(2)) if found.group(1) == "FAILED" else None
            elif re.match(r"\d+ passed, ", line):
                number = None
            elif number is not None and ".stream:" not in line:
                failures.setdefault(number, []).append(line.strip())
        for number, example in enumerate(examples):
            if number in failures:
                answers[example.key()] = {"error": " ".join(failures[number])[:400]}
                continue
            with open(f"{folder}/{number:05}.stream", encoding="utf-8") as file:
                rows = file.read().split("expect q\n")[-1].splitlines()
            rows = [cell(row) for row in rows if row and row != "(none)"]
            answers[example.key()] = {"rows": sorted(str(row) for row in rows)}
    return answers


def verdict(spark, ours):
    if "error" in spark:
        return "equal" if "error" in ours else "other"
    if "error" in ours:
        return "error"
    return "equal" if same(spark["rows"], ours["rows"]) else "other"


def same(left, right):
    # A null of the whole text is None in Python.
    return [row.replace("None", "null") for row in left] == [
        row.replace("None", "null") for row in right
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="a millstream binary")
    parser.add_argument("--cache", default="~/.cache/millstream/functions.json")
    parser.add_argument("--list", action="append", default=[], help="a file of expressions instead")
    parser.add_argument("--only", default="", help="only functions or groups that match")
    parser.add_argument("-v", "--verbose", action="store_true", help="each difference")
    options = parser.parse_args()
    spark = Spark(os.path.expanduser(options.cache))
    if options.list:
        examples = [example for path in options.list for example in listed(path)]
        skipped = {}
    else:
        examples, skipped = documented(spark.infos())
    if options.only:
        wanted = re.compile(options.only)
        named = lambda example: wanted.search(example.name) or wanted.search(example.group)
        examples = [example for example in examples if named(example)]
    expected = spark.answers(examples)
    answers = millstream(options.program, examples)
    counts = collections.defaultdict(collections.Counter)
    for example in examples:
        key = example.key()
        result = verdict(expected[key], answers[key])
        kind = f"{example.group}{' over VALUES' if example.rest else ''}"
        counts[kind][result] += 1
        if options.verbose and result != "equal":
            print(f"{result}  {example.group}/{example.name}: {key}")
            print(f"    Spark      {expected[key].get('rows', expected[key].get('error'))}")
            print(f"    Millstream {answers[key].get('rows', answers[key].get('error'))}")
    print(f"{'group':40} {'equal':>6} {'other':>6} {'error':>6}")
    total = collections.Counter()
    for kind in sorted(counts):
        total += counts[kind]
    for kind, count in [*sorted(counts.items()), ("all", total)]:
        print(f"{kind:40} {count['equal']:6} {count['other']:6} {count['error']:6}")
    share = 100 * total["equal"] / max(1, sum(total.values()))
    print(f"{share:.1f} % equal; not compared: {dict(skipped)}")


if __name__ == "__main__":
    main()
