"""A model's file that is not what was written is refused, or estimates what it did."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model.test_graph import made
from samples import synthetic_crowds

from nni_count.commands.export import export
from nni_count.errors import ModelError
from nni_count.model import load_model, save_model
from nni_count.model.exported import beside
from nni_count.model.seal import BLANK, check_seal, sealed

IMAGE = synthetic_crowds(1, size=(32, 40))[0].read()


BESIDE = st.binary().map(lambda data: data.replace(b"0", b"1"))  # in a file the checksum stands in quotes


@given(BESIDE, BESIDE, st.binary(), st.data())
def test_a_bit_that_changed_is_seen(before, after, beside, data):
    whole = sealed(before + BLANK.encode() + after, beside)
    checksum = whole[len(before) :][:64].decode()
    check_seal(checksum, whole, beside)
    changed = bytearray(whole + beside)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="bad checksum"):
        check_seal(checksum, bytes(changed[: len(whole)]), bytes(changed[len(whole) :]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_model_with_a_changed_bit_is_refused_or_estimates_the_same(tmp_path, place, bit):
    model, path = made("mcnn"), tmp_path / "m.safetensors"
    save_model(model, path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        changed = load_model(path)
    except ModelError:
        return
    np.testing.assert_array_equal(changed.map(IMAGE), model.map(IMAGE))


def test_a_weight_of_an_export_that_changed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nni_count.model.graph.SIZES", ((32, 40),))
    export(model=made("mcnn"), out=tmp_path / "out", to="onnx")
    content = (tmp_path / "out" / "model.onnx").read_bytes()
    at = len(content) // 2
    (tmp_path / "changed.onnx").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    load_model(tmp_path / "out" / "model.onnx")
    with pytest.raises(ModelError, match=r"changed\.onnx: .*bad checksum"):
        load_model(tmp_path / "changed.onnx")


def test_the_weights_beside_a_graph_belong_to_it(tmp_path):
    graph, weights = tmp_path / "model.xml", tmp_path / "model.bin"
    weights.write_bytes(b"weights")
    graph.write_bytes(sealed(f'<checksum value="{BLANK}" />'.encode(), beside(graph)))
    checksum = graph.read_text().split('"')[1]
    check_seal(checksum, graph.read_bytes(), beside(graph))
    weights.write_bytes(b"weighty")
    with pytest.raises(ValueError, match="bad checksum"):
        check_seal(checksum, graph.read_bytes(), beside(graph))
