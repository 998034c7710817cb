"""Values and gradients of every primitive and fused op: tests/fixtures/ops.json and ops.safetensors.

A case is {op, params, inputs: [{name, dtype, shape}], outputs: [name], cotangents: [name | null per output],
grads: [name | null per input]}. A gradient is the vector-Jacobian product with the random cotangents.
null: an integer output (no cotangent), or an input that has no gradient or is not asked for one.
"""

import json
import math

import numpy as np
import torch
import torch.nn.functional as F

import safetensors_file


class Cases:
    """Collects cases and their tensors; the generator belongs to it, so the order of the calls is the seed."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.cases = []
        self.tensors = {}

    def normal(self, *shape, scale=1.0):
        return (self.random.standard_normal(shape) * scale).astype(np.float32)

    def uniform(self, low, high, *shape):
        return self.random.uniform(low, high, shape).astype(np.float32)

    def distinct(self, *shape):
        """Values at least 0.05 apart, in random order: no ties, and a finite difference cannot swap two."""
        count = math.prod(shape)
        values = (np.arange(count) - count / 2) * 0.1 + self.random.uniform(-0.02, 0.02, count)
        return self.random.permutation(values).reshape(shape).astype(np.float32)

    def apart_from_zero(self, *shape):
        """Values of either sign with magnitude in [0.1, 2.5]: away from kinks and poles at zero."""
        return self.uniform(0.1, 2.5, *shape) * self.random.choice([-1, 1], shape).astype(np.float32)

    def integers(self, limit, *shape):
        return np.asarray(self.random.integers(0, limit, shape), dtype=np.int32)

    def add(self, op, function, inputs, params=None, no_grad=(), zero_cotangent=None):
        """Run one case. `no_grad`: input indices without gradient. `zero_cotangent`: mask of outputs to silence."""
        arrays = [np.asarray(value) for value in inputs]
        prefix = f"{op}.{sum(case['op'] == op for case in self.cases)}"
        leaves = []
        for index, array in enumerate(arrays):
            if array.dtype == np.float32:
                leaves.append(torch.tensor(array.astype(np.float64), requires_grad=index not in no_grad))
            else:
                leaves.append(torch.tensor(array if array.dtype == np.bool_ else array.astype(np.int64)))
        results = function(*leaves, **(params or {}))
        results = results if isinstance(results, tuple) else (results,)

        case = {"op": op, "params": params or {}, "inputs": [], "outputs": [], "cotangents": [], "grads": []}
        for index, array in enumerate(arrays):
            name = self.keep(f"{prefix}.input{index}", array)
            case["inputs"].append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
        total = 0
        for index, result in enumerate(results):
            floating = result.is_floating_point()
            value = result.detach().numpy()
            case["outputs"].append(
                self.keep(f"{prefix}.output{index}", value.astype(np.float32 if floating else np.int32))
            )
            if not floating:
                case["cotangents"].append(None)
                continue
            cotangent = np.asarray(self.random.standard_normal(value.shape), dtype=np.float32)
            if zero_cotangent is not None:
                cotangent[zero_cotangent] = 0
            case["cotangents"].append(self.keep(f"{prefix}.cotangent{index}", cotangent))
            total = total + (result * torch.tensor(cotangent.astype(np.float64))).sum()
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        gradients = iter(torch.autograd.grad(total, wanted) if wanted else [])
        for index, leaf in enumerate(leaves):
            if leaf.requires_grad:
                value = next(gradients).numpy().astype(np.float32)
                case["grads"].append(self.keep(f"{prefix}.grad{index}", value))
            else:
                case["grads"].append(None)
        self.cases.append(case)

    def keep(self, name, array):
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
        self.tensors[name] = np.ascontiguousarray(array).reshape(array.shape)
        return name


def elementwise(c):
    same, scalars = [([2, 3], [2, 3])], [([], [2, 3]), ([3], []), ([], [])]
    for a, b in [*same, ([2, 3, 4], [4]), ([2, 1, 4], [3, 1]), ([1], [2, 2, 1]), *scalars]:
        c.add("add", torch.add, [c.normal(*a), c.normal(*b)])
        c.add("sub", torch.sub, [c.normal(*a), c.normal(*b)])
        c.add("mul", torch.mul, [c.normal(*a), c.normal(*b)])
        c.add("div", torch.div, [c.normal(*a), c.apart_from_zero(*b)])
        c.add("pow", torch.pow, [c.uniform(0.2, 2.5, *a), c.uniform(-2, 2.5, *b)])
        for op, function in [("maximum", torch.maximum), ("minimum", torch.minimum)]:
            values = c.distinct(math.prod(a) + math.prod(b))
            c.add(op, function, [values[: math.prod(a)].reshape(a), values[math.prod(a) :].reshape(b)])
    # A negative base has no gradient to its exponent, but powers by whole numbers are defined.
    for exponent in (2, 3):
        c.add("pow", torch.pow, [c.apart_from_zero(2, 3), np.float32(exponent)], no_grad=[1])
    # Equal values: whichever rule shares the gradient between the two, a zero cotangent leaves nothing to share.
    for op, function in [("maximum", torch.maximum), ("minimum", torch.minimum)]:
        a, b = c.distinct(2, 4), c.distinct(2, 4) + np.float32(0.05)
        equal = np.array([[True, False, False, True], [False, False, True, False]])
        c.add(op, function, [a, np.where(equal, a, b)], zero_cotangent=equal)

    wide = np.array([-90, -20, -8.5, -3, -1e-3, 1e-3, 3, 8.5, 20, 90], dtype=np.float32)
    unary = {
        "neg": (torch.neg, c.normal, [wide]),
        "exp": (torch.exp, c.normal, [np.array([-60, -5, 0, 5, 10], dtype=np.float32)]),
        "log": (torch.log, lambda *s: c.uniform(0.05, 4, *s), [np.array([1e-6, 1e-2, 1, 1e4], dtype=np.float32)]),
        "sqrt": (torch.sqrt, lambda *s: c.uniform(0.05, 4, *s), [np.array([1e-4, 1, 1e4], dtype=np.float32)]),
        "tanh": (torch.tanh, c.normal, [wide]),
        "sigmoid": (torch.sigmoid, c.normal, [wide]),
        "erf": (torch.erf, c.normal, [wide]),
        "abs": (torch.abs, c.apart_from_zero, [wide]),
        "sin": (torch.sin, c.normal, [np.array([-20, -3, 0, 3, 20], dtype=np.float32)]),
        "cos": (torch.cos, c.normal, [np.array([-20, -3, 0, 3, 20], dtype=np.float32)]),
        "relu": (torch.relu, c.apart_from_zero, [wide]),
        "gelu": (F.gelu, c.normal, [wide]),
        "geluTanh": (lambda x: F.gelu(x, approximate="tanh"), c.normal, [wide]),
        "silu": (F.silu, c.normal, [wide]),
        "square": (torch.square, c.normal, [wide]),
        "reciprocal": (torch.reciprocal, c.apart_from_zero, [np.array([-50, -0.1, 0.1, 50], dtype=np.float32)]),
    }
    for op, (function, draw, extremes) in unary.items():
        for shape in ([5], [2, 3, 4], [1, 1], []):
            c.add(op, function, [draw(*shape)])
        for values in extremes:
            c.add(op, function, [values])

    def where(cond, a, b):
        return torch.where(cond, a, b)

    for cond, a, b in [([2, 3], [2, 3], [2, 3]), ([3], [2, 3], []), ([2, 1], [1, 4], [2, 4]), ([2, 1, 3], [4, 1], [])]:
        c.add("where", where, [c.random.random(cond) < 0.5, c.normal(*a), c.normal(*b)])


def reductions(c):
    def reduced(function):
        return lambda x, axes, keepDims: function(x, dim=tuple(axes), keepdim=keepDims)

    shapes = [([2, 3, 4], axes) for axes in ([2], [0], [0, 2], [0, 1, 2])] + [([4], [0]), ([2, 1, 3], [1])]
    for keep in (False, True):
        for shape, axes in shapes:
            params = {"axes": axes, "keepDims": keep}
            c.add("sum", reduced(torch.sum), [c.normal(*shape)], params)
            c.add("mean", reduced(torch.mean), [c.normal(*shape)], params)
            c.add("max", reduced(torch.amax), [c.distinct(*shape)], params)
    for shape, axis in [([4], 0), ([2, 5], 1), ([2, 5], 0), ([2, 3, 4], 1), ([3, 1], 1)]:
        c.add("argmax", lambda x, axis: torch.argmax(x, dim=axis), [c.distinct(*shape)], {"axis": axis}, no_grad=[0])
    for shape, axis in [([5], 0), ([2, 3, 4], 0), ([2, 3, 4], 1), ([2, 3, 4], 2), ([2, 1], 1)]:
        c.add("cumsum", lambda x, axis: torch.cumsum(x, axis), [c.normal(*shape)], {"axis": axis})

    def top_k(x, k):
        return tuple(torch.topk(x, k, dim=-1, sorted=True))

    for shape, k in [([6], 3), ([2, 5], 1), ([2, 3, 4], 4), ([3, 7], 2), ([2, 1], 1)]:
        c.add("topK", top_k, [c.distinct(*shape)], {"k": k})


def products(c):
    def matmul(a, b, transposeA, transposeB, scale):
        a = a.transpose(-1, -2) if transposeA else a
        b = b.transpose(-1, -2) if transposeB else b
        return (a @ b) * scale

    equal, broadcast = [([], []), ([2], [2]), ([2, 3], [2, 3])], [([2, 1], [5]), ([2, 1], [1, 3])]
    batches = [*equal, *broadcast, ([3], []), ([], [2]), ([1], [2])]
    for index, (batch_a, batch_b) in enumerate(batches):
        for transpose_a in (False, True):
            for transpose_b in (False, True):
                if index > 3 and transpose_a != transpose_b:
                    continue
                a = [*batch_a, 4, 3] if transpose_a else [*batch_a, 3, 4]
                b = [*batch_b, 6, 4] if transpose_b else [*batch_b, 4, 6]
                scale = [1, 0.5, 0.35355338][index % 3]
                params = {"transposeA": transpose_a, "transposeB": transpose_b, "scale": scale}
                c.add("matmul", matmul, [c.normal(*a), c.normal(*b)], params)
    params = {"transposeA": False, "transposeB": False, "scale": 1}
    c.add("matmul", matmul, [c.normal(1, 5), c.normal(5, 1)], params)
    c.add("matmul", matmul, [c.normal(2, 3, 1), c.normal(2, 1, 4)], params)

    for shape, inner, outer in [([3, 4], 4, 5), ([2, 3, 4], 4, 2), ([2, 1, 3, 2], 2, 3), ([1, 1], 1, 1)]:
        c.add("linear", F.linear, [c.normal(*shape), c.normal(outer, inner)])
        c.add("linear", F.linear, [c.normal(*shape), c.normal(outer, inner), c.normal(outer)])

    def conv1d(x, w, *bias, stride, padding, dilation, groups):
        return F.conv1d(x, w, *bias, stride=stride, padding=padding, dilation=dilation, groups=groups)

    for batch, channels, length, out, kernel, stride, padding, dilation, groups, bias in [
        (2, 3, 8, 4, 3, 1, 0, 1, 1, True),
        (2, 3, 8, 4, 3, 1, 1, 1, 1, False),
        (1, 4, 9, 6, 3, 2, 1, 1, 2, True),
        (2, 4, 10, 4, 3, 1, 2, 2, 4, True),
        (1, 4, 10, 8, 4, 3, 2, 1, 4, False),
        (2, 2, 5, 3, 1, 1, 0, 1, 1, True),
        (1, 2, 4, 2, 4, 1, 0, 1, 1, False),
    ]:
        inputs = [c.normal(batch, channels, length), c.normal(out, channels // groups, kernel)]
        params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        c.add("conv1d", conv1d, inputs + ([c.normal(out)] if bias else []), params)


def networks(c):
    for op, function in [("softmax", torch.softmax), ("logSoftmax", torch.log_softmax)]:
        for shape in ([5], [2, 3, 4], [3, 1]):
            c.add(op, lambda x, f=function: f(x, -1), [c.normal(*shape, scale=2)])
        c.add(op, lambda x, f=function: f(x, -1), [np.array([[900, 901, 899.5], [-900, 0, 3]], dtype=np.float32)])
        c.add(op, lambda x, f=function: f(x, -1), [np.full([2, 4], 0.7, dtype=np.float32)])

    def layer_norm(x, weight, bias, eps):
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    def rms_norm(x, weight, eps):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight

    for shape, eps in [([3, 6], 1e-5), ([2, 3, 4], 1e-12), ([2, 1, 2, 5], 1e-2), ([7], 1e-5)]:
        weight = 1 + c.normal(shape[-1], scale=0.3)
        c.add("layerNorm", layer_norm, [c.normal(*shape) + 0.5, weight, c.normal(shape[-1])], {"eps": eps})
        c.add("rmsNorm", rms_norm, [c.normal(*shape), weight], {"eps": eps})
    c.add("layerNorm", layer_norm, [c.normal(2, 6) + 20, 1 + c.normal(6), c.normal(6)], {"eps": 1e-5})
    zero_row = c.normal(2, 4)
    zero_row[1] = 0
    c.add("rmsNorm", rms_norm, [zero_row, 1 + c.normal(4)], {"eps": 1e-2})

    def rotary(x, cos, sin):
        x1, x2 = x.chunk(2, -1)
        return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], -1)

    for batch, heads, length, size in [(2, 3, 4, 6), (1, 1, 5, 2), (1, 2, 1, 8)]:
        angle = np.outer(np.arange(length) + 1, 10000.0 ** (-np.arange(size // 2) * 2 / size))
        tables = [np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)]
        c.add("rotary", rotary, [c.normal(batch, heads, length, size), *tables], no_grad=[1, 2])

    def attention(q, k, v, causal, scale):
        groups, length, keys = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        scores = q @ k.transpose(-1, -2) * scale
        if causal:
            hidden = torch.arange(keys)[None, :] > torch.arange(length)[:, None] + keys - length
            scores = scores.masked_fill(hidden, -math.inf)
        return torch.softmax(scores, -1) @ v

    for batch, heads, kv_heads, length, keys, size in [
        (2, 2, 2, 5, 5, 4),
        (1, 4, 2, 4, 4, 6),
        (2, 4, 1, 3, 7, 2),
        (1, 6, 3, 1, 5, 4),
        (1, 1, 1, 1, 1, 3),
    ]:
        for causal in (True, False):
            inputs = [c.normal(batch, h, n, size) for h, n in [(heads, length), (kv_heads, keys), (kv_heads, keys)]]
            c.add("attention", attention, inputs, {"causal": causal, "scale": 0.5 if causal else size**-0.5})

    def cross_entropy(logits, targets, mask):
        return (mask * F.cross_entropy(logits, targets, reduction="none")).sum() / mask.sum()

    def kl_divergence(p, q, mask):
        log_p, log_q = torch.log_softmax(p, -1), torch.log_softmax(q, -1)
        return (mask * (log_p.exp() * (log_p - log_q)).sum(-1)).sum() / mask.sum()

    masks = [[1, 1, 1, 1], [1, 0, 1, 0, 0, 1], [0.5, 2, 0, 1.25], [1]]
    for index, mask in enumerate(masks):
        mask = np.array(mask, dtype=np.float32)
        rows, size, scale = len(mask), [7, 5, 3, 9][index], [1, 2, 30, 1][index]
        inputs = [c.normal(rows, size, scale=scale), c.integers(size, rows), mask]
        c.add("crossEntropy", cross_entropy, inputs, no_grad=[2])
        inputs = [c.normal(rows, size, scale=scale), c.normal(rows, size, scale=scale), mask]
        c.add("klDivergence", kl_divergence, inputs, no_grad=[0, 2])


def shapes(c):
    same = ([2, 3], [2, 3])
    for before, after in [([2, 6], [3, 4]), ([2, 3, 4], [24]), ([6], [1, 6, 1]), ([1, 1], []), ([], [1]), same]:
        c.add("reshape", lambda x, shape: x.reshape(shape), [c.normal(*before)], {"shape": after})
    for shape, perm in [([2, 3], [1, 0]), ([2, 3, 4], [0, 2, 1]), ([2, 3, 4], [2, 0, 1]), ([2, 1, 3, 4], [0, 2, 1, 3])]:
        c.add("transpose", lambda x, perm: x.permute(perm), [c.normal(*shape)], {"perm": perm})
    inner = ([1, 3, 1], [2, 3, 1])
    for before, after in [([3, 1], [2, 3, 4]), ([], [2, 2]), ([1], [5]), ([4], [3, 4]), same, inner]:
        c.add("broadcastTo", lambda x, shape: x.broadcast_to(shape), [c.normal(*before)], {"shape": after})

    def sliced(x, axis, start, end, step=1):
        return x[(slice(None),) * axis + (slice(start, end, step),)]

    for shape, axis, start, end, step in [
        ([7], 0, 2, 5, None),
        ([3, 8], 1, 1, 8, 2),
        ([4, 3], 0, 0, 4, 3),
        ([2, 5, 3], 1, 4, 5, None),
        ([2, 3, 4], 2, 0, 4, None),
        ([2, 9], 1, 0, 8, 3),
    ]:
        params = {"axis": axis, "start": start, "end": end, **({} if step is None else {"step": step})}
        c.add("slice", sliced, [c.normal(*shape)], params)

    def concat(*xs, axis):
        return torch.cat(xs, axis)

    for axis, parts in [
        (0, [[2], [3]]),
        (1, [[2, 1], [2, 4], [2, 2]]),
        (0, [[1, 3], [2, 3]]),
        (2, [[2, 2, 1], [2, 2, 3]]),
        (1, [[2, 3]]),
    ]:
        c.add("concat", concat, [c.normal(*part) for part in parts], {"axis": axis})

    def pad(x, axis, before, after, value):
        return F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [before, after], value=value)

    for shape, axis, before, after, value in [
        ([4], 0, 1, 2, 0),
        ([2, 3], 1, 0, 3, -1.5),
        ([2, 3, 2], 0, 2, 0, 7),
        ([2, 3, 2], 1, 1, 1, 0),
        ([2, 2], 0, 0, 0, 1),
    ]:
        params = {"axis": axis, "before": before, "after": after, "value": value}
        c.add("pad", pad, [c.normal(*shape)], params)


def indexing(c):
    def gather(data, indices, axis):
        picked = torch.index_select(data, axis, indices.reshape(-1))
        return picked.reshape(data.shape[:axis] + indices.shape + data.shape[axis + 1 :])

    for shape, axis, indices in [
        ([5, 3], 0, [4]),
        ([5, 3], 0, [2, 4]),
        ([2, 4, 3], 1, [6]),
        ([2, 4, 3], 2, [2, 2]),
        ([6], 0, [3]),
        ([4, 2], 0, []),
        ([1, 2], 0, [3]),
    ]:
        c.add("gather", gather, [c.normal(*shape), c.integers(shape[axis], *indices)], {"axis": axis})

    def scatter_add(indices, updates, rows):
        inner = updates.shape[indices.ndim :]
        zeros = torch.zeros(rows, *inner, dtype=updates.dtype)
        return zeros.index_add(0, indices.reshape(-1), updates.reshape(-1, *inner))

    for rows, indices, inner in [(5, [4], [3]), (4, [2, 3], [2]), (3, [6], []), (6, [2], [2, 3]), (1, [3], [2])]:
        inputs = [c.integers(rows, *indices), c.normal(*indices, *inner)]
        c.add("scatterAdd", scatter_add, inputs, {"rows": rows})
    repeated = [np.array([2, 0, 2, 2], dtype=np.int32), c.normal(4, 3)]
    c.add("scatterAdd", scatter_add, repeated, {"rows": 4})

    def take_along_axis(data, indices, axis):
        return torch.gather(data, axis, indices)

    flat, deep = [([5], 0, 3), ([3, 4], 1, 2), ([3, 4], 0, 5), ([4, 1], 1, 2)], [([2, 3, 4], 1, 3), ([2, 3, 4], 2, 1)]
    for shape, axis, count in flat + deep:
        indices = c.integers(shape[axis], *shape[:axis], count, *shape[axis + 1 :])
        c.add("takeAlongAxis", take_along_axis, [c.normal(*shape), indices], {"axis": axis})


def comparisons(c):
    """Ops that carry no gradient, and ops that came later. Last, and added to at the end: seeds go by order."""
    for a, b in [([2, 3], [2, 3]), ([2, 3, 4], [4]), ([], [5])]:
        pairs = [c.integers(3, *a).astype(np.float32), c.integers(3, *b).astype(np.float32)]
        for op, function in [("equal", torch.eq), ("less", torch.lt), ("lessEqual", torch.le)]:
            c.add(op, function, pairs, no_grad=[0, 1])
            c.add(op, function, [c.integers(3, *a), c.integers(3, *b)])
        c.add("logicalAnd", torch.logical_and, [c.random.random(a) < 0.5, c.random.random(b) < 0.5])
        c.add("logicalNot", torch.logical_not, [c.random.random(a) < 0.5])
        c.add("sign", torch.sign, [c.integers(3, *a).astype(np.float32) - np.float32(1)])
        c.add("stopGradient", torch.detach, [c.normal(*a)], no_grad=[0])
    for size in (1, 6):
        c.add("iota", torch.arange, [], {"end": size})

    # Through float16 and back: both directions round. Towards and from integers no gradient flows.
    for shape in ([6], [2, 3], []):
        c.add("cast", lambda x, dtype: x.half().double(), [c.normal(*shape, scale=3)], {"dtype": "float16"})
        c.add("cast", lambda x, dtype: x.int(), [c.normal(*shape, scale=3)], {"dtype": "int32"}, no_grad=[0])
        c.add("cast", lambda x, dtype: x.double(), [c.integers(9, *shape)], {"dtype": "float32"}, no_grad=[0])

    def scatter_along_axis(indices, updates, axis, size):
        shape = [*updates.shape[:axis], size, *updates.shape[axis + 1 :]]
        return torch.zeros(shape, dtype=updates.dtype).scatter_add(axis, indices, updates)

    for shape, axis, size in [([4], 0, 3), ([3, 2], 1, 5), ([3, 2], 0, 2), ([2, 3, 4], 1, 4), ([2, 3, 1], 2, 6)]:
        inputs = [c.integers(size, *shape), c.normal(*shape)]
        c.add("scatterAlongAxis", scatter_along_axis, inputs, {"axis": axis, "size": size})

    for shape, axis, sizes in [([6], 0, [1, 2, 3]), ([2, 6], 1, [2, 2, 2]), ([4, 3], 0, [3, 1]), ([2, 3, 1], 1, [3])]:
        c.add("split", lambda x, axis, sizes: torch.split(x, sizes, axis), [c.normal(*shape)], {"axis": axis, "sizes": sizes})


def write(folder):
    c = Cases(seed=1)
    for part in (elementwise, reductions, products, networks, shapes, indexing, comparisons):
        part(c)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in c.cases)
    (folder / "ops.json").write_text(f"[\n{lines}\n]\n")
    safetensors_file.write(folder / "ops.safetensors", c.tensors)
    return f"ops: {len(c.cases)} cases of {len({case['op'] for case in c.cases})} ops"
