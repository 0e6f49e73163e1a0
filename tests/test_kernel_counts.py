"""benchmarks/kernels.py counts what can be counted by hand."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from assay.baselines import BC, TD3BC

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs a source checkout")
FLOAT = 4  # bytes


@pytest.fixture(scope="module")
def counting():
    spec = importlib.util.spec_from_file_location("kernels", ROOT / "benchmarks" / "kernels.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["kernels"] = module
    spec.loader.exec_module(module)
    return module


def test_operations_are_kernels_and_views_are_none(counting):
    a, b = torch.empty(2, 3, 4, device="meta"), torch.empty(2, 4, 5, device="meta")
    with counting.Counter() as counter:
        product = torch.bmm(a, b)  # reads 24 + 40, writes 30
        product.view(-1).relu_()  # reads and writes 30
    assert counter.kernels == 2
    assert counter.bytes == (24 + 40 + 30 + 2 * 30) * FLOAT


def test_what_is_repeated_in_memory_is_read_once(counting):
    row, whole = torch.empty(1, 7, device="meta"), torch.empty(5, 7, device="meta")
    with counting.Counter() as counter:
        whole + row.expand(5, 7)
    assert counter.bytes == (35 + 7 + 35) * FLOAT


def test_flops_of_cloning_are_those_of_its_products(counting):
    batch, states, hidden, actions = 32, 17, 8, 6
    cost = counting.captured(BC(hidden=(hidden,), batch_size=batch), members=3)
    forward = 2 * batch * (states * hidden + hidden * actions)
    weights = forward  # each layer's gradient is a product of the same size
    activations = 2 * batch * hidden * actions  # none to the states, which nobody asks for
    assert cost.flops == forward + weights + activations


def test_kernels_do_not_depend_on_the_members_and_bytes_per_member_hardly_do(counting):
    few, many = (counting.captured(TD3BC(hidden=(16, 16), batch_size=32), members) for members in (4, 8))
    assert few.kernels == many.kernels
    assert few.bytes == pytest.approx(many.bytes, rel=0.02)
    assert few.flops == many.flops


def traced(function, *shapes):
    tensors = [torch.empty(*shape, device="meta") for shape in shapes]
    return make_fx(lambda: function(*tensors))()


def test_a_chain_of_elementary_operations_is_one_kernel(counting):
    program = traced(lambda x, y: torch.relu(x * 2.0 + y).sqrt().exp() - y, (64, 64), (64, 64))
    assert counting.fused(program) == 1


def test_a_product_and_what_follows_are_two_kernels(counting):
    program = traced(lambda a, b, c: torch.relu(torch.bmm(a, b) + c), (2, 32, 16), (2, 16, 8), (2, 1, 8))
    assert counting.fused(program) == 2


def test_rates_are_what_each_part_of_the_device_allows(counting):
    rates = counting.Cost(kernels=100.0, bytes=1e6, flops=1e9).rates(members=4)
    assert rates["kernels"] == pytest.approx(4 / 200e-6)
    assert rates["memory"] == pytest.approx(3.35e6)
    assert (rates["highest"], rates["high"]) == (pytest.approx(67_000), pytest.approx(495_000))


@pytest.mark.slow
def test_a_compiled_update_of_td3_bc_is_at_most_sixty_kernels(counting):
    assert counting.compiled(TD3BC(), members=8) <= 60


def test_the_page_holds_what_the_tool_counts(counting):
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"<!-- kernels -->(.*?)<!-- end of kernels -->", page, re.DOTALL)
    held = [line.split(" | ") for line in table.splitlines() if line.startswith("| BC |")]
    counted = counting.row_of("bc", members=16, compile=False).split(" | ")
    assert [[*cells[:2], "", *cells[3:]] for cells in held] == [counted]
