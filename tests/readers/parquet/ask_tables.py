"""Reads the tables of ``make_tables.py`` with a reader in Python, and asks it questions about them.

Writes JSON: the version of the reader, the values of each table, and the answers. What fails is
``{"error": name}``. Run by the environment of the readers, which has nothing of the project:

    PYTHONPATH=. build/readers/bin/python tests/readers/parquet/ask_tables.py READER TABLES OUT

The file is long because it has all readers in Python, each with the same questions.
"""

# ruff: noqa: S608 # the queries are made from file names and columns of this test
from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.readers.encode import encode

Columns = Mapping[str, Any]
Question = Callable[[Path], Any]
NEAR = [("contig", "==", "chr2"), ("pos", "<=", 300)]
ROW_GROUP_FILTERS = (("record", "<", 15), ("pos", "<=", 300), ("contig", "==", "chr1"))
SQL_ROW_GROUP_FILTERS = ("record < 15", "pos <= 300", "contig = 'chr1'")


def of_scores(folder: Path) -> str:
    return str(folder / "whole/scores.parquet")


def files_of(folder: Path, name: str) -> list[str]:
    """The files of a folder, which are read as one table."""
    return sorted(str(path) for path in (folder / name).iterdir())


def count_wrong(folder: Path, read_llr: Callable[[str], list[Any]]) -> int:
    """How many of the damaged copies are read, but not with the values of `llr`."""
    good = sorted(encode(read_llr(of_scores(folder))), key=str)
    wrong = 0
    for path in sorted((folder / "damaged").iterdir()):
        try:
            wrong += sorted(encode(read_llr(str(path))), key=str) != good
        except Exception:  # noqa: S112 # each reader has errors of its own
            continue
    return wrong


# --- pandas


def pandas_read(options: Mapping[str, Any], path: Path) -> Columns:
    pd = importlib.import_module("pandas")
    frame = pd.read_parquet(path, **options)
    return {name: frame[name].tolist() for name in frame.columns}


def pandas_questions(options: Mapping[str, Any]) -> dict[str, Question]:
    pd = importlib.import_module("pandas")

    def read(path: Any, **more: Any) -> Any:
        return pd.read_parquet(path, **options, **more)

    def whole(folder: Path) -> Any:
        return read(of_scores(folder))

    def both(folder: Path) -> Any:
        return pd.concat([read(path) for path in files_of(folder, "two_runs")])

    def count(folder: Path, *filters: Any) -> int:
        return len(read(of_scores(folder), filters=list(filters)))

    return {
        "region": lambda folder: count(folder, *NEAR),
        "below_zero": lambda folder: count(folder, ("llr", "<", 0)),
        "not_equal": lambda folder: count(folder, ("reason", "!=", "MT")),
        "not_in": lambda folder: count(folder, ("reason", "not in", ["MT", "chr1"])),
        "smallest_and_largest": lambda folder: [whole(folder).llr.min(), whole(folder).llr.max()],
        "last_text": lambda folder: whole(folder)["alt"].dropna().max(),
        "after_t": lambda folder: count(folder, ("alt", ">", "t")),
        "with_list": lambda folder: int(whole(folder)["consequences"].notna().sum()),
        "with_flag": lambda folder: sum("A" in flags for flags in whole(folder)["flags"]),
        "joined": lambda folder: len(
            whole(folder).merge(read(files_of(folder, "known")[0]), on=["contig", "pos"])
        ),
        "of_each_contig": lambda folder: sorted(
            [name, int(number)]
            for name, number in whole(folder).groupby("contig", observed=True).size().items()
        ),
        "two_runs": lambda folder: [
            int(both(folder)["DP"].notna().sum()),
            int((both(folder)["contig"] == "MT").sum()),
        ],
        "integers_then_floats": lambda folder: sorted(
            read(files_of(folder, "integers_then_floats"))["DP"].tolist()
        ),
        "names_in_other_case": lambda folder: sorted(
            read(files_of(folder, "names_in_other_case"))["af"].tolist()
        ),
        "damaged": lambda folder: count_wrong(
            folder, lambda path: read(path, columns=["llr"])["llr"].tolist()
        ),
    }


def fastparquet_questions() -> dict[str, Question]:
    fastparquet = importlib.import_module("fastparquet")

    def count_row_groups(folder: Path) -> list[int]:
        file = fastparquet.ParquetFile(of_scores(folder))
        pruned = [
            fastparquet.api.filter_row_groups(file, [condition]) for condition in ROW_GROUP_FILTERS
        ]
        return [len(groups) for groups in pruned]

    return pandas_questions({"engine": "fastparquet"}) | {
        "row_groups": count_row_groups,
        "metadata": lambda folder: fastparquet.ParquetFile(of_scores(folder)).key_value_metadata[
            "evo2_tasks.model"
        ],
    }


# --- pyarrow


def pyarrow_read(path: Path) -> Columns:
    pq = importlib.import_module("pyarrow.parquet")
    return dict(pq.read_table(path).to_pydict())


def pyarrow_questions() -> dict[str, Question]:
    pa, pc = map(importlib.import_module, ("pyarrow", "pyarrow.compute"))
    pq, ds = map(importlib.import_module, ("pyarrow.parquet", "pyarrow.dataset"))

    def count(folder: Path, condition: Any) -> int:
        return int(ds.dataset(of_scores(folder)).count_rows(filter=condition))

    def whole(folder: Path, *columns: str) -> Any:
        return pq.read_table(of_scores(folder), columns=list(columns))

    def count_row_groups(folder: Path) -> list[int]:
        fragment = next(ds.dataset(of_scores(folder)).get_fragments())
        conditions = [pq.filters_to_expression([one]) for one in ROW_GROUP_FILTERS]
        return [len(fragment.subset(one).row_groups) for one in conditions]

    def count_contigs(folder: Path) -> list[list[Any]]:
        counts = (
            whole(folder, "contig", "record").group_by("contig").aggregate([("record", "count")])
        )
        pairs = zip(counts["contig"].to_pylist(), counts["record_count"].to_pylist(), strict=True)
        return sorted([name, number] for name, number in pairs if name is not None)

    def join(folder: Path) -> int:
        known = pq.read_table(files_of(folder, "known")[0])
        joined = whole(folder, "contig", "pos").join(known, ["contig", "pos"], join_type="inner")
        return int(joined.num_rows)

    def count_two_runs(folder: Path) -> list[int]:
        both = pa.concat_tables([pq.read_table(path) for path in files_of(folder, "two_runs")])
        of_mt = pc.sum(pc.equal(both["contig"], "MT")).as_py()
        return [len(both) - both["DP"].null_count, of_mt]

    def read_llr(path: str) -> list[Any]:
        return list(pq.read_table(path, columns=["llr"])["llr"].to_pylist())

    llr, reason = pc.field("llr"), pc.field("reason")
    return {
        "region": lambda folder: count(folder, pq.filters_to_expression(NEAR)),
        "below_zero": lambda folder: count(folder, llr < 0),
        "not_equal": lambda folder: count(folder, reason != "MT"),
        "not_in": lambda folder: count(folder, ~reason.isin(["MT", "chr1"])),
        "smallest_and_largest": lambda folder: list(
            pc.min_max(whole(folder, "llr")["llr"]).as_py().values()
        ),
        "last_text": lambda folder: pc.max(whole(folder, "alt")["alt"]).as_py(),
        "after_t": lambda folder: count(folder, pc.field("alt") > "t"),
        "with_list": lambda folder: count(folder, pc.field("consequences").is_valid()),
        "joined": join,
        "of_each_contig": count_contigs,
        "two_runs": count_two_runs,
        "integers_then_floats": lambda folder: sorted(
            ds.dataset(files_of(folder, "integers_then_floats")).to_table()["DP"].to_pylist()
        ),
        "names_in_other_case": lambda folder: sorted(
            ds.dataset(files_of(folder, "names_in_other_case")).to_table()["af"].to_pylist()
        ),
        "metadata": lambda folder: (
            pq.read_metadata(of_scores(folder)).metadata[b"evo2_tasks.model"].decode()
        ),
        "row_groups": count_row_groups,
        "damaged": lambda folder: count_wrong(folder, read_llr),
    }


# --- polars


def polars_read(path: Path) -> Columns:
    pl = importlib.import_module("polars")
    return dict(pl.scan_parquet(path).collect().to_dict(as_series=False))


def polars_questions() -> dict[str, Question]:
    pl = importlib.import_module("polars")

    def scan(folder: Path) -> Any:
        return pl.scan_parquet(of_scores(folder))

    def count(folder: Path, condition: Any) -> int:
        return int(scan(folder).filter(condition).select(pl.len()).collect().item())

    def count_contigs(folder: Path) -> list[list[Any]]:
        counts = scan(folder).drop_nulls("contig").group_by("contig").len().collect()
        return sorted([name, number] for name, number in counts.rows())

    def join(folder: Path) -> int:
        known = pl.read_parquet(files_of(folder, "known")[0])
        return int(scan(folder).collect().join(known, on=["contig", "pos"]).height)

    def count_two_runs(folder: Path) -> list[int]:
        both = pl.scan_parquet(files_of(folder, "two_runs")).collect()
        return [both["DP"].count(), int((both["contig"] == "MT").sum())]

    return {
        "region": lambda folder: count(
            folder, (pl.col("contig") == "chr2") & (pl.col("pos") <= 300)
        ),
        "below_zero": lambda folder: count(folder, pl.col("llr") < 0),
        "not_equal": lambda folder: count(folder, pl.col("reason") != "MT"),
        "not_in": lambda folder: count(folder, ~pl.col("reason").is_in(["MT", "chr1"])),
        "smallest_and_largest": lambda folder: list(
            scan(folder).select(a=pl.col("llr").min(), b=pl.col("llr").max()).collect().row(0)
        ),
        "last_text": lambda folder: scan(folder).select(pl.col("alt").max()).collect().item(),
        "after_t": lambda folder: count(folder, pl.col("alt") > "t"),
        "with_list": lambda folder: count(folder, pl.col("consequences").is_not_null()),
        "with_flag": lambda folder: count(folder, pl.col("flags").list.contains("A")),
        "joined": join,
        "of_each_contig": count_contigs,
        "two_runs": count_two_runs,
        "integers_then_floats": lambda folder: sorted(
            pl.scan_parquet(files_of(folder, "integers_then_floats")).collect()["DP"].to_list()
        ),
        "names_in_other_case": lambda folder: sorted(
            pl.scan_parquet(files_of(folder, "names_in_other_case")).collect()["af"].to_list()
        ),
        "metadata": lambda folder: pl.read_parquet_metadata(of_scores(folder))["evo2_tasks.model"],
        "damaged": lambda folder: count_wrong(
            folder, lambda path: pl.read_parquet(path, columns=["llr"])["llr"].to_list()
        ),
    }


# --- SQL


def sql_questions(
    query: Callable[[str], list[tuple[Any, ...]]], source: Callable[[Path], str]
) -> dict[str, Question]:
    """The questions in SQL.

    Args:
        query: Gives the rows of a query.
        source: What to write after FROM for a file, or for the files of a folder.
    """

    def one(sql: str, place: Path) -> Any:
        ((value, *more),) = query(sql.format(source(place)))
        return [value, *more] if more else value

    def ask(sql: str) -> Question:
        return lambda folder: one(sql, Path(of_scores(folder)))

    def values(column: str, name: str) -> Question:
        return lambda folder: sorted(
            value for (value,) in query(f'SELECT "{column}" FROM {source(folder / name)}')
        )

    def read_llr(path: str) -> list[Any]:
        return [row[0] for row in query(f"SELECT llr FROM {source(Path(path))}")]

    return {
        "region": ask("SELECT count(*) FROM {} WHERE contig = 'chr2' AND pos <= 300"),
        "below_zero": ask("SELECT count(*) FROM {} WHERE llr < 0"),
        "not_equal": ask("SELECT count(*) FROM {} WHERE reason <> 'MT'"),
        "not_in": ask("SELECT count(*) FROM {} WHERE reason NOT IN ('MT', 'chr1')"),
        "smallest_and_largest": ask("SELECT min(llr), max(llr) FROM {}"),
        "last_text": ask("SELECT max(alt) FROM {}"),
        "after_t": ask("SELECT count(*) FROM {} WHERE alt > 't'"),
        "with_list": ask("SELECT count(consequences) FROM {}"),
        "of_each_contig": lambda folder: [
            list(row)
            for row in query(
                f"SELECT contig, count(*) FROM {source(Path(of_scores(folder)))} "
                "WHERE contig IS NOT NULL GROUP BY contig ORDER BY contig"
            )
        ],
        "joined": lambda folder: one(
            f"SELECT count(*) FROM {{}} a JOIN {source(folder / 'known')} b "
            "ON a.contig = b.contig AND a.pos = b.pos",
            Path(of_scores(folder)),
        ),
        "two_runs": lambda folder: one(
            "SELECT count(\"DP\"), sum(CASE WHEN contig = 'MT' THEN 1 ELSE 0 END) FROM {}",
            folder / "two_runs",
        ),
        "integers_then_floats": values("DP", "integers_then_floats"),
        "names_in_other_case": values("af", "names_in_other_case"),
        "damaged": lambda folder: count_wrong(folder, read_llr),
    }


def pattern(place: Path) -> str:
    return str(place) if place.suffix else f"{place}/*.parquet"


def duckdb_query(sql: str) -> list[tuple[Any, ...]]:
    duckdb = importlib.import_module("duckdb")
    with duckdb.connect() as connection:
        return list(connection.execute(sql).fetchall())


def duckdb_source(place: Path) -> str:
    return f"read_parquet('{pattern(place)}')"


def duckdb_read(path: Path) -> Columns:
    duckdb = importlib.import_module("duckdb")
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM {duckdb_source(path)}")
        names = [column[0] for column in found.description]
        rows = found.fetchall()
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def duckdb_questions() -> dict[str, Question]:
    def count_row_groups(folder: Path) -> list[int]:
        source = duckdb_source(Path(of_scores(folder)))
        counts = []
        for condition in SQL_ROW_GROUP_FILTERS:
            plan = duckdb_query(f"EXPLAIN ANALYZE SELECT * FROM {source} WHERE {condition}")[0][1]
            (number,) = re.findall(r"Row Groups Scanned: (\d+) / 3", plan)
            counts.append(int(number))
        return counts

    def count_flags(folder: Path) -> int:
        source = duckdb_source(Path(of_scores(folder)))
        ((number,),) = duckdb_query(
            f"SELECT count(*) FROM {source} WHERE list_contains(flags, 'A')"
        )
        return int(number)

    def read_model(folder: Path) -> str:
        ((value,),) = duckdb_query(
            f"SELECT decode(value) FROM parquet_kv_metadata('{of_scores(folder)}') "
            "WHERE decode(key) = 'evo2_tasks.model'"
        )
        return str(value)

    return sql_questions(duckdb_query, duckdb_source) | {
        "with_flag": count_flags,
        "metadata": read_model,
        "row_groups": count_row_groups,
    }


class DataFusion:
    """A session of DataFusion in which every source has a name of its own."""

    def __init__(self) -> None:
        self._session = importlib.import_module("datafusion").SessionContext()
        self._names: dict[Path, str] = {}

    def source(self, place: Path) -> str:
        if place not in self._names:
            name = f"t{len(self._names)}"
            self._session.register_parquet(name, str(place) + ("" if place.suffix else "/"))
            self._names[place] = name
        return self._names[place]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        table = self._session.sql(sql).to_arrow_table()
        return list(zip(*table.to_pydict().values(), strict=True))


def datafusion_read(path: Path) -> Columns:
    session = importlib.import_module("datafusion").SessionContext()
    return dict(session.read_parquet(str(path)).to_arrow_table().to_pydict())


def datafusion_questions() -> dict[str, Question]:
    session = DataFusion()

    def count_row_groups(folder: Path) -> list[int]:
        name = session.source(Path(of_scores(folder)))
        counts = []
        for condition in SQL_ROW_GROUP_FILTERS:
            plan = session.query(f"EXPLAIN ANALYZE SELECT llr FROM {name} WHERE {condition}")[0][1]
            (number,) = re.findall(r"row_groups_pruned_statistics=3 total → (\d+) matched", plan)
            counts.append(int(number))
        return counts

    return sql_questions(session.query, session.source) | {"row_groups": count_row_groups}


def chdb_query(sql: str) -> list[tuple[Any, ...]]:
    chdb = importlib.import_module("chdb")
    table = chdb.query(sql, "ArrowTable")
    return list(zip(*table.to_pydict().values(), strict=True))


def chdb_source(place: Path) -> str:
    return f"file('{pattern(place)}', Parquet)"


def chdb_read(path: Path) -> Columns:
    chdb = importlib.import_module("chdb")
    options = "SETTINGS input_format_parquet_preserve_order = 1, max_threads = 1"
    table = chdb.query(f"SELECT * FROM {chdb_source(path)} {options}", "ArrowTable")
    return dict(table.to_pydict())


class Spark:
    """A session of Spark in this process."""

    def __init__(self) -> None:
        builder = importlib.import_module("pyspark.sql").SparkSession.builder
        for key, value in (("spark.ui.enabled", "false"), ("spark.log.level", "OFF")):
            builder = builder.config(key, value)
        self._session = builder.master("local[1]").getOrCreate()

    def read(self, path: Path) -> Columns:
        frame = self._session.read.parquet(f"file://{path}")
        rows = frame.collect()
        return {name: [row[place] for row in rows] for place, name in enumerate(frame.columns)}

    def source(self, place: Path) -> str:
        name = f"t{abs(hash(place))}"
        self._session.read.parquet(f"file://{place}").createOrReplaceTempView(name)
        return name

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._session.sql(sql.replace('"', "`")).collect()]


@functools.cache
def spark() -> Spark:
    return Spark()


READERS: dict[str, tuple[str, Callable[[Path], Columns], Callable[[], dict[str, Question]]]] = {
    "pandas": (
        "pandas",
        functools.partial(pandas_read, {}),
        functools.partial(pandas_questions, {}),
    ),
    "pandas, dtype_backend=pyarrow": (
        "pandas",
        functools.partial(pandas_read, {"dtype_backend": "pyarrow"}),
        functools.partial(pandas_questions, {"dtype_backend": "pyarrow"}),
    ),
    "fastparquet": (
        "fastparquet",
        functools.partial(pandas_read, {"engine": "fastparquet"}),
        fastparquet_questions,
    ),
    "pyarrow": ("pyarrow", pyarrow_read, pyarrow_questions),
    "polars": ("polars", polars_read, polars_questions),
    "DuckDB": ("duckdb", duckdb_read, duckdb_questions),
    "DataFusion": ("datafusion", datafusion_read, datafusion_questions),
    "ClickHouse": (
        "chdb",
        chdb_read,
        functools.partial(sql_questions, chdb_query, chdb_source),
    ),
    "Spark": (
        "pyspark",
        lambda path: spark().read(path),
        lambda: sql_questions(spark().query, spark().source),
    ),
}
"""Name of the reader: its package, how it reads a table, its questions."""


def attempt(ask: Callable[[], Any]) -> Any:
    """What a reader gives, encoded, or the name of its error."""
    try:
        return encode(ask())
    except Exception as error:  # each reader has errors of its own
        first = re.sub(r"\bo\d+\.", "", str(error).strip().partition("\n")[0])[:100]
        return {"error": f"{type(error).__name__}: {first}"}


def main(reader: str, folder: Path, out: Path) -> None:
    """Read the tables, ask the questions, write what the reader gave."""
    warnings.simplefilter("ignore")
    package, read, make_questions = READERS[reader]
    tables = {
        path.stem: attempt(functools.partial(read, path))
        for path in sorted((folder / "whole").glob("*.parquet"))
    }
    answers = {
        name: attempt(functools.partial(ask, folder)) for name, ask in make_questions().items()
    }
    version = importlib.metadata.version(package)
    out.write_text(json.dumps({"version": version, "tables": tables, "answers": answers}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]))
