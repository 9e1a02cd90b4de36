"""The probabilities of decisions, from two tables (FORMAT, "Probabilities")."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
import numpy.typing as npt

from .errors import refuse

Integers = npt.NDArray[np.int64]
Tables = npt.NDArray[np.uint16]
"""F and U, by scale index, by distance + REACH: (2, SCALES, 2 REACH + 1)."""

ONE = 65536
SCALES = 64
REACH = 4096
TABLES_SHA256 = "d3889427c24bdf49032e460fe9867e4954f92e41eac652da043dff09703ba1a5"


def read_tables(data: bytes) -> Tables:
    """Read `bitstream/probability_tables.zlib`. Its checksum must be the documented one."""
    differences = np.frombuffer(zlib.decompress(data), "<u2").reshape(2, SCALES, 2 * REACH + 1)
    # Sums of 16-bit integers are computed modulo 65536.
    tables = differences.cumsum(-1, np.uint16).cumsum(-1, np.uint16)
    if hashlib.sha256(tables.astype("<u2").tobytes()).hexdigest() != TABLES_SHA256:
        refuse("damaged model", "the probability tables are not those of the format")
    return tables


def threshold(j: int, maximum: int) -> int:
    """Return the threshold of j in 1/64 level."""
    return 64 * j - 32 * (maximum + 1)


def first(tables: Tables, mu: Integers, scale: Integers, middle: int, maximum: int) -> Integers:
    """Return P(z_m = 1) in 1/65536, for levels of which nothing is known yet."""
    return _entries(tables, 0, mu - threshold(middle, maximum), scale)


def rising(tables: Tables, mu: Integers, scale: Integers, j: int, maximum: int) -> Integers:
    """Return P(z_j = 1), for levels of which z_{j-1} = 1 is known."""
    return _entries(tables, 1, mu - threshold(j - 1, maximum), scale)


def falling(tables: Tables, mu: Integers, scale: Integers, j: int, maximum: int) -> Integers:
    """Return P(z_j = 1), for levels of which z_{j+1} = 0 is known."""
    return ONE - _entries(tables, 1, threshold(j + 1, maximum) - mu, scale)


def _entries(tables: Tables, table: int, distance: Integers, scale: Integers) -> Integers:
    entries: Integers = tables[table, scale, distance.clip(-REACH, REACH) + REACH].astype(np.int64)
    return entries
