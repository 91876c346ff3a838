"""A regression's answer: the coefficient table, effects as ratios, and a forest plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from fedmed.report.answers.answer import Answer, Document, Field, Figure, TidyTable, Value
from fedmed.report.answers.forest import ForestRow, forest_plot, ratio_text
from fedmed.report.answers.meanings import Words, words_of
from fedmed.report.answers.terms import term_label, term_words
from fedmed.report.units import ABSENT, count

RATIOS = {
    "logistic": ("Odds ratio", "odds of the outcome"),
    "poisson": ("Rate ratio", "expected count"),
    "negative_binomial": ("Rate ratio", "expected count"),
    "gamma": ("Ratio of means", "expected amount"),
    "cox": ("Hazard ratio", "hazard"),
}
"""Family -> name of the exponential of a coefficient, and what it multiplies."""

NAMES = {
    "logistic": "logistic regression",
    "poisson": "Poisson regression",
    "negative_binomial": "negative-binomial regression",
    "gamma": "Gamma regression",
    "cox": "Cox regression",
}

HIDDEN_STRENGTH, SAFE_STRENGTH = 2.0, 4.0
"""`HIDDEN` and `SAFE` of `fedmed.analytics.noisy_newton`, which a page does not load."""
MOST_DISPERSION = 1.5
"""A Poisson model whose counts spread more than so many times Poisson's law comes with a warning."""

# These are no effects of a term: the constant, and the spread of the negative binomial.
_NO_EFFECT = frozenset({"intercept", "(intercept)", "constant", "const", "alpha"})


def regression_answer(document: Document) -> Answer:
    """Read a regression's result document.

    Args:
        document: Of `fedmed.question`, with a result as the regression program writes it.

    Guarantees:
        The file's table has the columns ``term, estimate, std_error, statistic, p_value, conf_low,
        conf_high`` (and ``noise_low, noise_high`` with noise) before any other.
    """
    result = document["result"]
    family, level = str(result["family"]), f"{100 * result['confidence']:g} %"
    lines = tuple(result["coefficients"])
    has_noise = not result["exact"]
    ratio, what = _ratio(family, is_exact=result["exact"])
    words, references = words_of(document), result.get("references", {})
    effects = dict(_effects(lines, words))
    said = {str(line["term"]): term_words(str(line["term"]), words, references) for line in lines}
    return Answer(
        finding=_finding(effects, family=family, ratio=ratio, said=said),
        tables=(_coefficients(result, ratio=ratio, level=level, said=said), _model_table(result)),
        figures=_forest(tuple(effects.values()), ratio=ratio, level=level) if effects else (),
        tiles=tuple(_tiles(result, words)),
        notes=(
            *_notes(ratio, what, level=level, has_noise=has_noise),
            *_exposure_note(result.get("exposure")),
            *_spread_note(result),
            *_strength_note(result["model"].get("strength")),
        ),
    )


def _ratio(family: str, *, is_exact: bool) -> tuple[str, str]:
    """What the exponential of a coefficient is; Cox's model with noise is one of intervals of time."""
    if family == "cox" and not is_exact:
        return "Odds ratio", "odds of an event within an interval"
    return RATIOS[family]


def _effects(lines: tuple[Document, ...], words: Words) -> Iterator[tuple[str, ForestRow]]:
    """Terms as ratios: the exponential of estimate and interval."""
    for line in lines:
        term = str(line["term"])
        if term.lower() not in _NO_EFFECT:
            noise = (line.get("noise_low"), line.get("noise_high"))
            effect = ForestRow(
                name=term_label(term, words),
                estimate=_exp(line["estimate"]),
                low=_exp(line["conf_low"]),
                high=_exp(line["conf_high"]),
                noise_low=None if noise[0] is None else _exp(noise[0]),
                noise_high=None if noise[1] is None else _exp(noise[1]),
            )
            yield term, effect


def _exp(value: float) -> float:
    """The exponential; infinite where it would overflow."""
    return math.exp(value) if value < 700 else math.inf


def _finding(effects: Mapping[str, ForestRow], *, family: str, ratio: str, said: Mapping[str, str]) -> str:
    """The terms whose interval leaves out no effect, strongest first, in words."""
    clear = [(t, row) for t, row in effects.items() if not row.low <= 1 <= row.high and row.estimate > 0]
    clear.sort(key=lambda pair: -abs(math.log(pair[1].estimate)))
    ratio = ratio.lower()
    name = NAMES[family][0].upper() + NAMES[family][1:]
    if not clear:
        return f"{name}: no term's interval leaves out {_a(ratio)} of 1."
    named = "; ".join(f"{ratio_text(row.estimate)} ({said[term]})" for term, row in clear[:3])
    return f"{name}. Farthest from {_a(ratio)} of 1: {named}."


def _a(ratio: str) -> str:
    """A ratio's name in a sentence."""
    return f"{'an' if ratio[0] in 'aeiou' else 'a'} {ratio}"


def _coefficients(result: Document, *, ratio: str, level: str, said: Mapping[str, str]) -> TidyTable:
    """The tidy table, and the ratio with its interval behind it."""
    fields = [
        Field(name="term", heading="Term", words=said),
        Field(name="estimate", heading="Estimate", decimals=4),
        Field(name="std_error", heading="Std. error", decimals=4, is_brief=False),
        Field(name="statistic", heading="z", decimals=2, is_brief=False),
        Field(name="p_value", heading="p"),
        Field(name="conf_low", heading=f"{level} from", decimals=4, is_brief=False),
        Field(name="conf_high", heading="to", decimals=4, is_brief=False),
    ]
    if not result["exact"]:
        fields += [
            Field(name="noise_low", heading="Noise from", decimals=4, is_brief=False),
            Field(name="noise_high", heading="to", decimals=4, is_brief=False),
        ]
    names = [field.name for field in fields]
    fields += [
        Field(name="ratio", heading=ratio, decimals=3),
        Field(name="ratio_low", heading="from", decimals=3),
        Field(name="ratio_high", heading="to", decimals=3),
    ]
    rows = []
    for line in result["coefficients"]:
        values: list[Value] = [line.get(name) for name in names]
        is_effect = str(line["term"]).lower() not in _NO_EFFECT
        ends = ("estimate", "conf_low", "conf_high")
        values += [_exp(line[end]) if is_effect else None for end in ends]
        rows.append(tuple(_finite(value) for value in values))
    return TidyTable(
        name="coefficients",
        heading="Coefficients",
        lead="On the scale of the linear predictor, for one unit of the column or against its first level; "
        f"{ratio.lower()} is its exponential.",
        fields=tuple(fields),
        rows=tuple(rows),
    )


def _finite(value: Value) -> Value:
    """A number that JSON and files can hold; not finite is a blank."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


_MODEL = (
    ("rows", "Rows", 0),
    ("events", "Events", 0),
    ("log_likelihood", "Log likelihood", 2),
    ("deviance", "Deviance", 2),
    ("dispersion", "Dispersion", 4),
    ("aic", "AIC", 2),
    ("alpha", "Alpha", 4),
    ("alpha_noise", "Noise of alpha", 4),
    ("strength", "Information over noise", 1),
    ("rounds", "Rounds", 0),
)


def _model_table(result: Document) -> TidyTable:
    """One line about the whole fit, as far as it is known."""
    line = result["model"]
    known = [entry for entry in _MODEL if line.get(entry[0]) is not None]
    return TidyTable(
        name="model",
        heading="The fit",
        fields=(
            Field(name="family", heading="Family", is_brief=False),
            *(
                Field(name=name, heading=heading, decimals=digits, is_brief=name != "rounds")
                for name, heading, digits in known
            ),
        ),
        rows=((str(result["family"]), *(_finite(line[name]) for name, _, _ in known)),),
    )


def _forest(effects: tuple[ForestRow, ...], *, ratio: str, level: str) -> tuple[Figure, ...]:
    """The forest plot."""
    has_noise = any(row.noise_low is not None for row in effects)
    inner = " Orange: the part of it that the noise alone makes." if has_noise else ""
    figures = "; ".join(f"{r.name} {ratio_text(r.estimate)}" for r in effects[:12])
    return (
        Figure(
            heading=f"{_plural(ratio)} with {level} intervals",
            hint=f"Left of 1: less, right of 1: more. Logarithmic axis.{inner}",
            plot=forest_plot(
                effects,
                name="forest",
                axis=f"{ratio}, logarithmic axis",
                is_ratio=True,
                description=f"Forest plot, {ratio.lower()}: {figures}",
            ),
        ),
    )


def _plural(ratio: str) -> str:
    """``Ratios of means``, ``Odds ratios``."""
    return ratio.replace("Ratio of", "Ratios of") if ratio.startswith("Ratio of") else f"{ratio}s"


def _tiles(result: Document, words: Words) -> Iterator[tuple[str, str, str]]:
    """Rows, events and rounds."""
    line = result["model"]
    outcome = words.inside(str(result["outcome"]))
    for name, noun in (("rows", "in the fit"), ("events", f"with {outcome} above 0")):
        if line.get(name) is not None:
            yield name.capitalize(), count(round(line[name])), noun
    rounds = line.get("rounds")
    yield "Rounds", ABSENT if rounds is None else str(rounds), "of sums over all contributors"


def _notes(ratio: str, what: str, *, level: str, has_noise: bool) -> Iterator[str]:
    """How to read it."""
    yield (
        f"{_a(ratio.lower()).capitalize()} of 1.20 means: the {what} is 20 % higher for one unit more of the "
        "column, or against the reference level, all other terms equal."
    )
    if has_noise:
        yield (
            "conf_low and conf_high hold sampling and privacy noise together; noise_low and noise_high say "
            "where the estimate without noise, on the same clamped rows, would lie."
        )
    else:
        yield (
            "The fit is the one that pooled rows would give: Newton steps on exact sums over the provinces, "
            "without any row leaving them."
        )
    yield (
        "Rows with a missing value, an undeclared level, or an outcome that the model cannot have (a count "
        "below 0, say) are not in the fit, and not counted here."
    )
    yield f"Intervals are Wald's at {level}, from estimate and standard error; p is two-sided."


def _spread_note(result: Document) -> Iterator[str]:
    """Whether counts spread more than a Poisson model lets them; how sure a noisy dispersion is."""
    if result["family"] == "gamma" and not result["exact"]:
        yield "The dispersion is at least twice its own noise, so that intervals err to the wide side."
    if result["family"] != "poisson":
        return
    found = result["model"].get("dispersion")
    if not result["exact"]:
        yield (
            "Standard errors take counts to spread as Poisson's law lets them; noise hides whether they do. "
            'Where they spread more, intervals are too narrow: family = "negative_binomial" allows for it.'
        )
    elif found is not None and found > MOST_DISPERSION:
        yield (
            f"Counts spread {found:.1f} times as much as Poisson's law lets them (dispersion), so that "
            f"standard errors and intervals should be about {math.sqrt(found):.1f} times as wide and p is "
            'too small: family = "negative_binomial" allows for it.'
        )


def _strength_note(strength: float | None) -> Iterator[str]:
    """How near the fit is to where noise hides it."""
    if strength is not None and strength < SAFE_STRENGTH:
        yield (
            f"The rows' information is {strength:.1f} times its noise. Below {HIDDEN_STRENGTH:g} no fit is "
            f"shown; below {SAFE_STRENGTH:g} those that are shown have been lucky, so that intervals are a "
            "little too narrow: take them as rough, or raise epsilon or the cohort."
        )


def _exposure_note(exposure: str | None) -> Iterator[str]:
    """What an exposure does."""
    if exposure:
        yield (
            f"The expected outcome is proportional to {exposure}, as the study declared: the intercept is "
            "about one unit of it, and ratios compare outcomes a unit."
        )
