"""Generators: sizes, channels, seeds, the paper's parameter count."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from walkaround.errors import UsageError  # noqa: E402
from walkaround.restore.generators import GENERATORS, build_generator, decoder_sizes  # noqa: E402
from walkaround.restore.hourglass import SETTINGS  # noqa: E402


def test_the_hourglass_has_the_papers_parameters() -> None:
    assert build_generator("skip", 3, (64, 64)).num_parameters == 2_217_831


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize(("channels", "size_hw"), [(1, (67, 45)), (3, (64, 96)), (3, (9, 5))])
def test_any_size_grey_and_colour(name: str, channels: int, size_hw: tuple[int, int]) -> None:
    generator = build_generator(name, channels, size_hw)
    out = generator.network(generator.z)
    assert out.shape == (1, channels, *size_hw)
    assert float(out.detach().min()) >= 0 and float(out.detach().max()) <= 1
    out.mean().backward()
    assert all(parameter.grad is not None for parameter in generator.network.parameters())


@pytest.mark.parametrize("task", SETTINGS)
def test_the_hourglass_of_every_task(task: str) -> None:
    generator = build_generator("skip", 3, (70, 66), task=task)
    assert generator.network(generator.z).shape == (1, 3, 70, 66)
    assert generator.z.shape[1] == SETTINGS[task].input_depth


@pytest.mark.parametrize("name", GENERATORS)
def test_a_seed_draws_the_same_network_and_leaves_the_global_source(name: str) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, same, other = (build_generator(name, 3, (32, 32), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.network(first.z), same.network(same.z))
    assert not torch.allclose(first.network(first.z), other.network(other.z))


def test_sizes_of_a_decoder() -> None:
    assert decoder_sizes((34, 23), 3) == [(9, 6), (17, 12), (34, 23)]


@pytest.mark.parametrize(("name", "task"), [("ship", "denoise"), ("skip", "paint")])
def test_unknown_names(name: str, task: str) -> None:
    with pytest.raises(UsageError, match="Use one of"):
        build_generator(name, 3, (32, 32), task=task)


def test_swift_begins_without_chequers() -> None:
    generator = build_generator("swift", 3, (96, 96))
    drawn = generator.network(generator.z).detach()
    torch.testing.assert_close(drawn[..., ::2, ::2], drawn[..., 1::2, 1::2])
