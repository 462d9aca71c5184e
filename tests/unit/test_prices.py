"""The price list: what its file may say, what it is worth, and when it is read again."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from client.errors import InvalidArgument
from engine.clock import FakeClock
from engine.control.price import SIZES, Bucket, PriceList, Served, TokenPrice, Totals, size_of
from engine.prices import Prices, read

LIST = """
[hours]
NVIDIA_H100_80GB = 5.80
cpu = 0.2

[[tokens]]
models = ["accounts/*/models/smollm2-*", "exact"]
parameters_up_to = 4e9
prompt = 0.10
cached = 0.05
generated = 0.20

[[tokens]]
prompt = 1
generated = 2
"""
SMALL, OTHER = TokenPrice(1000, 500, 2000), TokenPrice(10_000, 10_000, 20_000)


def library(*, moe: bool | None = False, **parameters: int):
    """A stand-in that knows how many parameters a model has."""
    models = {name: SimpleNamespace(parameter_count=str(count), moe=moe) for name, count in parameters.items()}
    return SimpleNamespace(served=lambda name: SimpleNamespace(base_model_details=models.get(name)))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(LIST)
    return path


def test_a_list_is_read_as_it_is_written(file):
    found = read(file)
    assert found.node_price("NVIDIA_H100_80GB", 4) == 23.2
    assert found.node_price(None, 4) == 0.2
    assert found.node_price("NVIDIA_A100_80GB", 4) is None
    for name, parameters, price in (
        ("accounts/x/models/smollm2-135m", 10**8, SMALL), ("exact", 4 * 10**9, SMALL), ("exact", 5 * 10**9, OTHER),
        ("exact", None, OTHER), ("accounts/x/models/other", 1, OTHER),
    ):  # fmt: skip
        assert found.tokens(Served(name, parameters)) == price, name
    assert PriceList().tokens(Served("exact", 1)) is PriceList().node_price(None, 1) is None
    assert PriceList(buckets=(Bucket(SMALL, ("a*",)),)).tokens(Served("b", 1)) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1", "'x'"), ("[hours]\nH100 = 1", "'H100'"), ("[hours]\ncpu = -1", "hours.cpu"),
        ("[hours]\ncpu = true", "cpu"),
        ("[hours]\ncpu = nan", "cpu"), ("hours = 1", "table"), ("tokens = 1", "table"), ("tokens = [1]", "table"),
        ("[[tokens]]\nprompt = 1", "tokens.generated"), ("[[tokens]]\ngenerated = 1", "tokens.prompt"),
        ("[[tokens]]\nprompt = 1\ngenerated = 2e6", "1,000,000"),
        ("[[tokens]]\nprompt = 1\ngenerated = 1\nmodels = []", "models"),
        ("[[tokens]]\nprompt = 1\ngenerated = 1\nmodels = 'x'", "models"), ("[[tokens]]\nbucket = 1", "'bucket'"),
        ("[[tokens]]\nprompt = 1\ngenerated = 1\nparameters_up_to = '4B'", "parameters_up_to"), ("x", "cannot be read"),
        ("\ud800", "cannot be read"), ("[[tokens]]\nprompt = 1\ngenerated = 1\nsize = '4B'", "size must be one of <4B"),
        ("[[tokens]]\nprompt = 1\ngenerated = 1\nserverless = 'yes'", "tokens.serverless"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_price_is_refused_by_name(tmp_path, text, told):
    path = tmp_path / "prices.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InvalidArgument, match=told):
        read(path)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read(tmp_path / "none.toml")


def test_a_file_that_changes_is_read_again_and_a_broken_one_changes_nothing(file):
    clock = FakeClock()
    prices = Prices(file, library(exact=10**9), clock)
    assert prices.tokens("exact", False) == SMALL
    file.write_text(LIST.replace("0.20", "0.40"))
    clock.advance(2)
    assert prices.tokens("exact", False) == TokenPrice(1000, 500, 4000)
    for text in ("[[tokens]]", "\x00"):
        file.write_text(text)
        clock.advance(2)
        assert prices.tokens("exact", False) == TokenPrice(1000, 500, 4000)
    os.remove(file)
    clock.advance(2)
    assert prices.node_price(None, 0) == 0.2
    assert Prices(None, library(), clock).tokens("exact", False) is None


@pytest.mark.parametrize(
    ("parameters", "dense", "moe"),
    [
        (0, "<4B", "MoE 0B-56B"), (4 * 10**9 - 1, "<4B", "MoE 0B-56B"), (4 * 10**9, "4B-16B", "MoE 0B-56B"),
        (16 * 10**9, "4B-16B", "MoE 0B-56B"), (16 * 10**9 + 1, ">16B", "MoE 0B-56B"),
        (56 * 10**9, ">16B", "MoE 0B-56B"),
        (56 * 10**9 + 1, ">16B", "MoE 56B-176B"), (176 * 10**9, ">16B", "MoE 56B-176B"),
        (176 * 10**9 + 1, ">16B", None),
        (None, None, None),
    ],
)  # fmt: skip
def test_a_size_is_that_of_the_documented_buckets(parameters, dense, moe):
    assert (size_of(parameters, False), size_of(parameters, True), size_of(parameters, None)) == (dense, moe, None)
    assert {dense, moe} <= {*SIZES, None}


def test_serverless_tokens_have_the_price_of_the_models_size_and_others_none(tmp_path):
    path = tmp_path / "prices.toml"
    tables = [f"[[tokens]]\nsize = '{size}'\nserverless = true\nprompt = {number}\ngenerated = 7\n"
              for number, size in enumerate(SIZES, 1)]  # fmt: skip
    path.write_text("".join(tables))
    known = library(small=10**9, edge=4 * 10**9, large=70 * 10**9)
    prices = Prices(path, known, FakeClock())
    found = {name: prices.tokens(name, True) for name in ("small", "edge", "large", "nobody's")}
    assert {name: price and price.prompt for name, price in found.items()} == {
        "small": 10_000, "edge": 20_000, "large": 30_000, "nobody's": None,
    }  # fmt: skip
    assert all(prices.tokens(name, False) is None for name in found)
    mixture = Prices(path, library(moe=True, large=70 * 10**9), FakeClock()).tokens("large", True)
    assert mixture == TokenPrice(50_000, 50_000, 70_000)
    path.write_text("[[tokens]]\nserverless = false\nprompt = 1\ngenerated = 1")
    dedicated = Prices(path, known, FakeClock())
    assert dedicated.tokens("small", False) == TokenPrice(10_000, 10_000, 10_000)
    assert dedicated.tokens("small", True) is None, "what is not listed has no price"


def test_dollars_of_replicas_and_of_tokens_add_up():
    totals = Totals()
    totals.add(3_600_000, accelerators=1, price=None, simulated=False)
    assert totals.usd is None
    totals.token_charges = 25 * 10**9
    assert totals.usd == 2.5
    totals.join(Totals(charges=3_600_000 * 1_000_000, token_charges=10**10))
    assert totals.usd == 4.5
