"""Networks as files: both ways and exactly, and what a broken file says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.specfile import digest, from_toml, to_toml


def test_random_networks_come_back(networks):
    @given(networks)
    def holds(spec):
        text = to_toml(spec)
        again = from_toml(text)
        assert again == spec
        assert to_toml(again) == text
        assert digest(again) == digest(spec)

    holds()


@given(st.floats(min_value=0.0, max_value=1e100))
def test_every_float_comes_back_to_the_last_bit(gain):
    spec = ne.models.layered_hopfield([2, 3, 2], gain=gain)
    again = from_toml(to_toml(spec))
    assert again == spec
    found = again.synapses[0].gain
    assert math.copysign(1.0, found) == math.copysign(1.0, gain)
    assert found.hex() == gain.hex()


def test_the_usual_suspect():
    spec = from_toml(to_toml(ne.models.layered_hopfield([2, 3, 2], gain=0.1 + 0.2)))
    assert spec.synapses[0].gain == 0.1 + 0.2 != 0.3


@given(st.text())
def test_any_text_comes_back(name):
    spec = ne.models.layered_hopfield([2, 2]).model_copy(update={"name": name})
    try:
        name.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair is no text, and no file can hold it.
        return
    assert from_toml(to_toml(spec)).name == name


def test_load_and_save(tmp_path, networks):
    @given(networks)
    def holds(spec):
        path = tmp_path / "net.toml"
        ne.save(spec, path)
        assert ne.load(path) == spec
        assert ne.load(str(path)) == spec
        assert [file.name for file in tmp_path.iterdir()] == ["net.toml"], "nothing half written stays behind"

    holds()


def test_a_file_written_by_hand(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(
        """
        format = 1
        name = "by hand"
        cost = { kind = "squared_error", population = "out" }

        [[populations]]
        name = "x"
        shape = 3          # a number for one axis
        clamped = true

        [[populations]]
        name = "out"
        shape = [2, 2]
        activation = { kind = "softmax" }

        [[synapses]]
        kind = "dense"
        source = "x"
        target = "out"
        """
    )
    spec = ne.load(path)
    assert spec.shapes == {"x": (3,), "out": (2, 2)}
    assert spec.synapses[0].name == "x_out"
    assert spec.population("out").activation == ne.activations.ACTIVATIONS["softmax"]()
    assert spec.parameter_shapes == {"x_out.weight": (4, 3)}


def one_sentence(error):
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_missing_file(tmp_path):
    path = tmp_path / "none.toml"
    with pytest.raises(ne.FileError) as error:
        ne.load(path)
    assert one_sentence(error) == f"{path}: cannot read it (No such file or directory)"


def test_a_folder(tmp_path):
    with pytest.raises(ne.FileError) as error:
        ne.load(tmp_path)
    assert one_sentence(error) == f"{tmp_path}: cannot read it (Is a directory)"


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n\x00\xff", np.arange(8.0).tobytes() + b"\xff"])
def test_a_binary_file(tmp_path, content):
    path = tmp_path / "run.h5"
    path.write_bytes(content)
    with pytest.raises(ne.FileError) as error:
        ne.load(path)
    assert one_sentence(error) == f"{path}: not a text file in UTF-8, so not TOML"


@pytest.mark.parametrize(
    "content", ["populations = [", "= 3", "a = 1\na = 2\n", "[[x]]\n[x]\n", "\x00", "k = " + "[" * 5000]
)
def test_a_file_that_is_not_toml(tmp_path, content):
    path = tmp_path / "net.toml"
    path.write_text(content)
    with pytest.raises(ne.FileError) as error:
        ne.load(path)
    assert one_sentence(error).startswith(f"{path}: not valid TOML (")


def test_toml_that_is_not_a_network(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text("populations = []\nsynapses = []\n")
    with pytest.raises(ne.SpecError) as error:
        ne.load(path)
    assert one_sentence(error) == f"{path}: populations: no population is clamped, so no data can enter; clamp one"


def test_a_network_with_an_error_inside(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(
        to_toml(ne.models.layered_hopfield([2, 3, 2])).replace('target = "hidden1"', 'target = "hiden1"', 1)
    )
    with pytest.raises(ne.SpecError) as error:
        ne.load(path)
    assert one_sentence(error) == (f'{path}: synapses[0].target: no population "hiden1"; did you mean "hidden1"?')


def test_an_empty_file(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text("")
    with pytest.raises(ne.SpecError) as error:
        ne.load(path)
    assert one_sentence(error) == f"{path}: populations: required, but not given"


def test_a_place_that_cannot_be_written(tmp_path):
    path = tmp_path / "missing" / "net.toml"
    with pytest.raises(ne.FileError) as error:
        ne.save(ne.models.layered_hopfield([2, 2]), path)
    assert one_sentence(error) == f"{path}: cannot write it (No such file or directory)"


def test_saving_over_a_folder_leaves_nothing_behind(tmp_path):
    (tmp_path / "net.toml").mkdir()
    with pytest.raises(ne.FileError) as error:
        ne.save(ne.models.layered_hopfield([2, 2]), tmp_path / "net.toml")
    assert one_sentence(error).startswith(f"{tmp_path / 'net.toml'}: cannot write it (")
    assert [file.name for file in tmp_path.iterdir()] == ["net.toml"]


def test_equal_digests_mean_equal_networks():
    one = ne.models.layered_hopfield([2, 3, 2])
    assert digest(one) == digest(ne.models.layered_hopfield([2, 3, 2]))
    assert digest(one) != digest(ne.models.layered_hopfield([2, 3, 2], gain=math.nextafter(1.0, 2.0)))
