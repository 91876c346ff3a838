"""Can this machine run FedMed, and is everything as it was tested?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from fedmed.doctor.finding import Finding, amiss, tried, well
from fedmed.errors import ConfigError, FedMedError, IntegrityError

LEAST_MEMORY_BYTES = 2_000_000_000
LEAST_DISK_BYTES = 1_000_000_000
PHONE_HOME = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
_INSTALL = "pip install -c constraints.txt fedmed"


def examine_machine(*, crypto: bool) -> Iterator[Finding]:
    """Look at everything, one after the other.

    Args:
        crypto: Also recompute the parameter sets' margins.
    """
    looks: list[tuple[str, Callable[[], str], str, str]] = [
        ("platform", _platform, "the ring arithmetic was tested there only", "use Linux on x86-64"),
        ("cores", lambda: f"{os.cpu_count()} cores", "", ""),
        ("memory", _memory, "a contribution may be killed half way", "free memory, or give the machine more"),
        ("disk", _disk, "a debit that cannot be written stops the study", "free disk space in this folder"),
        (
            "Flower's switches",
            _switches,
            "Flower would report usage to its makers",
            f"unset {' '.join(PHONE_HOME)}: fedmed sets them itself",
        ),
        ("SEAL round trip", _seal_round_trip, "sums would be wrong without a word", _INSTALL),
        (
            "rows are independent",
            _row_independence,
            "one person could move another's gradient: the privacy bound would not hold",
            _INSTALL,
        ),
    ]
    for name, look, why, mend in looks:
        yield _installed(name, look, why=why, mend=mend)
    yield from _versions()
    if crypto:
        yield from _parameter_sets()


def _installed(name: str, look: Callable[[], str], *, why: str, mend: str) -> Finding:
    """As `tried`; a library that cannot be loaded is a finding as well."""
    try:
        return tried(name, look, why=why, mend=mend)
    except ImportError as fault:
        return amiss(name, f"{fault.name or 'a library'} cannot be loaded", why=why, mend=_INSTALL)


def _platform() -> str:
    """Linux on x86-64, where SEAL's serialisation was tested."""
    from fedmed.crypto.seal import require_platform

    require_platform()
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _memory() -> str:
    """Memory that is free now."""
    import psutil

    free = psutil.virtual_memory().available
    _at_least(free, LEAST_MEMORY_BYTES, "free memory")
    return f"{free / 1e9:.1f} GB free"


def _disk() -> str:
    """Space in this folder."""
    free = shutil.disk_usage(Path.cwd()).free
    _at_least(free, LEAST_DISK_BYTES, "free disk space")
    return f"{free / 1e9:.1f} GB free here"


def _at_least(found: int, least: int, name: str) -> None:
    """Refuse too little of something."""
    if found < least:
        raise ConfigError(f"{name} is {found / 1e9:.1f} GB, at least {least / 1e9:.0f} GB are needed")


def _switches() -> str:
    """Flower reports usage and looks for updates unless told not to; `fedmed` tells it."""
    wrong = [name for name, value in PHONE_HOME.items() if os.environ.get(name) != value]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)} would let Flower phone home; unset or correct it")
    return ", ".join(f"{name}={value}" for name, value in PHONE_HOME.items())


def _seal_round_trip() -> str:
    """X times X^(N-1) is -1 modulo X^N + 1: through memory, transform, product and back, in every prime."""
    import numpy as np

    from fedmed.crypto.parameters import PRIMES, RING_DEGREE
    from fedmed.crypto.seal import Ring

    ring = Ring(RING_DEGREE, PRIMES)
    first, last, wanted = (np.zeros((len(PRIMES), RING_DEGREE), np.uint64) for _ in range(3))
    first[:, 1] = last[:, -1] = 1
    wanted[:, 0] = np.array(PRIMES, np.uint64) - np.uint64(1)
    product = ring.products([ring.to_ntt(first)], ring.factor(ring.to_ntt(last)))[0]
    if not np.array_equal(product, wanted):
        raise IntegrityError("SEAL multiplies wrongly here; install the tenseal that constraints.txt names")
    return f"ring degree {RING_DEGREE}, {len(PRIMES)} primes"


def _row_independence() -> str:
    """One person's gradient must not depend on another's row; that rests on the BLAS that is installed."""
    from fedmed.models.layout import ModelLayout
    from fedmed.models.row_independence import prove_row_independence

    threads = os.cpu_count() or 1
    for layout in (
        ModelLayout(kind="logistic", inputs=430, hidden=()),
        ModelLayout(kind="mlp", inputs=430, hidden=(64,)),
    ):
        prove_row_independence(layout, threads=threads)
    return f"equal bits with 1 and {threads} threads"


def _parameter_sets() -> Iterator[Finding]:
    """Margins of all sets, worst cases."""
    from fedmed.crypto.ckks_parameters import PRIME_BITS, check_ckks_sets
    from fedmed.crypto.parameters import check_parameter_sets

    why, mend = "an opening could decode to another sum, or be too weakly hidden", _INSTALL
    try:
        reports, shared = check_parameter_sets(), check_ckks_sets()
    except (FedMedError, ImportError) as fault:
        yield amiss("parameter sets", str(fault), why=why, mend=mend)
        return
    for one in reports:
        name = f"parameter set {one.name}"
        detail = (
            f"up to {one.max_custodians} custodians, {one.max_threshold} answers; payload "
            f"{one.payload_bits} bits; margin {one.margin_bits:.2f} bits; modulus {one.modulus_bits} of "
            f"{one.security_limit_bits} bits"
        )
        fits = one.margin_bits > 0 and one.modulus_bits <= one.security_limit_bits
        yield well(name, detail) if fits else amiss(name, detail, why=why, mend=mend)
    for other in shared:
        detail = (
            f"up to {other.max_nodes} nodes, {other.limb_bits} bits a slot; margin {other.margin_bits:.2f} "
            f"bits; modulus {sum(PRIME_BITS)} of {reports[0].security_limit_bits} bits"
        )
        yield well(f"parameter set {other.name}", detail)


def _versions() -> Iterator[Finding]:
    """Dependencies outside their bounds, one each; one line for all others."""
    found = [_version_finding(line) for line in importlib.metadata.requires("fedmed") or ()]
    yield from (one for one in found if not one.ok)
    fit = [f"{one.name} {one.detail}" for one in found if one.ok]
    yield well("versions", f"{len(fit)} inside their bounds: {', '.join(fit)}")


def _version_finding(requirement: str) -> Finding:
    """A dependency against FedMed's own bounds, as ``flwr<1.43,>=1.41``."""
    why = "FedMed was not tested with it"
    name = re.split(r"[<>=!~;\s\[]", requirement, maxsplit=1)[0]
    bounds = re.findall(r"(>=|<)\s*([0-9.]+)", requirement.split(";")[0])
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if "extra ==" in requirement:
            return well(name, "not installed (optional)")
        return amiss(name, "not installed", why=why, mend=_INSTALL)
    wanted = ", ".join(f"{sign}{bound}" for sign, bound in bounds)
    if all((_numbers(version) >= _numbers(b)) is (sign == ">=") for sign, b in bounds):
        return well(name, version)
    return amiss(name, f"{version}, but {wanted} is needed", why=why, mend=_INSTALL)


def _numbers(version: str) -> tuple[int, ...]:
    """``2.13.0+cpu`` as (2, 13, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
