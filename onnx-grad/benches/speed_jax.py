"""The same work as speed.rs in jitted JAX on one thread: adapt, MAML as one writes it, MAML in low-rank form by hand.

    pip install jax numpy
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.sched_setaffinity(0, {0})

import resource
import time

import jax
import jax.numpy as jnp
import numpy as np

STATE, ACTION, WIDTH, ROWS, TASKS, ALPHA = 20, 6, 512, 16, 32, 0.01
random = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(0.05 * random.standard_normal(shape), jnp.float32)


sizes = [STATE + ACTION, WIDTH, WIDTH, WIDTH, STATE]
theta = [(normal(i, o), normal(o)) for i, o in zip(sizes, sizes[1:])]


def net(p, x):
    for i, (w, b) in enumerate(p):
        x = x @ w + b
        x = jax.nn.relu(x) if i < len(p) - 1 else x
    return x


def loss(p, x, y):
    return jnp.mean((net(p, x) - y) ** 2)


@jax.jit
def adapt(p, x, y):
    return jax.tree.map(lambda w, d: w - ALPHA * d, p, jax.grad(loss)(p, x, y))


@jax.jit
def maml(p, past_x, past_y, future_x, future_y):
    def task(p, a, b, c, d):
        return loss(jax.tree.map(lambda w, g: w - ALPHA * g, p, jax.grad(loss)(p, a, b)), c, d)

    return jax.value_and_grad(lambda p: jnp.mean(jax.vmap(task, (None, 0, 0, 0, 0))(p, past_x, past_y, future_x, future_y)))(p)


@jax.jit
def maml_low_rank(p, past_x, past_y, future_x, future_y):
    def task(p, a, b, c, d):
        inputs, h = [], a
        for i, (w, bias) in enumerate(p):
            inputs.append(h)
            z = h @ w + bias
            h = jax.nn.relu(z) if i < len(p) - 1 else z
        delta = 2 * (h - b) / b.size
        deltas = [None] * len(p)
        for i in reversed(range(len(p))):
            deltas[i] = delta
            if i > 0:
                delta = (delta @ p[i][0].T) * (inputs[i] > 0)
        h = c
        for i, ((w, bias), x, delta) in enumerate(zip(p, inputs, deltas)):
            z = h @ w + bias - ALPHA * ((h @ x.T) @ delta + delta.sum(0))
            h = jax.nn.relu(z) if i < len(p) - 1 else z
        return jnp.mean((h - d) ** 2)

    return jax.value_and_grad(lambda p: jnp.mean(jax.vmap(task, (None, 0, 0, 0, 0))(p, past_x, past_y, future_x, future_y)))(p)


def best(repeats, run):
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


x, y = normal(ROWS, STATE + ACTION), normal(ROWS, STATE)
batch = [normal(TASKS, ROWS, STATE + ACTION), normal(TASKS, ROWS, STATE)] * 2
for name, repeats, run in [
    ("adapt", 200, lambda: adapt(theta, x, y)),
    ("maml, low-rank by hand", 20, lambda: maml_low_rank(theta, *batch)),
    ("maml", 5, lambda: maml(theta, *batch)),
]:
    time_ms = best(repeats, run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{name}: {time_ms:.2f} ms, peak memory so far {peak} MB")
