"""The Upworthy headline tests: the checked table that `prepare` makes, and its 61 headline features."""

import re
import sys
from pathlib import Path

import numpy as np
import polars as pl

from septet.data import Source, data_dir, locate
from septet.dynts.config import Preparation
from septet.errors import DataUnavailable, InputError
from septet.parquet import metadata_of, read_table, write_table
from septet.seeding import stream

UPWORTHY = Source(
    name="upworthy",
    file="upworthy-exploratory/upworthy-exploratory-packages.csv.gz",
    sha256="0017799484fcc2a15bf5e37d2d47542a8b666e911b4d304a02627fc25062388a",
    url="https://raw.githubusercontent.com/elilk2/Upworthy-Analysis-Project/"
    "5ff635b171053909b1d63617732924f206b0945b/data/processed/upworthy_clean.parquet",
    url_sha256="91d1d583e267dbd9b4bb3641eb764245e61013deea99a651bdd129376df24782",
)
FLAWED_WEEKS = (201326, 201402)  # the curators report faulty randomisation between them
FUNCTION_WORDS = (
    "the a an and or but if of to in on for with at by from about this that these those is are was were be "
    "it he she they we you i his her their our your my what why how who when not no just"
).split()
STYLE_FEATURES = 14
FEATURES = STYLE_FEATURES + len(FUNCTION_WORDS)
X = pl.Array(pl.Float64, FEATURES)
PREPARED = pl.Schema({"week": pl.Int64(), "test": pl.UInt32(), "rate": pl.Float64(), "impressions": pl.Int64(), "x": X})
"""The columns of the prepared table."""


def headline_features(headline: str) -> list[float]:
    """The 61 features of a headline: intercept, 13 marks of style, 47 function words (present or not).

    The scales are fixed numbers, not statistics of the data, so that the features of a headline do
    not depend on headlines that come later.
    """
    words = re.findall(r"[a-z']+", headline.lower())
    letters = sum(len(word) for word in words)
    style = [
        1.0,
        len(headline) / 100.0 - 0.8,
        len(words) / 15.0 - 1.0,
        letters / max(len(words), 1) / 2.0 - 2.2,
        float(any(c.isdigit() for c in headline)),
        float(headline[:1].isdigit()),
        float("?" in headline),
        float("!" in headline),
        float('"' in headline or "“" in headline),
        float(":" in headline),
        float("..." in headline or "…" in headline),
        float("(" in headline),
        min(headline.count(","), 4) / 2.0,
        sum(c.isupper() for c in headline) / max(len(headline), 1) * 5.0 - 0.7,
    ]
    present = set(words)
    return style + [float(word in present) for word in FUNCTION_WORDS]


def prepare(config: Preparation, out: Path) -> None:
    """Write OUT/upworthy.parquet: one row per headline in the order of time, with its features.

    Columns: week (YYYYWW), test (index of the test), rate (real click rate), impressions, x (61 features).
    The Parquet metadata say where the rows come from.
    """
    if config.data_source == "generated":
        table, origin = stand_in(config.root_seed), "generated on request"
    else:
        try:
            file = locate(UPWORTHY, data_dir(config.data_dir), out / "downloads")
            table, origin = read(file), f"upworthy {UPWORTHY.sha256[:12]}"
        except DataUnavailable as reason:
            if config.data_source == "real":
                raise
            print(f"{reason}; using generated data instead", file=sys.stderr)
            table, origin = stand_in(config.root_seed), "generated, because the real data are not available"
    write_table(table, out / "upworthy.parquet", {"origin": origin})


def read(file: Path) -> pl.DataFrame:
    """The table of `prepare` from the archive's CSV or from its public Parquet original.

    Raises:
        InputError: a column is missing or a row makes no sense.
    """
    columns = ["clickability_test_id", "test_week", "headline", "impressions", "clicks"]
    try:
        frame = (pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file)).select(columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        expected = f"a table with {', '.join(columns)}"
        raise InputError(str(file), expected=expected, found=str(error).split("\n")[0]) from None
    bad = frame.filter(
        (pl.col("impressions") <= 0) | (pl.col("clicks") < 0) | (pl.col("clicks") > pl.col("impressions"))
    )
    if not bad.is_empty():
        raise InputError(str(file), expected="0 <= clicks <= impressions, impressions > 0", found=bad.row(0))
    # The two files hold the same rows in another order: order them by what they share.
    frame = frame.with_columns(pl.col("headline").fill_null("").str.replace_all(r"[\r\n]+", " "))
    # A few tests run over two weeks: they count as of their first.
    frame = frame.with_columns(pl.col("test_week").min().over("clickability_test_id"))
    frame = frame.sort("test_week", "clickability_test_id", "impressions", "clicks", "headline")
    return pl.DataFrame(
        {
            "week": frame["test_week"],
            "test": frame["clickability_test_id"].rle_id(),
            "rate": frame["clicks"] / frame["impressions"],
            "impressions": frame["impressions"],
            "x": pl.Series([headline_features(text) for text in frame["headline"]], dtype=X),
        }
    )


def stand_in(root_seed: int) -> pl.DataFrame:
    """Generated headline tests with the archive's size, group sizes and size of drift; not real data.

    121 weeks of about 40 tests of about 4.65 headlines. The log click rate has a level that follows a
    weekly random walk between 0.6 % and 2 %, fixed effects of the features, and an effect of its own.
    """
    rng = stream(root_seed, "dynts", "stand-in")
    weeks = [201303 + i if i < 50 else 201401 + i - 50 if i < 102 else 201501 + i - 102 for i in range(121)]
    level = np.log(0.0152)
    shares = rng.beta(0.6, 6.0, FEATURES - STYLE_FEATURES)
    effects = rng.normal(0.0, 0.06, FEATURES)
    rows, test = [], 0
    for week in weeks:
        level = np.clip(level + rng.normal(0.0, 0.2), np.log(0.006), np.log(0.02))
        for _ in range(rng.poisson(40)):
            for _ in range(max(2, rng.poisson(4.65))):
                x = np.concatenate(
                    [[1.0], rng.normal(0.0, 0.35, 3), rng.random(9) < 0.12, rng.normal(0.0, 0.3, 1),
                     rng.random(FEATURES - STYLE_FEATURES) < shares]
                )  # fmt: skip
                rate = float(np.exp(level + x[1:] @ effects[1:] + rng.normal(0.0, 0.3)))
                rows.append((week, test, min(rate, 0.5), 3500, x))
            test += 1
    week, tests, rates, impressions, x = zip(*rows, strict=True)
    return pl.DataFrame(
        {"week": week, "test": tests, "rate": rates, "impressions": impressions, "x": np.stack(x)}, PREPARED
    )


def load(file: Path, clean_weeks: bool) -> tuple[pl.DataFrame, str]:
    """The prepared rows and their origin; without the flawed weeks if `clean_weeks`.

    Raises:
        InputError: the file is missing, torn, or not made by `prepare`.
    """
    wanted = "the table that `dynts prepare` writes"
    table = read_table(file, wanted)
    origin = metadata_of(file).get("origin")
    if origin is None:
        raise InputError(str(file), expected=wanted, found="no provenance metadata")
    if table.schema != PREPARED or table.is_empty() or table.null_count().sum_horizontal().item():
        found = ", ".join(f"{name} {kind}" for name, kind in table.schema.items())
        raise InputError(str(file), expected=f"{wanted}, without gaps", found=found)
    if not table["rate"].is_between(0, 1).all() or not np.isfinite(table["x"].to_numpy()).all():
        raise InputError(str(file), expected="rates in [0, 1] and finite features", found="others")
    if clean_weeks:
        table = table.filter(~pl.col("week").is_between(*FLAWED_WEEKS))
    return table, origin
