"""What parts of a run gave comes back as it was, or its damage is told."""

import json

import pytest

from nni_count.errors import RunError
from nni_count.runs.states import read_state, write_state

STATE = {"metric": 3.25, "larger_is_better": False, "row": {"steps": 7, "seconds": 1e-9}, "cells": "é", "none": None}


def test_a_state_comes_back(tmp_path):
    write_state(tmp_path / "done.json", STATE)
    assert read_state(tmp_path / "done.json", "metric", "row") == STATE
    (tmp_path / "done.json").write_text(json.dumps(STATE))  # of an earlier version
    assert read_state(tmp_path / "done.json") == STATE


def test_a_damaged_state_is_told(tmp_path):
    path = tmp_path / "done.json"
    write_state(path, STATE)
    text = path.read_text()
    spoilt = ("", "[1]", "3", text[:-9], text.replace("3.25", "3.26"), text.replace("metric", "Metric"), "[" * 9999)
    for one in spoilt:
        path.write_text(one)
        with pytest.raises(
            RunError, match=r"done\.json: is damaged \(.*; remove it, and --resume does that part again"
        ):
            read_state(path)
    path.write_text(text)
    with pytest.raises(RunError, match="other values"):
        read_state(path, "mae")
