"""The kinds of fraud that the generator injects, by name, and how often.

Fraud keeps every validation rule: it is seen in the pattern of claims, never in a broken sum. Each claim
that it touches is labelled in ``label_fraud``, which only synthetic provinces have.
"""

from __future__ import annotations

from enum import Enum


class Fraud(Enum):
    """One kind of fraud; the values are stored in arrays, 0 stands for none."""

    SPLIT_STAYS = 1
    HUNG_BEDS = 2
    DUPLICATE_LINES = 3
    UPCODING = 4
    UNNECESSARY_TESTS = 5
    DRUG_RESALE = 6
    ANOTHERS_CARD = 7
    AFTER_DEATH = 8
    SWAPPED_ITEMS = 9

    @property
    def code(self) -> str:
        """As in the code list ``fraud_type``."""
        return self.name.lower()


AT_HOSPITALS = (
    Fraud.UNNECESSARY_TESTS,
    Fraud.SPLIT_STAYS,
    Fraud.DUPLICATE_LINES,
    Fraud.HUNG_BEDS,
    Fraud.SWAPPED_ITEMS,
    Fraud.UPCODING,
)
"""Kinds that an institution commits; each fraudulent hospital keeps to one."""

OF_STAYS = (Fraud.SPLIT_STAYS, Fraud.HUNG_BEDS, Fraud.UPCODING)
"""Of these, the kinds that need a stay."""

STAYS_AT_FRAUDULENT, VISITS_AT_FRAUDULENT = 0.6, 0.18
"""Share of the claims that fit at a fraudulent hospital: of stays, where its kind needs one, and of all."""

RESALE_PERSONS, RESALE_VISITS = 0.0008, 30
"""Share of persons with a chronic condition who sell drugs; their extra visits a year."""

CARD_VISITS = 0.002
"""Share of visits beside which somebody else uses the card on the same day, in another city."""

DEAD_WITH_VISITS = 0.03
"""Share of the dead whose visits go on."""
