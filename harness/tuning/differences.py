"""What makes a study another one: its definition beside the one that is asked for, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.parameters import flatten


def list_differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Say of each thing in which two definitions differ what it was and what it is now."""
    return [
        *_compare_dataset(stored, wanted),
        *(
            f"{name} was {_write(stored.get(name))}, now {_write(wanted[name])}"
            for name in ("objective", "model", "loss", "recipe")
            if stored.get(name) != wanted[name]
        ),
        *_compare_fixed(flatten(stored.get("fixed", {})), flatten(wanted["fixed"])),
        *_compare_space(stored.get("space", {}), wanted["space"]),
        *_compare_seeds(stored.get("seeds", []), wanted["seeds"]),
    ]


def _compare_dataset(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    before, now = stored.get("dataset", {}), wanted["dataset"]
    differs = False
    if before.get("name") != now["name"]:
        differs = True
        yield f"dataset was {_write(before.get('name'))}, now {_write(now['name'])}"
    options, asked = before.get("options", {}), now["options"]
    for name in _changed(options, asked):
        differs = True
        words = [f"{_write(given[name])}" if name in given else "not given" for given in (options, asked)]
        yield f"dataset option {name} was {words[0]}, now {words[1]}"
    if not differs and stored.get("fingerprint") != wanted["fingerprint"]:
        prints = [str(one.get("fingerprint"))[:12] for one in (stored, wanted)]
        yield (
            f"the data of '{now['name']}' have changed (images, labels, or which of them are for validation): "
            f"fingerprint was {prints[0]}, now {prints[1]}"
        )


def _compare_fixed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in _changed(before, now):
        words = [f"set to {_write(given[name])}" if name in given else "not set" for given in (before, now)]
        yield f"{name} was {words[0]}, now {words[1]}"


def _compare_space(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in _changed(before, now):
        words = [
            f"searched in {_describe(given[name])}" if name in given else "not searched" for given in (before, now)
        ]
        yield f"{name} was {words[0]}, now {words[1]}"


def _compare_seeds(before: list[int], now: list[int]) -> Iterator[str]:
    if before != now:
        yield f"--seeds-per-trial was {len(before)}, now {len(now)}"


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The names that one alone has, or that differ in value or in its type: 1 is not true."""
    return [
        name
        for name in sorted({*before, *now})
        if (name in before, json.dumps(before.get(name))) != (name in now, json.dumps(now.get(name)))
    ]


def _describe(values: Mapping[str, Any]) -> str:
    """The values of a dimension in words."""
    if "options" in values:
        return "one of " + ", ".join(map(_write, values["options"]))
    return f"{values['low']} .. {values['high']}" + (", log" if values.get("log") else "")


def _write(value: Any) -> str:
    """Write a value as people write it, and not at any length."""
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:100]}..."
