"""Report a measurement of speed: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import fmean
from typing import Any, TypeVar

from bincodec.eval.plain import printable
from bincodec.eval.speed import Network, Report, SpeedRow

SCHEMA = 1
"""The version of speed.json. It rises when a key is renamed, removed or given another meaning."""

PASS = "prior, pass "
"""The prefix of the names of a prior's single passes."""

_WORDS = ("codec", "part", "command")

Measured = TypeVar("Measured", SpeedRow, Network)


def as_json(report: Report, skipped: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of speed.json. `rows`, `networks` and `commands` hold one dictionary a row."""
    return {
        "schema": SCHEMA,
        "machine": report.machine,
        "threads": report.plan.threads,
        "repeat": report.plan.repeat,
        "codecs": {subject.peer.name: subject.peer.about for subject in report.plan.subjects},
        "rows": [dataclasses.asdict(row) for row in report.rows],
        "networks": [dataclasses.asdict(row) for row in report.networks],
        "commands": [dataclasses.asdict(row) for row in report.commands],
        "failures": [dataclasses.asdict(row) for row in report.failures],
        "skipped": list(skipped),
    }


def text(report: Report) -> str:
    """Return means over pictures by codec and setting, then networks and commands of the first picture."""
    machine, plan = report.machine, report.plan
    load = "" if machine["load"] is None else f", load {machine['load']:.1f} before"
    sizes = ", ".join(dict.fromkeys(f"{picture.width}x{picture.height}" for picture in plan.pictures))
    count = f"{len(plan.pictures)} picture{'s' * (len(plan.pictures) > 1)}"
    lines = [
        f"{machine['system']}, {plan.threads} of {machine['cores']} cores{load}; {count} of {sizes} pixels",
        f"Seconds: median of {plan.repeat} (the fastest), model loaded; checked: encoded and read back. "
        "MB: peak of a process that does nothing else, all of it; before: until it coded anything",
        _table(
            ("codec", "setting", "bits/pixel", "encode", "", "checked", "decode", "", "load", "MB", "before"),
            [_codec_line(rows) for rows in _grouped(report.rows)],
        ),
    ]
    if report.networks:
        head = ("codec", "part", "parameters", "k multiply-adds/pixel")
        found = [line for rows in _grouped(report.networks) for line in _network_lines(rows)]
        lines += ["", f"Networks on {report.networks[0].image}", _table(head, found)]
    if report.commands:
        commands = [
            (row.command, *_seconds(row.seconds, row.seconds_least), f"{row.megabytes:.0f}")
            for row in report.commands
        ]
        lines += [
            "",
            "Whole processes, from start to end",
            _table(("command", "seconds", "", "MB"), commands),
        ]
    return printable("\n".join(lines))


def _grouped(rows: Sequence[Measured]) -> list[list[Measured]]:
    groups: dict[tuple[str, int], list[Measured]] = {}
    for row in rows:
        groups.setdefault((row.codec, row.setting), []).append(row)
    return list(groups.values())


def _codec_line(rows: Sequence[SpeedRow]) -> tuple[str, ...]:
    checked = [row.checked_seconds for row in rows if row.checked_seconds is not None]
    return (
        rows[0].codec,
        f"{rows[0].setting}",
        f"{fmean(row.bits_per_pixel for row in rows):.3f}",
        *_seconds(fmean(row.encode_seconds for row in rows), fmean(row.encode_seconds_least for row in rows)),
        f"{fmean(checked):.3f}" if checked else "-",
        *_seconds(fmean(row.decode_seconds for row in rows), fmean(row.decode_seconds_least for row in rows)),
        f"{fmean(row.load_seconds for row in rows):.2f}",
        f"{max(row.megabytes for row in rows):.0f}",
        f"{max(row.loaded_megabytes for row in rows):.0f}",
    )


def _network_lines(rows: Sequence[Network]) -> list[tuple[str, ...]]:
    """Return one line for each part. The passes of a prior differ little, so one line holds their mean."""
    lines: list[tuple[str, ...]] = []
    passes = [row.multiply_adds_per_pixel for row in rows if row.part.startswith(PASS)]
    for row in rows:
        if not row.part.startswith(PASS):
            parameters = "-" if row.parameters is None else f"{row.parameters:,}"
            lines.append((row.codec, row.part, parameters, f"{row.multiply_adds_per_pixel / 1000:.2f}"))
    if passes:
        lines.append(
            (rows[0].codec, f"prior, mean of {len(passes)} passes", "-", f"{fmean(passes) / 1000:.2f}")
        )
    return lines


def _seconds(median: float, least: float) -> tuple[str, str]:
    return f"{median:.3f}", f"({least:.3f})"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table with columns as wide as needed. Words are on the left and numbers on the right."""
    columns = list(zip(head, *lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [name in _WORDS for name in head]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in (head, *lines)
    )
