"""Time a secure sum: ``threshold`` beside TenSEAL's CKKS as the leading framework sets it up, and ``plain``.

Every node holds a vector of integers between -2^20 and 2^20, read as values in [-1, 1]. Measured are:

* ``contribute_s``: one node, from integers to bytes (CKKS: from floats, encrypt and serialise);
* ``open_s``: one node's answer to the opening (CKKS: deserialise and decrypt the sum; plain: nothing);
* ``noise_s``: one node's discrete Gaussian noise, the same for every scheme and in none of the others;
* ``combine_s``: the coordinator, from all bytes to the sum (CKKS: deserialise, add, serialise);
* bytes a value that one node sends (contribution and answer) and gets, model parameters left out;
* ``peak_mib``: how far memory grew above the loaded libraries and keys, all parties in one process;
* ``max_abs_error``: of the sum, in the units of the values.

    python benchmarks/micro/secure_sum.py [--json] [--values 10000,100000,1000000] [--nodes 4] [--repeats 5]

Each scheme and size runs in its own process on one thread. Numbers are medians; least and greatest stand in
``spread``. CKKS: ring 8192, primes [60, 40, 40], scale 2^40; one key that all nodes hold. ``ckks-exact`` is
what a study of scheme ``ckks`` runs: whole numbers in slots, authenticated, opened sums rounded.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.aggregation.ckks_coordinator import CkksCombiner
from fedmed.aggregation.ckks_node import CkksContributor
from fedmed.aggregation.contract import Opening
from fedmed.aggregation.plain_coordinator import PlainCombiner
from fedmed.aggregation.plain_node import PlainContributor
from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.aggregation.threshold_node import ThresholdContributor, insecure_epoch_keys
from fedmed.crypto.ckks_parameters import PAYLOAD_BITS, ckks_set_for, limbs_of
from fedmed.crypto.ckks_secret import CkksKeys
from fedmed.crypto.parameters import fields_per_coefficient, parameter_set_for
from fedmed.privacy.noise import DiscreteGaussian, fresh_source
from fedmed.types import FloatArray, IntArray, Layout

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts

STEPS = 1 << 20
NOISE_SCALE = 2.0**18
SEED = 20_240_602
PACKAGES = ("tenseal", "numpy", "cryptography", "zstandard")
TIMES = ("contribute_s", "open_s", "noise_s", "combine_s")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(slots=True)
class Clock:
    """Seconds of each named part, one entry for each time it ran."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in TIMES})

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body of a ``with``."""
        begun = time.perf_counter()
        yield
        self.seconds[name].append(time.perf_counter() - begun)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one round gave: the sum in grid steps, and the bytes of one node."""

    total: FloatArray
    bytes_up: int
    bytes_down: int


Round = Callable[[Sequence[IntArray], Clock], Outcome]
"""One secure sum over the nodes' vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A scheme that is set up for a number of nodes and values."""

    parameters: str
    run: Round


def layout_of(name: str, payload_bits: int, *, nodes: int, values: int) -> Layout:
    """Fields that hold the sum of all nodes' steps, made non-negative, with a guard bit."""
    field_bits = (2 * nodes * STEPS).bit_length() + 1
    return Layout(
        grid=1 / STEPS,
        limit=STEPS,
        tail=0,
        values=values,
        field_bits=field_bits,
        fields=payload_bits // field_bits,
        parameter_set=name,
        noise_scale=0.0,
    )


def threshold_scheme(nodes: int, values: int) -> Scheme:
    threshold = -(-(2 * nodes + 1) // 3)
    chosen = parameter_set_for(nodes, threshold)
    layout = layout_of(chosen.name, chosen.payload_bits, nodes=nodes, values=values)
    assert layout.fields == fields_per_coefficient(chosen, layout.field_bits)
    custodians = [ThresholdContributor(k) for k in insecure_epoch_keys(nodes, threshold, source=os.urandom)]
    everyone, openers = range(1, nodes + 1), range(1, threshold + 1)

    def run(steps: Sequence[IntArray], clock: Clock) -> Outcome:
        plan, headers = os.urandom(32), os.urandom(32)
        sent, answers = [], []
        for custodian, one in zip(custodians, steps, strict=True):
            with clock("contribute_s"):
                fields = (one + STEPS).astype(np.uint64)
                sent.append(custodian.contribute(fields, plan_digest=plan, layout=layout))
        for point in openers:
            with clock("open_s"):
                answer = custodians[point - 1].open(
                    Opening(
                        plan_digest=plan,
                        layout=layout,
                        contributors=everyone,
                        openers=openers,
                        headers_digest=headers,
                    )
                )
            answers.append(answer)
        with clock("combine_s"):
            combiner = ThresholdCombiner(layout)
            for chunks in sent:
                combiner.add_contribution(chunks)
            for chunks in answers:
                combiner.add_opening(chunks)
            total = combiner.total()
        up = sum(map(len, sent[0])) + sum(map(len, answers[0]))
        # Down go the two sets, four bytes a point, and two digests; never a ciphertext.
        down = 4 * (nodes + threshold) + 64
        return Outcome(total=total.astype(np.float64) - nodes * STEPS, bytes_up=up, bytes_down=down)

    parameters = f"{chosen.name}, {layout.fields} x {layout.field_bits} bits, t {threshold}"
    return Scheme(parameters=parameters, run=run)


def plain_scheme(nodes: int, values: int) -> Scheme:
    layout = layout_of("plain", 62, nodes=nodes, values=values)
    node = PlainContributor()

    def run(steps: Sequence[IntArray], clock: Clock) -> Outcome:
        sent = []
        for one in steps:
            with clock("contribute_s"):
                fields = (one + STEPS).astype(np.uint64)
                sent.append(node.contribute(fields, plan_digest=bytes(32), layout=layout))
        with clock("open_s"):
            answer = node.open(
                Opening(
                    plan_digest=bytes(32), layout=layout, contributors=(1,), openers=(1,), headers_digest=b""
                )
            )
        with clock("combine_s"):
            combiner = PlainCombiner(layout)
            for chunks in sent:
                combiner.add_contribution(chunks)
            combiner.add_opening(answer)
            total = combiner.total()
        up = sum(map(len, sent[0]))
        return Outcome(total=total.astype(np.float64) - nodes * STEPS, bytes_up=up, bytes_down=0)

    return Scheme(parameters="64-bit words in the clear", run=run)


def ckks_scheme(nodes: int, values: int) -> Scheme:
    import tenseal as ts

    del nodes, values  # one context serves every number and size

    private = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40], n_threads=1)
    private.global_scale = 2**40
    public = private.copy()
    public.make_context_public()

    def run(steps: Sequence[IntArray], clock: Clock) -> Outcome:
        sent = []
        for one in steps:
            numbers = (one / STEPS).tolist()  # not timed: what an application holds varies
            with clock("contribute_s"):
                sent.append(ts.ckks_vector(private, numbers).serialize())
        with clock("combine_s"):
            total = ts.ckks_vector_from(public, sent[0])
            for data in sent[1:]:
                total += ts.ckks_vector_from(public, data)
            summed = total.serialize()
        with clock("open_s"):
            opened = ts.ckks_vector_from(private, summed).decrypt()
        return Outcome(total=np.array(opened) * STEPS, bytes_up=len(sent[0]), bytes_down=len(summed))

    return Scheme(parameters="ring 8192, primes 60+40+40, scale 2^40, shared key", run=run)


def exact_ckks_scheme(nodes: int, values: int) -> Scheme:
    chosen = ckks_set_for(nodes)
    layout = layout_of(chosen.name, PAYLOAD_BITS, nodes=nodes, values=values)
    key, threshold = os.urandom(32), -(-(2 * nodes + 1) // 3)
    everyone, openers = range(1, nodes + 1), range(1, threshold + 1)
    custodians = [CkksContributor(CkksKeys(key, point=p, threshold=threshold)) for p in everyone]

    def run(steps: Sequence[IntArray], clock: Clock) -> Outcome:
        plan, sent, answers = os.urandom(32), [], []
        for custodian, one in zip(custodians, steps, strict=True):
            with clock("contribute_s"):
                fields = (one + STEPS).astype(np.uint64)
                sent.append(custodian.contribute(fields, plan_digest=plan, layout=layout))
        with clock("combine_s"):
            combiner = CkksCombiner(layout)
            for chunks in sent:
                combiner.add_contribution(chunks)
            sums = combiner.sums()
        asked = Opening(
            plan_digest=plan,
            layout=layout,
            contributors=everyone,
            openers=openers,
            headers_digest=b"",
            sums=sums,
        )
        for point in openers:
            with clock("open_s"):
                answers.append(custodians[point - 1].open(asked))
        for chunks in answers:
            combiner.add_opening(chunks)
        total = combiner.total().astype(np.float64) - nodes * STEPS
        up = sum(map(len, sent[0])) + sum(map(len, answers[0]))
        return Outcome(total=total, bytes_up=up, bytes_down=sum(map(len, sums)))

    return Scheme(parameters=f"{chosen.name}, {limbs_of(layout.field_bits)[0]} slots a value", run=run)


SCHEMES: dict[str, Callable[[int, int], Scheme]] = {
    "threshold": threshold_scheme,
    "ckks": ckks_scheme,
    "ckks-exact": exact_ckks_scheme,
    "plain": plain_scheme,
}


def memory_mib() -> float:
    """Largest memory that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(scheme: str, *, values: int, nodes: int, repeats: int) -> dict[str, Any]:
    """One row: a scheme at one size, in this process.

    Args:
        scheme: A name of `SCHEMES`.
        values: Length of the vectors.
        nodes: How many nodes.
        repeats: Rounds that count; one before them does not.

    Returns:
        The row of the JSON document.
    """
    ready = SCHEMES[scheme](nodes, values)
    draws = np.random.default_rng(SEED)
    steps = [draws.integers(-STEPS, STEPS + 1, values) for _ in range(nodes)]
    exact = np.sum(steps, axis=0)
    before, error = memory_mib(), 0.0
    ready.run(steps, Clock())
    clock = Clock()
    for _ in range(repeats):
        outcome = ready.run(steps, clock)
        error = max(error, float(np.abs(outcome.total - exact).max()) / STEPS)
    peak = memory_mib() - before  # the noise below is another part's memory
    for _ in range(repeats):
        with clock("noise_s"):
            DiscreteGaussian(NOISE_SCALE).sample(values, fresh_source())
    return {
        "scheme": scheme,
        "parameters": ready.parameters,
        "nodes": nodes,
        "values": values,
        **{name: round(statistics.median(clock.seconds[name]), 7) for name in TIMES},
        "bytes_up_per_value": round(outcome.bytes_up / values, 4),
        "bytes_down_per_value": round(outcome.bytes_down / values, 4),
        "peak_mib": round(peak, 1),
        "max_abs_error": error,
        "spread": {
            name: {"min": round(min(found), 7), "max": round(max(found), 7), "samples": len(found)}
            for name, found in clock.seconds.items()
        },
    }


def measured_alone(scheme: str, *, values: int, nodes: int, repeats: int) -> dict[str, Any]:
    """`measure` in a fresh process, whose memory nothing else has raised."""
    command = [sys.executable, str(Path(__file__).resolve()), "--alone", scheme, "--json"]
    command += ["--values", str(values), "--nodes", str(nodes), "--repeats", str(repeats)]
    answer = subprocess.run(  # noqa: S603 - this very script
        command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise SystemExit(f"{scheme} failed with {values} values:\n{answer.stderr}")
    row: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])  # TenSEAL prints warnings before
    return row


def ratios_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """``threshold`` over CKKS for each size: the aim is at most a quarter of each at a million values."""
    found = []
    for ours in (row for row in rows if row["scheme"] == "threshold"):
        (theirs,) = (r for r in rows if r["scheme"] == "ckks" and r["values"] == ours["values"])
        node_times = [row["contribute_s"] + row["open_s"] for row in (ours, theirs)]
        found.append(
            {
                "values": ours["values"],
                "node_time": round(node_times[0] / node_times[1], 4),
                "coordinator_time": round(ours["combine_s"] / theirs["combine_s"], 4),
                "bytes_up": round(ours["bytes_up_per_value"] / theirs["bytes_up_per_value"], 4),
            }
        )
    return found


def run(sizes: Sequence[int], *, nodes: int, repeats: int) -> dict[str, Any]:
    """Measure every scheme at every size; the document that ``--json`` prints."""
    rows = [
        measured_alone(scheme, values=values, nodes=nodes, repeats=repeats)
        for values in sizes
        for scheme in SCHEMES
    ]
    return {
        "benchmark": "secure_sum",
        **facts(PACKAGES, seed=SEED, repeats=repeats),
        "threads": 1,
        "ratios_threshold_to_ckks": ratios_of(rows),
        "rows": rows,
    }


def table(document: dict[str, Any]) -> str:
    """The document for a reader: milliseconds, bytes a value, and the ratios."""
    heads = ("scheme", "values", "contribute", "open", "noise", "combine", "up", "down", "MiB", "error")
    lines = [f"{heads[0]:<11}" + "".join(f"{head:>11}" for head in heads[1:])]
    for row in document["rows"]:
        times = "".join(f"{1e3 * row[name]:>9.2f}ms" for name in TIMES)
        sizes = (
            f"{row['bytes_up_per_value']:>11.2f}{row['bytes_down_per_value']:>11.4f}{row['peak_mib']:>11.1f}"
        )
        lines.append(f"{row['scheme']:<11}{row['values']:>11}{times}{sizes}{row['max_abs_error']:>11.1e}")
    lines.append("threshold / ckks")
    for ratio in document["ratios_threshold_to_ckks"]:
        parts = f"node {ratio['node_time']:.3f}, coordinator {ratio['coordinator_time']:.3f}"
        lines.append(f"{ratio['values']:>11} values: {parts}, bytes up {ratio['bytes_up']:.3f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time secure sums.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--values", default="10000,100000,1000000", help="sizes, separated by commas")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alone", choices=tuple(SCHEMES), help="one row of one scheme, in this process")
    settings = parser.parse_args(arguments)
    sizes = [int(size) for size in settings.values.split(",")]
    if settings.alone:
        row = measure(settings.alone, values=sizes[0], nodes=settings.nodes, repeats=settings.repeats)
        print(json.dumps(row))
        return
    document = run(sizes, nodes=settings.nodes, repeats=settings.repeats)
    print(json.dumps(document, indent=1) if settings.json else table(document))


if __name__ == "__main__":
    main()
