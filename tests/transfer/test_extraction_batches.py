"""extract: against one forward pass over everything, in bounded memory, and from a cache that is never stale."""

import functools
import gc
import json
import shutil
from collections import OrderedDict

import numpy as np
import psutil
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tlcourse.transfer import extraction
from tlcourse.transfer.extraction import CacheError, content, extract, mean_pixels, mean_tokens, part
from tlcourse.transfer.extraction.naming import describe, digest


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny_cnn(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(64, 5),
    )


def images(n=10, seed=2):
    return torch.randn(n, 3, 6, 6, generator=seeded(seed))


class Counting(nn.Module):
    """Counts forward passes outside of its parameters and buffers."""

    def __init__(self, seed=0, dtype=torch.float32):
        super().__init__()
        self.inner = tiny_cnn(seed).to(dtype)
        self._calls = 0

    def forward(self, x):
        self._calls += 1
        return self.inner(x)


@pytest.fixture
def counting():
    return Counting()


def run(model, cache, batches=None, layers="inner.5", **options):
    """Features of the layer and the number of forward passes they took."""
    before = model._calls
    found = extract(model, images().split(4) if batches is None else batches, layers, cache=cache, **options)
    return found, model._calls - before


@pytest.mark.parametrize("cached", [False, True])
def test_features_in_batches_match_one_pass_over_everything(tmp_path, cached):
    model = tiny_cnn().train()
    before = content(model)
    layers = {"0": mean_pixels, "2": None, "5": None}
    found = extract(model, images().split(4), layers, cache=tmp_path / "new" if cached else None)
    assert content(model) == before
    assert all(m.training for m in model.modules())
    model.eval()
    expected = {"0": model[0](images()).mean((2, 3)), "2": model[:3](images()), "5": model(images())}
    assert list(found) == list(expected)
    for name, rows in expected.items():
        # A batch of another size may take another kernel.
        torch.testing.assert_close(found[name], rows, rtol=1e-5, atol=1e-6)


def test_mappings_and_rows_of_one_number_work_as_batches():
    model = nn.Linear(3, 2).eval()
    x = torch.randn(5, 3, generator=seeded())
    found = extract(model, [{"input": rows} for rows in x.split(2)], {"": lambda output, batch: output[:, 0]})
    torch.testing.assert_close(found[""], model(x)[:, 0])


def test_a_data_loader_is_read_through_forward():
    data = DataLoader(TensorDataset(images(), torch.arange(10)), batch_size=3)
    model = tiny_cnn().eval()
    found = extract(model, data, "5", forward=lambda m, batch: m(batch[0]))["5"]
    torch.testing.assert_close(found, model(images()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_type_of_the_features_stays_through_the_cache(tmp_path, dtype):
    model = Counting(dtype=dtype)
    batches = images().to(dtype).split(4)
    first, _ = run(model, tmp_path, batches)
    again, calls = run(model, tmp_path, batches)
    assert first["inner.5"].dtype == dtype
    assert torch.equal(first["inner.5"], again["inner.5"])
    assert calls == 2


def test_whole_numbers_are_compared_exactly(tmp_path):
    model = Counting()
    layers = {"inner.5": lambda output, batch: output.argmax(1)}
    first, _ = run(model, tmp_path, layers=layers)
    again, calls = run(model, tmp_path, layers=layers)
    assert torch.equal(first["inner.5"], again["inner.5"])
    assert calls == 2


# ---------------------------------------------------------------- the cache


def test_a_second_run_computes_the_first_and_the_last_batch_alone(counting, tmp_path):
    first, calls = run(counting, tmp_path)
    assert calls == 3
    again, calls = run(counting, tmp_path, images().split(4))
    assert calls == 2
    assert torch.equal(again["inner.5"], first["inner.5"])
    assert len(list(tmp_path.iterdir())) == 2  # a record and its folder


def test_writing_to_features_does_not_reach_the_cache(counting, tmp_path):
    first, _ = run(counting, tmp_path)
    kept = first["inner.5"].clone()
    first["inner.5"].zero_()
    again, calls = run(counting, tmp_path)
    assert torch.equal(again["inner.5"], kept)
    assert calls == 2  # a file that had been written to would count as damaged


def test_other_weights_buffers_inputs_layers_reduces_and_forwards_are_other_entries(counting, tmp_path):
    run(counting, tmp_path)
    assert run(Counting(seed=1), tmp_path)[1] == 3
    with torch.no_grad():
        counting.inner[1].running_mean += 1
    assert run(counting, tmp_path)[1] == 3
    counting = Counting()
    changed = images()
    changed[-1, 0, 0, 0] += 1
    assert run(counting, tmp_path, changed.split(4))[1] == 3
    assert run(counting, tmp_path, images().split(5))[1] == 2
    assert run(counting, tmp_path, layers="inner.2")[1] == 3
    assert run(counting, tmp_path, layers={"inner.5": lambda output, batch: 2 * output})[1] == 3
    assert run(counting, tmp_path, layers={"inner.5": lambda output, batch: 3 * output})[1] == 3
    assert run(counting, tmp_path, forward=lambda m, b: m(b + 1))[1] == 3
    counting.inner[1].eps = 0.5
    assert run(counting, tmp_path)[1] == 3
    assert run(Counting(), tmp_path)[1] == 2


@pytest.mark.parametrize("which", [0, 2])
def test_what_no_name_shows_is_seen_by_computing_the_ends_again(counting, tmp_path, which):
    """A change of code that the content does not show: here of a class attribute, for one batch of three."""
    odd = images().split(4)[which]
    plain = counting.inner.forward
    run(counting, tmp_path)
    counting.inner.__dict__["forward"] = lambda x: plain(x + (1 if torch.equal(x, odd) else 0))
    found, calls = run(counting, tmp_path)
    assert calls == 5
    assert torch.equal(found["inner.5"], extract(counting, images().split(4), "inner.5")["inner.5"])
    again, calls = run(counting, tmp_path)
    assert calls == 2
    assert torch.equal(again["inner.5"], found["inner.5"])
    assert len(list(tmp_path.iterdir())) == 2  # what was stale is gone


def test_a_change_of_shape_or_type_is_seen_too(counting, tmp_path, monkeypatch):
    layers = {"inner.5": sliced}
    run(counting, tmp_path, layers=layers)
    for change in (lambda x: x[:, :2], lambda x: x.double()):
        monkeypatch.setitem(ELSEWHERE, "change", change)
        found, calls = run(counting, tmp_path, layers=layers)
        assert calls == 5
        assert torch.equal(
            found["inner.5"], change(extract(counting, images().split(4), "inner.5")["inner.5"])
        )


class Scaled(nn.Module):
    """Multiplies by what is no tensor, and only inputs that have a mark: neither the first nor the last batch."""

    def __init__(self, factor):
        super().__init__()
        self.factor, self.parent = factor, [self]  # what holds the model itself cannot be described
        self.generator = torch.Generator()  # nor can this
        self.again = lambda x: self(x)  # nor this
        self.names = {"first": (1, "one")}

    def forward(self, x):
        return x * self.factor if x[0, 0] == 1 else x


def test_a_setting_that_only_the_middle_batch_feels_is_part_of_the_name(tmp_path):
    batches = [torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2, 3)]
    for factor in (1.0, 2.0, (1.0)):
        found = extract(Scaled(factor), batches, "", cache=tmp_path)[""]
        assert torch.equal(found, extract(Scaled(factor), batches, "")[""])
    assert len(list(tmp_path.glob("*.json"))) == 2


ELSEWHERE = {"change": lambda x: x}


def sliced(output, batch):
    return ELSEWHERE["change"](output)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record, data: record.write_text("{"),
        lambda record, data: record.write_text("[]"),
        lambda record, data: record.write_text("{}"),
        lambda record, data: record.write_text(record.read_text().replace('"data": "', '"data": "../')),
        lambda record, data: (data / "0.bin").write_bytes((data / "0.bin").read_bytes()[:-4]),
        lambda record, data: (data / "0.bin").write_bytes(b"\1" + (data / "0.bin").read_bytes()[1:]),
        lambda record, data: shutil.rmtree(data),
    ],
)
def test_a_damaged_entry_is_written_anew(counting, tmp_path, damage):
    first, _ = run(counting, tmp_path / "cache")
    kept = first["inner.5"].clone()
    (tmp_path / "outside").mkdir()
    (record,) = (tmp_path / "cache").glob("*.json")
    (data,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    damage(record, data)
    found, calls = run(counting, tmp_path / "cache")
    assert calls == 3
    assert torch.equal(found["inner.5"], kept)
    assert run(counting, tmp_path / "cache")[1] == 2
    assert (tmp_path / "outside").is_dir()


def test_an_entry_of_another_model_under_this_name_is_refused(counting, tmp_path):
    run(counting, tmp_path)
    (record,) = tmp_path.glob("*.json")
    mine = record.name
    record.unlink()
    run(Counting(seed=1), tmp_path, images(seed=3).split(4))
    (record,) = tmp_path.glob("*.json")
    record.rename(tmp_path / mine)
    text = rf"{mine} was written for another model and another inputs, not for what its name says; delete it"
    with pytest.raises(CacheError, match=text):
        run(counting, tmp_path)


def test_a_run_that_fails_leaves_nothing_behind(counting, tmp_path):
    batches = [*images().split(4), torch.full((2, 3, 6, 6), torch.nan)]
    with pytest.raises(FloatingPointError):
        run(counting, tmp_path, batches)
    assert list(tmp_path.iterdir()) == []


def test_an_entry_replaced_while_it_is_in_use_stays_readable(counting, tmp_path):
    first, _ = run(counting, tmp_path)
    kept = first["inner.5"].clone()
    (record,) = tmp_path.glob("*.json")
    body = json.loads(record.read_text())
    body["layers"]["inner.5"]["sha256"] = "0"
    record.write_text(json.dumps(body))
    run(counting, tmp_path)
    assert not (tmp_path / body["data"]).exists()
    assert torch.equal(first["inner.5"], kept)


def test_a_full_disk_is_an_error_and_leaves_nothing_behind(counting, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "os.replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        run(counting, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_batches_that_can_be_read_once_or_change_are_refused_with_a_cache(counting, tmp_path):
    with pytest.raises(
        ValueError, match="batches is a generator, which can be read only once; with a cache give"
    ):
        run(counting, tmp_path, (rows for rows in images().split(4)))
    torch.manual_seed(0)
    shuffled = DataLoader(images(), batch_size=4, shuffle=True)
    with pytest.raises(ValueError, match="came in another order or with other content when read again"):
        run(counting, tmp_path, shuffled)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cached", [False, True])
def test_no_batch_at_all_is_an_error(counting, tmp_path, cached):
    with pytest.raises(ValueError, match="there are no batches; give at least one"):
        run(counting, tmp_path if cached else None, [])


# ---------------------------------------------------------------- memory


def test_features_of_100_000_inputs_stay_within_a_fixed_memory(tmp_path):
    """205 MB of features: the process grows by less than 30 MB while they are written, whatever the number."""
    model = nn.Linear(16, 512)
    x = torch.randn(1000, 16, generator=seeded())
    process = psutil.Process()
    sizes = []

    class Batches:
        def __iter__(self):
            for _ in range(100):
                sizes.append(process.memory_info().rss)
                yield x

    found = extract(model, Batches(), "", cache=tmp_path)[""]
    assert found.shape == (100_000, 512)
    assert torch.equal(found[-1000:], model(x).detach())
    writing = sizes[100:]  # the second reading
    assert max(writing) - writing[5] < 30e6
    del found
    gc.collect()


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_features_that_are_not_finite_name_layer_batch_and_row(bad):
    x = images(8)
    x[5, 0, 0, 0] = bad
    with pytest.raises(FloatingPointError, match=r"layer '0', batch 1: 1 of 4 rows .* the first is row 1"):
        extract(tiny_cnn(), x.split(4), ["0"])
    with pytest.raises(FloatingPointError, match=r"layer '', batch 0: 2 of 3 rows .* the first is row 0"):
        extract(nn.Identity(), [torch.tensor([bad, 0, bad])], "")


def test_rows_of_unequal_length_ask_for_pooling():
    model = nn.Embedding(9, 4)
    batches = [torch.ones(2, 3, dtype=torch.long), torch.ones(2, 5, dtype=torch.long)]
    text = r"layer '': rows of shape \(3, 4\) torch.float32 in batch 0, \(5, 4\) torch.float32 in batch 1; pool them"
    with pytest.raises(ValueError, match=text):
        extract(model, batches, "")
    assert extract(model, batches, {"": mean_tokens})[""].shape == (4, 4)
    with pytest.raises(ValueError, match=r"\(2,\) torch.float32 in batch 0, \(2,\) torch.float64 in batch 1"):
        extract(nn.Identity(), [torch.ones(1, 2), torch.ones(1, 2).double()], "")


def test_layers_that_give_unequal_rows_are_refused():
    layers = {"0": None, "5": lambda output, batch: output[:1]}
    with pytest.raises(
        ValueError, match=r"batch 0: layers give {'0': 4, '5': 1} rows; pool to one row per item"
    ):
        extract(tiny_cnn(), images(4).split(4), layers)


def test_a_model_that_changes_itself_is_refused():
    class Restless(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return x

    with pytest.raises(RuntimeError, match="forward pass of Restless changed calls in evaluation mode"):
        extract(Restless(), [torch.ones(2, 3)], "")


# ---------------------------------------------------------------- names by content


def scaled(factor):
    return lambda output, batch: factor * output


SAME = [
    lambda: torch.arange(3.0),
    lambda: np.arange(4).reshape(2, 2).T,
    lambda: np.array(["a", None], dtype=object),
    lambda: OrderedDict(a=1, b=[2.0, None, True, b"x", 1j]),
    lambda: scaled(2),
    lambda: functools.partial(scaled, factor=3),
    lambda: part(0, mean_tokens),
    lambda: tiny_cnn(),
    lambda: len,
    lambda: torch.nn.Linear,
    lambda: np.float32(2),
]


@pytest.mark.parametrize("make", SAME)
def test_equal_content_has_one_name(make):
    assert digest(make()) == digest(make())


def test_other_content_has_another_name():
    others = [make() for make in SAME]
    others += [
        torch.arange(3),
        torch.arange(3.0)[None],
        np.arange(4).reshape(2, 2),
        scaled(3),
        part(1, mean_tokens),
    ]
    others += [
        part(0),
        functools.partial(scaled, factor=4),
        tiny_cnn(1),
        None,
        1,
        1.0,
        True,
        "1",
        b"1",
        [1],
        {1: 1},
    ]
    others += [
        lambda x: x + 1,
        lambda x: x + 2,
        lambda x=1: x + 2,
        lambda *, x=1: x + 2,
        lambda: [0 for _ in "a"],
    ]
    others += [lambda: [1 for _ in "a"]]
    assert len({digest(other) for other in others}) == len(others)
    assert digest(1, 2) != digest([1, 2])


def test_content_without_a_name_is_refused():
    with pytest.raises(
        TypeError, match=r"a builtins\.object cannot be named by content; give tensors, arrays"
    ):
        describe(object())
    with pytest.raises(TypeError, match="cannot be named by content"):
        extract(
            nn.Identity(), [{"input": object()}], "", cache="unused", forward=lambda m, b: torch.ones(1, 1)
        )


def test_the_package_names_what_the_book_imports():
    assert set(extraction.__all__) >= {
        "FeatureExtractor",
        "extract",
        "AttentionPooling",
        "ClusterEmbedding",
        "LinearProbe",
    }
